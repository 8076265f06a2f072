"""Evidence on captions and on-screen text: can they be read, are they there, do they say what is said?

Their thresholds, which stand in the catalogue, are those of the synthesised text distortions.
"""

from __future__ import annotations

import math
import re
import statistics
import unicodedata
from itertools import pairwise

import numpy as np

from mllm_avqa.evidence.catalogue import CAPTION_FACTS
from mllm_avqa.schema.clip import Clip, VideoTrack
from mllm_avqa.schema.measurement import Measurement
from mllm_avqa.schema.text import REPAIRED, TextContext, TextItem

BOX_TO_TEXT = 0.85  # font size over height of an OCR box, which has a margin (measured on 16-54 px: 0.70-1.09)
INK_TO_TEXT = 1.25  # font size over height of the inked rows (both together: within -30 and +25 %, mean -5 %)
NO_TRANSCRIPT = 0.8  # share of words; user text further away than this is a remark on the clip, not what is said in it


def caption_measurements(clip: Clip, context: TextContext) -> list[Measurement]:
    """Text evidence of one clip, always the same eight measurements in the same order; modality "text".

    caption_speed (characters/s, fastest cue), caption_gap (% of speech time without a caption), caption_overlap (% of
    caption time with two captions of one source at once), caption_timing (% of cues with impossible times),
    caption_offset (s, median of caption minus speech, late is positive), caption_mismatch (% word errors against a
    transcript), text_height (% of the frame's height, smallest line), text_contrast (WCAG ratio, worst line).
    What cannot be measured has the value None and says why.
    """
    cues = [i for i in context.items if i.origin in ("subtitle", "sidecar") and i.start is not None]
    speech = [i for i in context.items if i.origin == "asr"]
    lines = [i for i in context.items if i.origin == "ocr" and i.caption and i.box is not None]
    return [
        _speed(cues),
        _gap(clip, cues, speech),
        _overlap(cues),
        _timing(cues),
        _offset(cues, speech),
        _mismatch(clip, cues, context),
        _height(clip, lines),
        _contrast(clip, lines),
    ]


def _found(name: str, value: float, spans: list[Span] | None = None, note: str = "") -> Measurement:
    """spans are kept only where the value is a fault."""
    severity = CAPTION_FACTS[name].severity(value)
    return Measurement(
        name=name,
        modality="text",
        value=round(value, 3),
        unit=CAPTION_FACTS[name].unit,
        severity=severity,
        spans=[(round(a, 3), round(b, 3)) for a, b in spans or []] if severity != "none" else [],
        note=note,
    )


def _is_bad(name: str, value: float) -> bool:
    return CAPTION_FACTS[name].severity(value) != "none"


def _none(name: str, why: str) -> Measurement:
    return Measurement(name=name, modality="text", value=None, unit=CAPTION_FACTS[name].unit, note=why)


def _span(item: TextItem) -> Span:
    start = item.start if item.start is not None else 0.0
    return start, item.end if item.end is not None else start


def _seconds(item: TextItem) -> float:
    start, end = _span(item)
    return end - start


def reading_length(text: str) -> int:
    """Characters as reading speed counts them: with spaces, a Chinese one for two (guidelines allow 9 per s)."""
    return sum(2 if is_wide(c) else 1 for c in text)


def _speed(cues: list[TextItem]) -> Measurement:
    timed = [c for c in cues if _seconds(c) > 0]
    if not timed:
        return _none("caption_speed", "no timed captions")
    speeds = [reading_length(c.text) / _seconds(c) for c in timed]
    fast = [_span(c) for c, s in zip(timed, speeds, strict=True) if _is_bad("caption_speed", s)]
    return _found("caption_speed", max(speeds), fast, f"fastest of {len(timed)} captions")


def _sources(cues: list[TextItem]) -> dict[tuple[str, str], list[TextItem]]:
    """Cues by stream or file: captions in two languages stand at the same time by intent."""
    by_source: dict[tuple[str, str], list[TextItem]] = {}
    for cue in cues:
        by_source.setdefault((cue.origin, cue.detail.split(";")[0]), []).append(cue)
    return by_source


def _gap(clip: Clip, cues: list[TextItem], speech: list[TextItem]) -> Measurement:
    if not cues:
        return _none("caption_gap", "no captions")
    spoken = [(max(a, clip.start), min(b, clip.end)) for a, b in (_span(s) for s in speech if s.start is not None)]
    spoken = [(a, b) for a, b in spoken if b > a]
    if not spoken:
        return _none("caption_gap", "no timed transcript that says when somebody speaks")
    missing = uncovered(spoken, [_span(c) for c in cues])
    value = 100 * length(missing) / length(spoken)
    return _found("caption_gap", value, missing, "of the speech time of the transcript")


def _overlap(cues: list[TextItem]) -> Measurement:
    if not any(_seconds(c) > 0 for c in cues):
        return _none("caption_overlap", "no timed captions")
    twice: list[Span] = []
    for own in _sources(cues).values():
        spans = sorted(_span(c) for c in own)
        last = spans[0][1]
        for start, end in spans[1:]:
            if min(last, end) > start:
                twice.append((start, min(last, end)))
            last = max(last, end)
    value = 100 * length(twice) / length([_span(c) for c in cues])
    return _found("caption_overlap", value, twice, "of the time with a caption")


def _timing(cues: list[TextItem]) -> Measurement:
    if not cues:
        return _none("caption_timing", "no captions")
    broken = [c for c in cues if REPAIRED in c.detail]
    note = f"{len(broken)} of {len(cues)} captions end before they begin, take no time or begin before 0"
    return _found("caption_timing", 100 * len(broken) / len(cues), [_span(c) for c in broken], note)


def _offset(cues: list[TextItem], speech: list[TextItem]) -> Measurement:
    """Captions are paired with the transcript's segment of nearly the same words, wherever that is in time."""
    shifts = []
    for cue in cues:
        shown = words(cue.text)
        for segment in speech:
            said = words(segment.text)
            if segment.start is not None and len(shown) >= 3 and word_errors(said, shown) <= 0.34 * len(shown):
                shifts.append(_span(cue)[0] - _span(segment)[0])
                break
    if not shifts:
        why = "no caption of three words or more has the words of a transcribed segment" if cues else "no captions"
        return _none("caption_offset", why)
    shift = statistics.median(shifts)
    found = _found("caption_offset", abs(shift), note=f"median of {len(shifts)} caption(s)")
    return found.model_copy(update={"value": round(shift, 3)})


def _transcript(context: TextContext) -> tuple[list[str], str]:
    for origin in ("asr", "user"):
        said = words(" ".join(i.text for i in context.items if i.origin == origin))
        if len(said) >= 3:
            return said, origin
    return [], ""


def _mismatch(clip: Clip, cues: list[TextItem], context: TextContext) -> Measurement:
    name = "caption_mismatch"
    # A caption that stands mostly outside the window has words that were not heard inside it.
    inside = [c for c in cues if _seconds(c) <= 2 * (min(_span(c)[1], clip.end) - max(_span(c)[0], clip.start))]
    said, origin = _transcript(context)
    if not inside or not said:
        return _none(name, "no captions" if not inside else "no transcript to compare the captions with")
    rates: dict[tuple[str, str], float] = {}
    for source, own in _sources(inside).items():
        shown = words(" ".join(c.text for c in own))
        if not shown or abs(_wide_share(shown) - _wide_share(said)) > 0.5:
            continue
        # The user's transcript may be of the whole file, the recogniser heard the window only.
        errors = word_errors(said, shown, inside=origin == "user")
        if origin == "user" and errors > NO_TRANSCRIPT * len(shown):
            continue
        rates[source] = 100 * errors / (len(shown) if origin == "user" else len(said))
    if not rates:
        return _none(name, f"the {origin} text is no transcript of these captions (other script or other words)")
    best = min(rates, key=lambda s: rates[s])  # of captions in several languages, those in the spoken one
    against = (
        "the recognised speech, whose own errors count too" if origin == "asr" else "the user's text as transcript"
    )
    return _found(name, rates[best], note=f"word error rate of {best[0]} against {against}")


def _wide_share(tokens: list[str]) -> float:
    return sum(is_wide(t[0]) for t in tokens) / len(tokens)


def _height(clip: Clip, lines: list[TextItem]) -> Measurement:
    if not lines or clip.video is None or len(clip.video.frames) == 0:
        return _none("text_height", "no text was read on a frame")
    height, width = clip.video.frames.shape[1:3]
    sizes = []
    for line in lines:
        x0, y0, x1, y1 = line.box or (0.0, 0.0, 0.0, 0.0)
        across, down = (x1 - x0) * width, (y1 - y0) * height
        if down > 1.5 * across and len(line.text) > 1:  # set vertically
            size = BOX_TO_TEXT * across
        else:  # the margin of a small line's box is relatively large, ink tells better unless the background is busy
            size = min(BOX_TO_TEXT * down, INK_TO_TEXT * _ink_rows(_patch(clip.video, line)) or down)
        sizes.append(100 * size / height)
    small = [_span(line) for line, size in zip(lines, sizes, strict=True) if _is_bad("text_height", size)]
    note = "smallest of the lines that could be read; smaller text is invisible to the reader too"
    return _found("text_height", min(sizes), small, note)


def _patch(video: VideoTrack, line: TextItem) -> np.ndarray:
    """Pixels of a line's box, uint8 [h, w, 3], on the first frame that shows it (the box is that frame's)."""
    height, width = video.frames.shape[1:3]
    x0, y0, x1, y1 = line.box or (0.0, 0.0, 0.0, 0.0)
    frame = video.frames[int(np.argmin(np.abs(video.pts - _span(line)[0])))]
    return frame[int(y0 * height) : math.ceil(y1 * height), int(x0 * width) : math.ceil(x1 * width)]


def _bright_class(patch: np.ndarray) -> np.ndarray | None:
    """Otsu's (1979) brighter class of a patch as a mask [h, w]; None when the patch is empty or of one brightness."""
    import cv2

    if patch.size == 0:
        return None
    luma = cv2.cvtColor(np.ascontiguousarray(patch), cv2.COLOR_RGB2GRAY)
    cut, _ = cv2.threshold(luma, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    bright = luma > cut
    return bright if bright.any() and not bright.all() else None


def _ink_rows(patch: np.ndarray) -> int:
    """Height in pixels of the rows that hold ink (the rarer class of brightness), 0 where there are no two classes."""
    bright = _bright_class(patch)
    if bright is None:
        return 0
    ink = bright if bright.mean() <= 0.5 else ~bright
    rows = np.flatnonzero(ink.mean(axis=1) > 0.01)
    return int(rows[-1] - rows[0] + 1) if len(rows) else 0


def wcag_contrast(patch: np.ndarray) -> float | None:
    """WCAG 2.1 contrast ratio (1..21) between the two classes of brightness in a patch, uint8 [h, w, 3] sRGB.

    Each class is represented by its median, which the soft edges of strokes do not move.
    None when the patch is empty or of one brightness.
    """
    bright = _bright_class(patch)
    if bright is None:
        return None
    srgb = patch.astype(np.float64) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    luminance = linear @ np.array([0.2126, 0.7152, 0.0722])
    high, low = float(np.median(luminance[bright])), float(np.median(luminance[~bright]))
    return (max(high, low) + 0.05) / (min(high, low) + 0.05)


def _contrast(clip: Clip, lines: list[TextItem]) -> Measurement:
    name = "text_contrast"
    if not lines or clip.video is None or len(clip.video.frames) == 0:
        return _none(name, "no text was read on a frame")
    ratios: list[tuple[float, Span]] = []
    for line in lines:
        ratio = wcag_contrast(_patch(clip.video, line))
        if ratio is not None:
            ratios.append((ratio, _span(line)))
    if not ratios:
        return _none(name, "the boxes of the text hold one colour only")
    weak = [span for ratio, span in ratios if _is_bad(name, ratio)]
    return _found(name, min(r for r, _ in ratios), weak, "worst of the lines that could be read")


# ---- how far a caption's words are from what was said ---------------------------------------------------------------

# "[door slams]", "(music)", and a speaker's name in front of a line are description, not speech.
_ASIDE = re.compile(r"\[[^\[\]]*\]|\([^()]*\)|（[^（）]*）|^\s*[A-Z][A-Z .]{1,20}:|[♪♫]")


def is_wide(char: str) -> bool:
    """A Chinese, Japanese or Korean character: twice a letter's width and a word's worth of reading."""
    return unicodedata.east_asian_width(char) in "WF"


def words(text: str) -> list[str]:
    """Comparable words: lower case, without punctuation and asides; wide characters count one by one."""
    out: list[str] = []
    for chunk in re.findall(r"\w+(?:['’]\w+)*", _ASIDE.sub(" ", text).casefold()):
        run = ""
        for char in chunk.replace("’", "'"):
            if is_wide(char):
                out += [run, char] if run else [char]
                run = ""
            else:
                run += char
        out += [run] if run else []
    return out


def word_errors(said: list[str], shown: list[str], inside: bool = False) -> int:
    """Least number of substitutions, deletions and insertions that turn `said` into `shown` (Levenshtein 1966).

    inside: `shown` may lie anywhere in `said`; words before and after it cost nothing (captions of one window
    against the transcript of a whole film).
    """
    row = [0 if inside else i for i in range(len(said) + 1)]  # row[i]: errors of shown[:j] against said[:i]
    for j, word in enumerate(shown, 1):
        diagonal, row[0] = row[0], j
        for i, other in enumerate(said, 1):
            diagonal, row[i] = row[i], min(diagonal + (word != other), row[i] + 1, row[i - 1] + 1)
    return min(row) if inside else row[-1]


# ---- arithmetic of time spans (seconds) -----------------------------------------------------------------------------

Span = tuple[float, float]


def length(spans: list[Span]) -> float:
    """Seconds covered by at least one of the spans."""
    return sum(end - start for start, end in union(spans))


def union(spans: list[Span]) -> list[Span]:
    """The spans' union as ordered, disjoint spans."""
    out: list[Span] = []
    for start, end in sorted(spans):
        if out and start <= out[-1][1]:
            out[-1] = (out[-1][0], max(out[-1][1], end))
        else:
            out.append((start, end))
    return out


def uncovered(spans: list[Span], cover: list[Span]) -> list[Span]:
    """Parts of the spans' union that no span of `cover` touches."""
    out: list[Span] = []
    covered = union(cover)
    for start, end in union(spans):
        edges = [start, *(x for a, b in covered for x in (max(a, start), min(b, end)) if a < end and b > start), end]
        out += [(a, b) for k, (a, b) in enumerate(pairwise(edges)) if k % 2 == 0 and b > a]
    return out
