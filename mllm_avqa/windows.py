"""From a path to everything the model is told about one window. Training, scoring and chat all start here."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeVar, cast

from mllm_avqa.context import gather
from mllm_avqa.evidence import measure
from mllm_avqa.model.views import Views, make_views
from mllm_avqa.schema.card import ViewSpec
from mllm_avqa.schema.clip import Clip, MediaInfo
from mllm_avqa.schema.measurement import Measurement
from mllm_avqa.schema.text import TextContext

if TYPE_CHECKING:
    from mllm_avqa.context.asr import AsrEngine
    from mllm_avqa.media import MediaReader

T = TypeVar("T")
Level = Literal["none", "fast", "full"]
SILENCE_PEAK = 10 ** (-90 / 20)  # below the noise of 16-bit sound: nothing was recorded
CAPTION_ORIGINS = ("subtitle", "sidecar", "ocr")


@dataclass
class Prepared:
    """One window, ready to be encoded."""

    start: float
    end: float
    info: MediaInfo
    views: Views
    evidence: list[Measurement]
    context: TextContext
    missing: dict[str, str]  # aspect -> why it cannot be judged
    warnings: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)  # wall time per room

    @property
    def aspects(self) -> list[str]:
        return [a for a in ("overall", "video", "audio", "sync", "text") if a not in self.missing]


def window_starts(duration: float, spec: ViewSpec) -> list[float]:
    """Starts of the windows over a file of this many seconds; long files are sampled at `max_windows` even places.

    A tail shorter than a quarter of a window is left to the window before it.
    """
    last = max(0.0, duration - spec.window_seconds * 0.25)
    starts = [0.0]
    while starts[-1] + spec.hop_seconds < last:
        starts.append(starts[-1] + spec.hop_seconds)
    if len(starts) > spec.max_windows:
        step = (len(starts) - 1) / max(1, spec.max_windows - 1)
        starts = [starts[round(i * step)] for i in range(spec.max_windows)]
    return starts


def prepare(
    path: str,
    start: float,
    reader: MediaReader,
    spec: ViewSpec,
    *,
    context: str = "fast",
    user_text: str | None = None,
    asr: AsrEngine | None = None,
) -> Prepared:
    """Decode a window and look at it with every room. Raises MediaError subclasses."""
    seconds: dict[str, float] = {}

    def timed(room: str, call: Callable[[], T]) -> T:
        begin = time.perf_counter()
        result = call()
        seconds[room] = seconds.get(room, 0.0) + time.perf_counter() - begin
        return result

    clip: Clip = timed("media", lambda: reader.read_clip(path, spec.decode(start)))
    views = timed("views", lambda: make_views(clip, spec))
    evidence = timed("evidence", lambda: measure(clip))
    text, captions = timed("context", lambda: _context(path, clip, reader, context, user_text, asr))
    return Prepared(
        start=clip.start,
        end=clip.end,
        info=clip.info,
        views=views,
        evidence=evidence + captions,
        context=text,
        missing=_missing(clip, views, text, context),
        warnings=[*clip.warnings, *_damage(clip)],
        seconds=seconds,
    )


def _context(
    path: str, clip: Clip, reader: MediaReader, level: str, user_text: str | None, asr: AsrEngine | None
) -> tuple[TextContext, list[Measurement]]:
    from mllm_avqa.evidence.captions import caption_measurements

    cues = reader.read_subtitles(path) if level != "none" and clip.info.subtitle_streams else []
    text = gather(path, clip, level=cast(Level, level), user_text=user_text, cues=cues, asr=asr)
    return text, caption_measurements(clip, text)


def _damage(clip: Clip) -> list[str]:
    tracks = (("video", clip.video), ("audio", clip.audio))
    return [f"{name}: {t.damaged} damaged packets or frames" for name, t in tracks if t is not None and t.damaged]


def _missing(clip: Clip, views: Views, text: TextContext, level: str) -> dict[str, str]:
    missing: dict[str, str] = {}
    if views.whole is None:
        missing["video"] = clip.absent.get("video", "no frame could be decoded")
    if clip.audio is None or views.sound is None:
        missing["audio"] = clip.absent.get("audio", "the sound is shorter than 0.1 s")
    elif float(abs(clip.audio.samples).max()) < SILENCE_PEAK:
        missing["audio"] = "digital silence: the track is there, nothing was recorded on it"
    if "video" in missing or "audio" in missing:
        missing["sync"] = "; ".join(f"no {a}: {missing[a]}" for a in ("video", "audio") if a in missing)
    elif clip.info.video is not None and clip.info.video.still:
        missing["sync"] = "a still image has no timing"
    if not any(i.origin in CAPTION_ORIGINS for i in text.items):
        missing["text"] = f"no captions and no on-screen text found (--context {level})"
    return missing
