"""Where clips come from: files of folders and Debian packages, with licence, grade, split and transcript.

And melodies with overtones and drum hits, made from nothing but numpy, so that a recipe runs in a fresh clone.
"""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np

from data_recipes.synthesis.recipe import MediaKind, Recipe, SourceSpec
from mllm_avqa.schema.errors import ConfigError

log = logging.getLogger(__name__)
REPOSITORY = Path(__file__).resolve().parents[2]
# Ceiling of clean sound by sample rate: the best a panel gives to narrowband, wideband and super-wideband sound.
RATE_CEILINGS = ((8000, 3.0), (16000, 4.2), (24000, 4.5))
QUIET_LUFS, QUIET_CEILING = -35.0, 4.3  # a recording this quiet brings its own noise up when it is normalised
# Base note (Hz), notes per second, semitone steps of the melody, number of overtones, share of drum.
TONES: dict[str, tuple[float, float, tuple[int, ...], int, float]] = {
    "bells": (523.25, 3.0, (0, 4, 7, 12, 7, 4), 5, 0.0),
    "march": (196.0, 4.0, (0, 0, 7, 5, 4, 5), 8, 0.5),
    "organ": (130.81, 1.5, (0, 3, 7, 10), 12, 0.0),
    "steps": (87.31, 2.0, (0, 5, 3, 7), 6, 0.9),
}


@dataclass(frozen=True)
class Source:
    """One file that clips are cut from."""

    id: str
    kind: MediaKind
    path: str
    seconds: float  # 0 for photos
    rate: int  # Hz of its sound, 0 without
    has_sound: bool  # audible sound of its own
    licence: str
    split: Literal["train", "val", "test"]
    group: str
    ceilings: tuple[tuple[str, float], ...] = ()  # MOS of the untouched file per aspect
    transcript: str | None = None


@dataclass
class Missing:
    """A source entry that found no file, and what to do about it."""

    spec: SourceSpec
    advice: str


@dataclass
class Inventory:
    """All sources a recipe can use now."""

    sources: list[Source] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)  # "path: why"

    def of(self, split: str, *kinds: str) -> list[Source]:
        return [s for s in self.sources if s.split == split and s.kind in kinds]


def find_sources(
    recipe: Recipe, folders: Sequence[str | Path] = (), transcripts: dict[str, str] | None = None
) -> Inventory:
    """Resolve every source entry of a recipe, sorted by id.

    folders: what --sources gave; searched in order for each entry's folder.
    Raises ConfigError for a --sources folder that does not exist, a group cut by the splits, and for held-out
    patterns that name a found entry but match none of its files (a typing error would leak test sources into train).
    """
    roots = [Path(f) for f in folders]
    for root in roots:
        if not root.is_dir():
            raise ConfigError(f"source folder {root} does not exist (--sources)")
    found = Inventory()
    manifest = _manifest(roots)
    for spec in recipe.sources:
        if spec.kind == "generated":
            found.sources += _generated(spec, recipe)
            continue
        base = _base(spec, roots)
        files = [] if base is None else _files(spec, base)
        if base is None or not files:
            found.missing.append(Missing(spec, _advice(spec)))
            continue
        for path in files:
            _add(found, spec, base, path, recipe, manifest, transcripts or {})
    found.sources.sort(key=lambda s: s.id)
    _check_splits(found.sources, recipe)
    return found


def _add(
    found: Inventory,
    spec: SourceSpec,
    base: Path,
    path: Path,
    recipe: Recipe,
    manifest: dict[Path, dict[str, str]],
    transcripts: dict[str, str],
) -> None:
    name = f"{spec.name}/{path.relative_to(base).with_suffix('').as_posix()}"
    if spec.spoken and name not in transcripts:
        return
    row = manifest.get(path.resolve(), {})
    seconds, rate, has_video, has_audio = _facts(str(path)) if spec.kind != "photo" else (0.0, 0, True, False)
    if (spec.kind == "video" and not has_video) or (spec.kind == "audio" and not has_audio):
        found.unreadable.append(f"{path}: no {spec.kind} stream that decodes")
        return
    ceilings = dict(spec.ceilings)
    if row.get("src_grade") in recipe.grades:
        ceilings["video"] = recipe.grades[row["src_grade"]]
    if has_audio:
        sound = min((c for limit, c in RATE_CEILINGS if rate <= limit), default=None)
        if row.get("lufs") and float(row["lufs"]) < QUIET_LUFS:
            sound = min(sound or 5.0, QUIET_CEILING)
        if sound is not None:
            ceilings["audio"] = min(sound, ceilings.get("audio", 5.0))
    for override in recipe.overrides:
        if fnmatchcase(name, override.match):
            ceilings.update(override.ceilings)
    found.sources.append(
        Source(
            id=name,
            kind=spec.kind,
            path=str(path),
            seconds=seconds,
            rate=rate,
            has_sound=has_audio
            and row.get("audible", "1") == "1"
            and not any(fnmatchcase(name, m) for m in recipe.mute),
            licence=row.get("licence") or spec.licence,
            split=recipe.split_of(name),
            group=recipe.group_of(name),
            ceilings=tuple(sorted(ceilings.items())),
            transcript=transcripts.get(name),
        )
    )


def _generated(spec: SourceSpec, recipe: Recipe) -> list[Source]:
    return [
        Source(
            id=f"{spec.name}/{tone}",
            kind="audio",
            path=f"tone:{tone}",
            seconds=60.0,
            rate=48000,
            has_sound=True,
            licence=spec.licence or "CC0-1.0 (made by this recipe)",
            split=recipe.split_of(f"{spec.name}/{tone}"),
            group=recipe.group_of(f"{spec.name}/{tone}"),
            ceilings=tuple(sorted(spec.ceilings.items())),
        )
        for tone in sorted(TONES)
    ]


def _base(spec: SourceSpec, roots: Iterable[Path]) -> Path | None:
    if spec.package is not None:
        candidates = [Path(spec.folder)]
    elif spec.root == "repository":
        candidates = [REPOSITORY / spec.folder]
    else:
        candidates = [root / spec.folder for root in roots]
    return next((c for c in candidates if c.is_dir()), None)


def _files(spec: SourceSpec, base: Path) -> list[Path]:
    files = {p for pattern in spec.files or ["**/*"] for p in base.glob(pattern) if p.is_file()}
    kept = (p for p in files if not any(fnmatchcase(p.relative_to(base).as_posix(), x) for x in spec.exclude))
    return sorted(kept)


def _advice(spec: SourceSpec) -> str:
    if spec.package is not None:
        return f"apt-get install {spec.package}"
    where = "the repository" if spec.root == "repository" else "a folder given with --sources"
    return f"put files {', '.join(spec.files) or '*'} into {spec.folder or '.'}/ under {where}"


def _manifest(roots: Iterable[Path]) -> dict[Path, dict[str, str]]:
    """Rows of manifest.csv beside or above the source folders, by resolved file path."""
    rows: dict[Path, dict[str, str]] = {}
    for root in roots:
        for folder in (root, root.resolve().parent):
            file = folder / "manifest.csv"
            if file.is_file():
                with file.open(encoding="utf-8-sig", newline="") as f:
                    for row in csv.DictReader(f):
                        rows[(folder / row["path"]).resolve()] = row
    return rows


@cache
def _facts(path: str) -> tuple[float, int, bool, bool]:
    """Seconds, sample rate, has picture, has sound. Unreadable files have neither."""
    import av

    try:
        with av.open(path) as container:
            sound = container.streams.audio[0] if container.streams.audio else None
            seconds = float(container.duration or 0) / av.time_base
            if sound is not None and not container.streams.video and (seconds <= 0 or path.endswith(".g722")):
                # Raw G.722 has no header: 64 kbit/s, so the packets are the only clock.
                seconds = sum(p.size for p in container.demux(sound)) / 8000
            rate = sound.rate if sound is not None else 0
            return seconds, rate, bool(container.streams.video), sound is not None
    except av.error.FFmpegError as e:
        log.warning("cannot read source %s: %s", path, e)
        return 0.0, 0, False, False


def _check_splits(sources: list[Source], recipe: Recipe) -> None:
    split_of: dict[str, str] = {}
    for s, following in pairwise(sources):
        if s.id == following.id:
            raise ConfigError(f"two files have the source id {s.id!r}: {s.path} and {following.path}")
    for s in sources:
        if split_of.setdefault(s.group, s.split) != s.split:
            raise ConfigError(
                f"group {s.group!r} is cut by the splits: {s.id!r} is {s.split}, others {split_of[s.group]}"
            )
    entries = {s.id.split("/", 1)[0] for s in sources}
    for key, patterns in (("test", recipe.test), ("val", recipe.val)):
        for pattern in patterns:
            if pattern.split("/", 1)[0] in entries and not any(fnmatchcase(s.id, pattern) for s in sources):
                raise ConfigError(f"recipe {recipe.name!r}: {key} pattern {pattern!r} matches no source")


def tone(name: str, start: float, seconds: float, rate: int = 48000) -> np.ndarray:
    """float32 [2, seconds * rate] of the endless piece `name` from `start` seconds on, peak below 0.5."""
    base, tempo, steps, overtones, drum = TONES[name]
    t = start + np.arange(round(seconds * rate)) / rate
    index = np.floor(t * tempo).astype(int)
    into = t - index / tempo  # seconds into the note
    pitch = base * 2.0 ** (np.asarray(steps)[index % len(steps)] / 12)
    envelope = np.minimum(1.0, into * 200) * np.exp(-3.0 * into)
    sound = np.zeros_like(t)
    for k in range(1, overtones + 1):
        sound += np.where(pitch * k < 0.45 * rate, np.sin(2 * np.pi * pitch * k * into) / k**1.3, 0.0)
    # A drum is a decaying noise burst; the noise is a hash of the sample index, so that any window is the same piece.
    grain = np.modf(np.sin(np.round(t * rate) * 12.9898) * 43758.5453)[0]
    sound = 0.25 * (1 - drum) * envelope * sound + 0.3 * drum * np.exp(-18.0 * into) * grain
    late = np.roll(sound, round(0.0004 * rate)) * 0.9  # a little width
    return np.stack([sound, late]).astype(np.float32)
