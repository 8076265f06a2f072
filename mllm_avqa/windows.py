"""From a path or a `Record` to everything the model is told about its windows. No other way leads there."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

from mllm_avqa.context import gather
from mllm_avqa.evidence import measure
from mllm_avqa.model.views import Prepared, Views, make_views
from mllm_avqa.schema.card import ViewSpec
from mllm_avqa.schema.clip import Clip
from mllm_avqa.schema.errors import ConfigError, EmptyWindow, MediaNotFound
from mllm_avqa.schema.measurement import SEVERITIES, Measurement
from mllm_avqa.schema.names import ContextLevel
from mllm_avqa.schema.text import BEYOND, TextContext
from mllm_avqa.schema.whole import Chosen, Whole
from mllm_avqa.whole.choice import choose
from mllm_avqa.whole.overview import UNSEEN

if TYPE_CHECKING:
    from mllm_avqa.context.asr import AsrEngine
    from mllm_avqa.context.sidecars import CueLike
    from mllm_avqa.media import MediaReader
    from mllm_avqa.schema.records import Record
    from mllm_avqa.whole import Overview

__all__ = ["Prepared", "Seconds", "ahead", "file_windows", "record_windows", "window_starts", "worst_evidence"]

T = TypeVar("T")
X = TypeVar("X")
SILENCE_PEAK = 10 ** (-90 / 20)  # below the noise of 16-bit sound: nothing was recorded
TAIL = 0.05  # seconds by which the end of a span may miss the end of the file
SHORTEST = 0.2  # seconds of a window at the end of a span


class Seconds(dict[str, float]):
    """Wall time by room."""

    @contextmanager
    def of(self, room: str) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        self.add({room: time.perf_counter() - begin})

    def add(self, part: Mapping[str, float]) -> None:
        for room, seconds in part.items():
            self[room] = self.get(room, 0.0) + seconds

    def rounded(self) -> dict[str, float]:
        return {room: round(seconds, 4) for room, seconds in self.items()}


def window_starts(duration: float, spec: ViewSpec) -> list[float]:
    """Starts of the windows over this many seconds; long files are sampled at `max_windows` even places.

    A tail of up to a quarter of a window is too short to be judged by itself: one more window, which ends where the
    file ends, takes it in and overlaps the one before. Less than `UNSEEN` of it is left out.
    """
    last = max(0.0, duration - spec.window_seconds * 0.25)
    starts = [0.0]
    while starts[-1] + spec.hop_seconds < last:
        starts.append(starts[-1] + spec.hop_seconds)
    if duration - (starts[-1] + spec.window_seconds) >= UNSEEN:
        starts.append(round(duration - spec.window_seconds, 3))
    if len(starts) > spec.max_windows:
        step = (len(starts) - 1) / max(1, spec.max_windows - 1)
        starts = [starts[round(i * step)] for i in range(spec.max_windows)]
    return starts


def looked_at(spec: ViewSpec, windows: int | str, hop: float | None) -> ViewSpec:
    """The spec with another number of windows ("auto": its own, "all": every one) and seconds between their starts.

    Raises ConfigError for a number or a hop that is none.
    """
    if not (windows in ("auto", "all") or (isinstance(windows, int) and windows >= 1)):
        raise ConfigError(f"windows {windows!r}: a number from 1 on, 'all' or 'auto' (--windows)")
    if hop is not None and not 0 < hop <= spec.window_seconds:
        raise ConfigError(f"hop {hop:g} s: more than 0 and at most a window's {spec.window_seconds:g} s (--hop)")
    most = {"auto": spec.max_windows, "all": sys.maxsize}.get(str(windows), windows)
    return spec.model_copy(update={"max_windows": most, "hop_seconds": hop or spec.hop_seconds})


def chosen_windows(duration: float, spec: ViewSpec, whole: Whole | None) -> list[tuple[float, Chosen]]:
    """Starts of the windows that are looked at, and why; of a long file by what the pass over it found.

    Either way they are some of those that would be looked at if all were.
    """
    every = window_starts(duration, spec.model_copy(update={"max_windows": sys.maxsize}))
    if len(every) <= spec.max_windows:
        return [(s, "all") for s in every]
    if whole is None:
        return [(s, "even") for s in window_starts(duration, spec)]
    return choose(every, spec.window_seconds, spec.max_windows, whole)


def record_windows(
    record: Record,
    base: Path,
    reader: MediaReader,
    spec: ViewSpec,
    *,
    context: str = "fast",
    asr: AsrEngine | None = None,
) -> Iterator[Prepared]:
    """The windows of a record's span, with all texts that it gives. base: folder that its media path starts from.

    Raises MediaError subclasses.
    """
    media = base / record.media
    if not media.is_file():
        raise MediaNotFound(f"media file of record {record.id} does not exist: {record.media}")
    yield from file_windows(
        str(media), reader, spec, context=context, texts=record.context, asr=asr,
        start=record.start or 0.0, end=record.end,
    )  # fmt: skip


def file_windows(
    path: str,
    reader: MediaReader,
    spec: ViewSpec,
    *,
    context: str = "fast",
    texts: Mapping[str, str] | None = None,
    asr: AsrEngine | None = None,
    start: float = 0.0,
    end: float | None = None,
    seen: Overview | None = None,
) -> Iterator[Prepared]:
    """The windows of a file, or of its span from `start` to `end` seconds, each decoded when it is asked for.

    texts: given with the clip, by origin ("user", ...); end: None is the end of the file; seen: what `look_over` has
    found of all of the file. Raises MediaError subclasses.
    """
    info = reader.probe(path) if seen is None else seen.info
    end = info.duration if end is None else end
    begin = time.perf_counter()
    cues: list[CueLike] = []  # of the whole file
    if context != "none" and info.subtitle_streams:
        cues += reader.read_subtitles(path)
    reading = time.perf_counter() - begin
    before: Prepared | None = None
    holes: list[str] = []  # before the first window that has something
    empty: EmptyWindow | None = None
    whole = seen.whole if seen is not None else None
    for offset, chosen in chosen_windows(max(0.0, end - start), spec, whole):
        at = start + offset
        cut = end < info.duration - TAIL and at + spec.window_seconds > end  # the span ends before the file does
        own = spec.model_copy(update={"window_seconds": max(SHORTEST, end - at)}) if cut else spec
        try:
            p = _prepare(path, at, reader, own, context, texts or {}, cues, asr, seen)
        except EmptyWindow as error:  # a hole, or an end that came before the announced one: what is there is rated
            empty = empty or error
            (before.warnings if before is not None else holes).append(_hole(at, own))
            continue
        p.chosen = chosen
        p.warnings += [] if before is not None else holes
        before = p
        p.seconds["context"] += reading  # the subtitles of a file are read once, for its first window
        reading = 0.0
        yield p
    if before is None and empty is not None:
        raise empty


def _hole(start: float, spec: ViewSpec) -> str:
    return f"nothing between {start:g} and {start + spec.window_seconds:g} s could be decoded; it is not judged"


def _prepare(
    path: str,
    start: float,
    reader: MediaReader,
    spec: ViewSpec,
    level: str,
    texts: Mapping[str, str],
    cues: Sequence[CueLike],
    asr: AsrEngine | None,
    seen: Overview | None,
) -> Prepared:
    """Decode a window and look at it with every room."""
    from mllm_avqa.evidence.captions import caption_measurements

    seconds = Seconds()
    with seconds.of("media"):
        clip: Clip = reader.read_clip(path, spec.decode(start))
    if seen is not None and seen.at_once:
        with seconds.of("pass"):
            seen.take(clip)
    with seconds.of("views"):
        views = make_views(clip, spec)
    with seconds.of("evidence"):
        evidence = measure(clip)
    with seconds.of("context"):
        text = gather(
            path,
            clip,
            level=cast(ContextLevel, level),
            texts=dict(texts),
            cues=cues,
            asr=asr,
            limits=reader.limits,
        )
        captions = caption_measurements(clip, text)
    return Prepared(
        start=clip.start,
        end=clip.end,
        info=clip.info,
        views=views,
        evidence=evidence + captions,
        context=text,
        missing=_missing(clip, views, text, level),
        warnings=[*clip.warnings, *_damage(clip), *_unread(text)],
        seconds=seconds,
    )


def _damage(clip: Clip) -> list[str]:
    tracks = (("video", clip.video), ("audio", clip.audio))
    return [f"{name}: {t.damaged} damaged packets or frames" for name, t in tracks if t is not None and t.damaged]


def _unread(text: TextContext) -> list[str]:
    return [source.detail.split("; ")[0] for source in text.sources if BEYOND in source.detail]


def _missing(clip: Clip, views: Views, text: TextContext, level: str) -> dict[str, str]:
    missing: dict[str, str] = {}
    if views.whole is None or clip.video is None:
        missing["video"] = clip.absent.get("video", "no frame could be decoded")
    elif 2 * clip.video.damaged > max(len(clip.video.thumbs), clip.video.damaged):
        missing["video"] = f"mostly damaged: {clip.video.damaged} errors in {len(clip.video.thumbs)} frames"
    if clip.audio is None or views.sound is None:
        missing["audio"] = clip.absent.get("audio", "the sound is shorter than 0.1 s")
    elif float(abs(clip.audio.samples).max()) < SILENCE_PEAK:
        missing["audio"] = "digital silence: the track is there, nothing was recorded on it"
    if "video" in missing or "audio" in missing:
        missing["sync"] = "; ".join(f"no {a}: {missing[a]}" for a in ("video", "audio") if a in missing)
    elif clip.info.video is not None and clip.info.video.still:
        missing["sync"] = "a still image has no timing"
    if "video" in missing and "audio" in missing:
        missing["overall"] = "; ".join(f"no {a}: {missing[a]}" for a in ("video", "audio"))
    if not any(i.caption for i in text.items):
        seen = any(i.origin == "ocr" for i in text.items)
        missing["text"] = (
            f"no captions found, only words on things in the scene (--context {level})"
            if seen
            else f"no captions and no on-screen text found (--context {level})"
        )
    return missing


def worst_evidence(windows: Iterable[Sequence[Measurement]]) -> list[Measurement]:
    """Facts of a clip from those of its windows: each where it is most severe; spans of all are joined.

    Of equal ones a measured value comes first: a window that could not be measured says less.
    """
    best: dict[tuple[str, str], Measurement] = {}
    spans: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for m in (m for facts in windows for m in facts):
        key = (m.modality, m.name)
        spans.setdefault(key, []).extend(m.spans)
        if key not in best or _weight(m) > _weight(best[key]):
            best[key] = m
    return [m.model_copy(update={"spans": spans[k]}) for k, m in best.items()]


def _weight(m: Measurement) -> tuple[int, bool]:
    return SEVERITIES.index(m.severity), m.value is not None


def ahead(
    make: Callable[[X], T], items: Iterable[X], *, chunk: int = 1, held: int = 2, threads: int = 1
) -> Iterator[list[T]]:
    """`make` of every item, in order, `chunk` at a time: the next ones are made in threads while these are used.

    At most `held` results wait at a time. What has not begun when the caller stops is not begun any more.
    """
    pending: deque[Future[T]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                pending.append(pool.submit(make, item))
                if len(pending) >= max(held, chunk):
                    yield [pending.popleft().result() for _ in range(chunk)]
            while pending:
                yield [pending.popleft().result() for _ in range(min(chunk, len(pending)))]
        finally:
            for left in pending:
                left.cancel()
