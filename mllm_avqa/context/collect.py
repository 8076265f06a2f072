"""Everything that can be read beside, inside and on a clip, each origin with an account of what became of it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mllm_avqa.context.asr import AsrEngine, load_asr, resample_16k
from mllm_avqa.context.clean import ITEM_CHARS, PRIORITY, clean_text, fit, metadata_items, shorten
from mllm_avqa.context.gate import THRESHOLD, text_score
from mllm_avqa.context.ocr import OcrEngine, default_ocr, merge_frames
from mllm_avqa.context.sidecars import CueLike, cue_items, find_sidecars, read_sidecar, within_budget
from mllm_avqa.context.standing import told_apart
from mllm_avqa.schema.clip import Clip, Limits
from mllm_avqa.schema.errors import ConfigError, ContextUnavailable, MediaError
from mllm_avqa.schema.names import CONTEXT_LEVELS, ContextLevel
from mllm_avqa.schema.text import REPAIRED, Origin, SourceStatus, TextContext, TextItem

logger = logging.getLogger(__name__)

Found = tuple[list[TextItem], SourceStatus]
SILENCE = 1e-4  # peak (-80 dBFS) under which nobody speaks; Whisper invents sentences there


def gather(
    path: str | Path,
    clip: Clip,
    *,
    level: ContextLevel = "fast",
    user_text: str | None = None,
    texts: dict[str, str] | None = None,
    cues: Sequence[CueLike] | None = None,
    ocr: OcrEngine | None = None,
    asr: AsrEngine | None = None,
    limits: Limits = Limits(),
) -> TextContext:
    """Texts that come with `clip`, cleaned and capped (see `clean.fit`), and one status for every origin.

    path: the file the clip was decoded from; sidecars are looked for beside it.
    level: "none" takes given texts only; "fast" adds metadata, subtitles, sidecars and OCR of at most one frame, if a
    cheap gate sees text on it; "full" reads one frame per segment and transcribes the sound.
    texts: further given texts by origin ({"asr": "a transcript"}); an origin given this way is not looked for again.
    cues: embedded subtitles; None = read them from `path`.
    ocr, asr: engines; None = rapidocr, and whatever Whisper weights are cached.
    limits: number and bytes of the sidecars; what goes beyond is not read, and said so.
    Items are in order of priority, times in seconds on the clip's clock. A missing engine is a status, never an
    exception. Raises ConfigError for an unknown level or origin.
    """
    if level not in CONTEXT_LEVELS:
        raise ConfigError(f"context level {level!r} is unknown; allowed are {', '.join(CONTEXT_LEVELS)} (--context)")
    given = _given(user_text, texts or {})
    found: dict[Origin, Found] = {}
    for origin in PRIORITY:
        if origin in given:
            found[origin] = (given[origin], SourceStatus(origin=origin, status="ok", detail="given"))
        elif origin == "user":
            found[origin] = _absent(origin, "no text was given")
        elif level == "none":
            found[origin] = _skipped(origin, "context level none takes given texts only")
        elif origin == "metadata":
            found[origin] = _metadata(clip)
        elif origin == "subtitle":
            found[origin] = _subtitles(path, clip, cues)
        elif origin == "sidecar":
            found[origin] = _sidecars(path, clip, limits)
        elif origin == "ocr":
            found[origin] = _ocr(clip, level, ocr)
        else:
            found[origin] = _asr(clip, level, asr)
    items, cuts = fit([item for part, _ in found.values() for item in part])
    sources = []
    for origin, (_, source) in found.items():
        # File names and error messages may hold anything, the cut is ours and must not be cut itself.
        why = shorten(clean_text(source.detail), ITEM_CHARS)
        detail = "; ".join(d for d in (why, cuts.get(origin, "")) if d)
        kept = source.status != "ok" or any(i.origin == origin for i in items) or origin in cuts
        sources.append(
            source.model_copy(update={"detail": detail})
            if kept
            else SourceStatus(origin=origin, status="absent", detail="nothing but invisible characters")
        )
    return TextContext(items=items, sources=sources)


def _given(user_text: str | None, texts: dict[str, str]) -> dict[Origin, list[TextItem]]:
    unknown = sorted(set(texts) - set(PRIORITY))
    if unknown:
        raise ConfigError(f"context text of unknown origin {unknown[0]!r}; allowed are {', '.join(PRIORITY)}")
    given: dict[Origin, list[TextItem]] = {}
    pairs: list[tuple[Origin, str | None]] = [("user", user_text), *((o, texts.get(o)) for o in PRIORITY)]
    for origin, text in pairs:
        if text and text.strip():
            given.setdefault(origin, []).append(TextItem(origin=origin, text=text, detail="given"))
    return given


def _ok(items: list[TextItem], origin: Origin, detail: str = "") -> Found:
    return items, SourceStatus(origin=origin, status="ok", detail=detail)


def _absent(origin: Origin, why: str) -> Found:
    return [], SourceStatus(origin=origin, status="absent", detail=why)


def _skipped(origin: Origin, why: str) -> Found:
    return [], SourceStatus(origin=origin, status="skipped", detail=why)


def _unavailable(origin: Origin, why: str) -> Found:
    return [], SourceStatus(origin=origin, status="unavailable", detail=why)


def _metadata(clip: Clip) -> Found:
    items = metadata_items(clip.info.metadata)
    return _ok(items, "metadata") if items else _absent("metadata", "no tag that says something about the content")


def _repair_note(items: list[TextItem]) -> str:
    n = sum(REPAIRED in item.detail for item in items)
    return f"{n} cue(s) with impossible times repaired" if n else ""


def _subtitles(path: str | Path, clip: Clip, cues: Sequence[CueLike] | None) -> Found:
    if cues is None:
        if clip.info.subtitle_streams == 0:
            return _absent("subtitle", "the file has no subtitle stream")
        from mllm_avqa.media import read_subtitles

        try:
            cues = read_subtitles(path)
        except MediaError as e:
            return _unavailable("subtitle", f"the subtitle stream cannot be read: {e}")
    if not cues:
        return _absent("subtitle", "no cue in the subtitle streams")
    items: list[TextItem] = []
    for stream in sorted({int(getattr(cue, "stream", 0)) for cue in cues}):
        own = [cue for cue in cues if int(getattr(cue, "stream", 0)) == stream]
        items += cue_items(own, "subtitle", f"stream={stream}", (clip.start, clip.end))
    if not items:
        return _absent("subtitle", "no cue inside the window")
    return _ok(items, "subtitle", _repair_note(items))


def _sidecars(path: str | Path, clip: Clip, limits: Limits) -> Found:
    found = find_sidecars(path)
    if not found:
        return _absent("sidecar", "no .srt, .vtt, .ass or .ssa file of the clip's name beside it")
    files, over = within_budget(found, limits)
    items: list[TextItem] = []
    notes = [over] if over else []
    readable = False
    for file in files:
        try:
            read, note = read_sidecar(file, (clip.start, clip.end))
        except ValueError as e:
            notes.append(str(e))
            continue
        readable = True
        items += read
        notes += [note] if note else []
    notes += [n for n in [_repair_note(items)] if n]
    if items:
        return _ok(items, "sidecar", "; ".join(notes))
    if readable:
        return _absent("sidecar", "; ".join(["no cue inside the window", *notes]))
    return _unavailable("sidecar", "; ".join(notes))


def segment_frames(pts: np.ndarray, thumb_pts: np.ndarray) -> list[int]:
    """Index of the first native frame of each run of consecutive ones (one run per segment of the window).

    pts [n], thumb_pts [m]: seconds. Frames further apart than one and a half frame times belong to different runs.
    """
    if len(pts) == 0:
        return []
    steps = np.diff(thumb_pts)
    steps = steps[steps > 0]
    near = 1.5 * float(np.median(steps)) if len(steps) else 0.0
    return [0, *(i for i in range(1, len(pts)) if pts[i] - pts[i - 1] > near)]


def _ocr(clip: Clip, level: ContextLevel, engine: OcrEngine | None) -> Found:
    if clip.video is None or len(clip.video.frames) == 0:
        return _absent("ocr", clip.absent.get("video", "no decoded frame"))
    frames, pts = clip.video.frames, clip.video.pts
    chosen = segment_frames(pts, clip.video.thumb_pts)
    if level == "fast":
        scores = {i: text_score(frames[i]) for i in chosen}
        best = max(scores, key=lambda i: scores[i])
        if scores[best] < THRESHOLD:
            return _skipped("ocr", f"no frame looks like it carries text ({len(chosen)} looked at)")
        chosen = [best]
    engine = engine or default_ocr()
    try:
        lines = [(float(pts[i]), told_apart(engine.read(frames[i]), frames, i)) for i in chosen]
    except ContextUnavailable as e:
        logger.info("on-screen text is not read: %s", e)
        return _unavailable("ocr", str(e))
    items = merge_frames(lines, engine.name)
    read = f"{len(chosen)} frame(s) read"
    return _ok(items, "ocr", read) if items else _absent("ocr", f"no text found, {read}")


def _asr(clip: Clip, level: ContextLevel, engine: AsrEngine | None) -> Found:
    if clip.audio is None or clip.audio.samples.size == 0:
        return _absent("asr", clip.absent.get("audio", "no decoded sound"))
    if level != "full":
        return _skipped("asr", "speech is transcribed at context level full only (--context full)")
    if float(np.max(np.abs(clip.audio.samples))) < SILENCE:
        return _absent("asr", "the sound is silent")
    try:
        engine = engine or load_asr(None)
        segments = engine.transcribe(resample_16k(clip.audio))
    except ContextUnavailable as e:
        logger.info("speech is not transcribed: %s", e)
        return _unavailable("asr", str(e))
    offset = clip.audio.start
    items = [
        TextItem(
            origin="asr",
            text=s.text,
            start=offset + s.start,
            end=offset + s.end,
            detail=f"engine={engine.name}" + (f", language={s.language}" if s.language else ""),
            words=[(round(offset + a, 2), round(offset + z, 2), w) for a, z, w in s.words],
        )
        for s in segments
    ]
    return _ok(items, "asr") if items else _absent("asr", "no speech recognised")
