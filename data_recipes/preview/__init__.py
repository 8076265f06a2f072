"""Seeing what the distortion kinds do, at every level, on a clip of your own: one HTML file without network assets."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np

from data_recipes.distortions import REGISTRY, Kind, Material, captions_of, distort, get, kinds
from data_recipes.distortions.base import Region, check_region
from data_recipes.formats.files import write_html
from data_recipes.preview.views import VIEWS
from data_recipes.synthesis.demux import read_material
from data_recipes.synthesis.sources import tone
from mllm_avqa.schema.errors import ConfigError

TITLES = {"video": "Picture", "audio": "Sound", "sync": "Agreement of picture and sound", "text": "Captions and text"}
CAPTIONED = 24.0  # seconds of the clip that captions are shown on: the largest caption offset needs room
STILLS = 2.0  # frames per second of it
WORDS = (
    "Every line on this page is shown for as long as it takes to read it. The first fault moves the lines, the second "
    "puts other words in their place, the third takes them away too early. Small, faint and blurred letters come last, "
    "because they are drawn into the picture and stay there. Whoever can read this to the end has seen no fault at all."
)
_TEMPLATE = Path(__file__).with_name("page.html.j2")
Progress = Callable[[int, int], None]


@dataclass
class PreviewClip:
    """One kind: cells are (label, picture as a data URI), the clean clip first."""

    kind: Kind
    cells: list[tuple[str, str]]


@dataclass
class Preview:
    """What the page shows, and why the rest is not on it."""

    source: str
    facts: str
    rows: dict[str, list[PreviewClip]] = field(default_factory=dict)  # by family
    left_out: dict[str, str] = field(default_factory=dict)  # kind or family -> why

    @property
    def reasons(self) -> dict[str, list[str]]:
        """Why -> kinds and families that are left out for that."""
        out: dict[str, list[str]] = {}
        for name, why in self.left_out.items():
            out.setdefault(why, []).append(name)
        return out


def chosen(names: Sequence[str]) -> list[Kind]:
    """Kinds of names and families ("video", "audio", "sync", "text"), all when there are none; family by family.

    Raises ConfigError for a name that is neither.
    """
    wanted = {k.kind for n in names or TITLES for k in (kinds(n, named=REGISTRY) if n in TITLES else [get(n)])}
    return [k for family in TITLES for k in kinds(family, named=REGISTRY) if k.kind in wanted]


def preview(
    source: str | Path,
    names: Sequence[str] = (),
    *,
    start: float = 0.0,
    seconds: float = 3.0,
    height: int = 360,
    seed: int = 0,
    span: tuple[float, float] | None = None,
    region: Region | None = None,
    progress: Progress | None = None,
) -> Preview:
    """Apply kinds (all, or those of `names`) at levels 1..5 to `seconds` of a file, at most `height` lines high.

    span, region: limit the faults, see `distort`. progress: called with (kinds done, kinds in all).
    Raises MediaError for a source that can not be read, ConfigError when nothing of what is asked for can be shown.
    """
    if seconds <= 0 or start < 0 or height < 64:
        raise ConfigError(
            f"{seconds} s from {start} s at {height} lines can not be shown; "
            "allowed: above 0 (--seconds), from 0 (--start), 64 and above (--height)"
        )
    if region is not None:
        check_region(region)
    which = chosen(names)
    clip = read_material(source, start, seconds, height)
    out = Preview(Path(source).name, _facts(clip, span, region))
    lacking = _lacking(clip)
    for family in TITLES:
        if family in lacking and any(k.modality == family for k in which):
            out.left_out[family] = lacking[family]
    shown = [k for k in which if k.modality not in lacking]
    if region is not None:
        out.left_out |= {k.kind: "can not be limited to a region (--region)" for k in shown if not k.regional}
    if span is not None:
        out.left_out |= {k.kind: "concerns a whole clip, not a span of it (--span)" for k in shown if k.whole_clip}
    shown = [k for k in shown if k.kind not in out.left_out]
    materials = {m: _subject(clip, m) for m in TITLES if m not in lacking}
    for done, kind in enumerate(shown):
        if progress is not None:
            progress(done, len(shown))
        try:
            row = _row(kind, materials[kind.modality], seed, span, region)
        except ConfigError as e:  # this clip, or the span of it, lacks what the kind needs
            out.left_out[kind.kind] = str(e)
            continue
        out.rows.setdefault(kind.modality, []).append(row)
    if progress is not None:
        progress(len(shown), len(shown))
    if not out.rows:
        raise ConfigError(f"{source}: nothing to show: {'; '.join(dict.fromkeys(out.left_out.values()))}")
    return out


def _lacking(clip: Material) -> dict[str, str]:
    """Families that this clip has nothing for, with the reason."""
    seen, heard = clip.frames is not None, clip.sound is not None
    out: dict[str, str] = {}
    if not seen:
        out |= dict.fromkeys(("video", "text"), "the source has no picture")
    if not heard:
        out["audio"] = "the source has no sound"
    if not (seen and heard):
        out["sync"] = f"the source has no {'sound' if seen else 'picture'} to compare with"
    return out


def _facts(clip: Material, span: tuple[float, float] | None, region: Region | None) -> str:
    parts = [f"{clip.duration:.2f} s"]
    if clip.frames is not None:
        parts.append(f"{clip.frames.shape[2]}×{clip.frames.shape[1]} at {clip.fps:.4g} fps")
    if clip.sound is not None:
        parts.append(f"{clip.rate} Hz, {clip.sound.shape[0]} channel(s)")
    if span is not None:
        parts.append(f"faults from {span[0]:g} to {span[1]:g} s only")
    if region is not None:
        parts.append("faults in {:g}, {:g}, {:g}, {:g} of the picture (x, y, w, h) only".format(*region))
    return ", ".join(parts)


def _subject(clip: Material, family: str) -> Material:
    """The clip with what this family needs: another sound, or captions over a longer still."""
    if family != "text":
        # background noise and unrelated sound need another clip
        melody = tone("bells", 0.0, max(clip.duration, 0.1), clip.rate)
        return replace(clip, other=Material(sound=melody, rate=clip.rate))
    assert clip.frames is not None
    still = clip.frames[len(clip.frames) // 2]
    frames = np.repeat(still[None], round(CAPTIONED * STILLS), axis=0)
    return Material(frames=frames, fps=STILLS, captions=captions_of(WORDS, CAPTIONED), transcript=WORDS)


def _row(
    kind: Kind, clean: Material, seed: int, span: tuple[float, float] | None, region: Region | None
) -> PreviewClip:
    worst, _ = distort(clean, kind.kind, 5, seed, span, region)
    draw = VIEWS[kind.modality](clean, worst)
    cells = [("original", data_uri(draw(clean)))]
    for level in range(1, 6):
        changed = worst if level == 5 else distort(clean, kind.kind, level, seed, span, region)[0]
        cells.append((f"{level}: {_values(kind, level)}", data_uri(draw(changed))))
    return PreviewClip(kind, cells)


def _values(kind: Kind, level: int) -> str:
    values = kind.parameters(level).items()
    return ", ".join(f"{v if isinstance(v, str) else f'{v:g}'} {k.replace('_', ' ')}" for k, v in values)


def data_uri(picture: np.ndarray) -> str:
    """RGB [h, w, 3] as a JPEG that lives inside of a page."""
    _, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 85])
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode("ascii")


def write_page(shown: Preview, folder: str | Path) -> Path:
    """Write `folder`/preview.html, whole or not at all, and return its path. Raises OutputError."""
    return write_html(Path(folder) / "preview.html", _TEMPLATE, shown=shown, titles=TITLES)
