"""From the series of a pass to facts with exact spans; those that share a name with a window's share its definition."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np

from mllm_avqa.evidence.audio import holes, merged, silences
from mllm_avqa.evidence.catalogue import ALL_FACTS, Findings, Found, as_measurement, runs
from mllm_avqa.evidence.temporal import black, cadence, flicker, repeats
from mllm_avqa.schema.clip import MediaInfo
from mllm_avqa.schema.measurement import SEVERITIES, Measurement, graded
from mllm_avqa.schema.whole import CLIPPED_EVERY, FLOOR, PictureSeries, Scan, SoundSeries, Span, Whole
from mllm_avqa.whole.spans import length, union
from mllm_avqa.whole.timeline import timeline

MOST_SPANS = 1000  # of one fact; a hostile file would have millions
STILL = 1.0  # seconds from which a black or frozen picture is a fault: a fade is shorter
MUTE = 2.0  # seconds from which silence is: a pause of speech is shorter
_CUT = 10.0  # of 100, the score of FFmpeg's scdet that means a cut
_FLICKER = 10.0  # seconds over which flicker is measured at a time
_HOLES = 60.0  # seconds in which dropouts are looked for at a time
_OVERLAP = 0.5  # seconds that these lie in two turns
_ALONE = 0.1  # seconds for which one stream may be there without the other
_SAME = ("black", "freeze", "duplicate_frames", "silence", "dropouts", "loudness", "true_peak", "timestamp_gaps")
Spans = list[Span]


def whole_of(scan: Scan, info: MediaInfo) -> Whole:
    """All facts of a file that a pass has read."""
    found: Findings = {}
    faults: dict[str, Spans] = {}
    if scan.pictures is not None:
        found |= _picture(scan.pictures)
        gone = union([*found["black"].spans, *found["freeze"].spans])
        faults["video"] = [s for s in gone if s[1] - s[0] >= STILL]
    if scan.sound is not None:
        found |= _sound(scan.sound)
        long = [s for s in found["silence"].spans if s[1] - s[0] >= MUTE]
        faults["audio"] = union([*long, *found["dropouts"].spans])
    found |= _timing(scan, info)
    for side, alone in _alone(scan).items():
        shortest = {"video": STILL, "audio": MUTE}[side]
        faults[side] = union([*faults[side], *(s for s in alone if s[1] - s[0] >= shortest)])
    facts = [_measured(name, found[name]) for name in ALL_FACTS if name in found]
    cuts = [a for a, _ in found["scene_cuts"].spans] if "scene_cuts" in found else []
    spans = {name: f.spans for name, f in found.items()}
    return Whole(
        until=round(scan.until, 3),
        complete=scan.complete,
        facts=facts,
        faults={side: [(round(a, 3), round(b, 3)) for a, b in s[:MOST_SPANS]] for side, s in faults.items()},
        timeline=timeline(scan, spans, cuts),
    )


def replaced(evidence: Sequence[Measurement], whole: Whole) -> list[Measurement]:
    """Facts of the windows of a file, with those of the whole file in the place of their own."""
    known = {m.name: m for m in whole.facts if m.name in _SAME and m.value is not None}
    return [known.pop(m.name, m) for m in evidence] + list(known.values())


def _measured(name: str, found: Found) -> Measurement:
    m = as_measurement(name, found)
    m.spans = m.spans[:MOST_SPANS]
    thresholds = ALL_FACTS[name].stretch
    if thresholds is not None and m.value is not None:
        longest = max((b - a for a, b in m.spans), default=0.0)
        m.severity = max(m.severity, graded(longest, thresholds), key=SEVERITIES.index)
    return m


def _picture(p: PictureSeries) -> Findings:
    if len(p.times) < 2:
        names = ("black", "freeze", "duplicate_frames", "flicker", "scene_cuts")
        return {name: Found(None, note="a single picture") for name in names}
    times, dark = p.times, p.dark.astype(bool)
    ends = np.append(times[1:], times[-1] + float(np.median(np.diff(times))))
    found = cadence(repeats(p.change[1:].astype(np.float64)), dark, times, ends)
    return {
        "black": black(dark, times, ends),
        "freeze": found["freeze"],
        "duplicate_frames": found["duplicate_frames"],
        "flicker": _flickers(p, dark),
        "scene_cuts": _cuts(p),
    }


def _flickers(p: PictureSeries, dark: np.ndarray) -> Found:
    """The worst stretch, and all that flicker as much as to be seen."""
    edges = np.arange(p.times[0], p.times[-1] + _FLICKER, _FLICKER)
    cuts = np.searchsorted(p.times, edges)
    worst, spans = Found(None, note="too few frames between cuts"), list[Span]()
    for a, b in pairwise([*cuts.tolist(), len(p.times)]):
        mean, change = p.mean[a:b].astype(np.float64), p.change[a + 1 : b].astype(np.float64)
        told = flicker(mean, change, dark[a:b]) if b - a >= 8 else Found(None)
        if told.value is None:
            continue
        if SEVERITIES.index(ALL_FACTS["flicker"].severity(told.value)) >= 2:
            spans.append((float(p.times[a]), float(p.times[b - 1])))
        if worst.value is None or told.value > worst.value:
            worst = told
    worst.spans = union(spans, gap=1.0)
    return worst


def _cuts(p: PictureSeries) -> Found:
    """As FFmpeg's scdet: a large difference to the frame before, unlike the one before that; a fall is no cut."""
    change = p.change.astype(np.float64) * 100 / 256
    score = np.minimum(change[1:], np.diff(change))
    at = [float(p.times[k + 1]) for k in np.flatnonzero(score >= _CUT)]
    return Found(float(len(at)), spans=[(t, t) for t in at])


def _sound(s: SoundSeries) -> Findings:
    quiet = silences(s.power, s.power_step, s.start)
    total = max(s.end - s.start, 1e-9)
    lost = _dropouts(s)
    clipped = s.clipped > 0
    step = s.power_step * CLIPPED_EVERY
    at = [(s.start + a * step, s.start + b * step) for a, b in runs(clipped)]
    out = {
        "silence": Found(100.0 * length(quiet) / total, spans=quiet),
        "dropouts": Found(100.0 * length(lost) / total, spans=merged(lost, limit=MOST_SPANS)),
        "clipped": Found(100.0 * float(s.clipped.mean()) if len(s.clipped) else None, spans=at, note=""),
    }
    gated = "silence: nothing passes the -70 LUFS gate"
    for name, value in (("loudness", s.integrated), ("loudness_range", s.loudness_range)):
        out[name] = Found(value, note="" if value is not None else gated)
    for name, curve in (("momentary_loudness", s.momentary), ("short_term_loudness", s.short_term)):
        heard = curve[curve > -70]  # NaN is not
        out[name] = Found(float(heard.max()) if len(heard) else None, note="" if len(heard) else gated)
    out["true_peak"] = Found(s.true_peak, note="" if s.true_peak is not None else "digital silence")
    return out


def _dropouts(s: SoundSeries) -> Spans:
    step, size, overlap_ = s.level_step, round(_HOLES / s.level_step), round(_OVERLAP / s.level_step)
    found: Spans = []
    for k in range(0, len(s.level), size):
        low = max(0, k - overlap_)
        db = FLOOR + s.level[low : k + size + overlap_].astype(np.float64) / 2
        begin, end = s.start + k * step, s.start + (k + size) * step
        found += [h for h in holes(db, step, s.start + low * step) if begin <= h[0] < end]
    return found


def _timing(scan: Scan, info: MediaInfo) -> Findings:
    """Where one stream is missing, where timestamps skip, and how both streams begin and end."""
    seen, heard = _shown(scan.pictures), _heard(scan.sound)
    skips = [*(scan.sound.gaps if scan.sound else []), *_skips(scan.pictures)]
    out: Findings = {"timestamp_gaps": Found(1000.0 * length(skips), spans=sorted(skips))} if seen or heard else {}
    if not seen or not heard or info.video is None or info.audio is None:
        return out
    alone = [s for s in union(s for found in _alone(scan).values() for s in found) if s[1] - s[0] >= _ALONE]
    out["stream_gaps"] = Found(length(alone), spans=alone)
    out["av_start_offset"] = Found(1000.0 * (heard[0][0] - seen[0][0]))
    if scan.complete:
        lengths = [part[-1][1] - part[0][0] for part in (heard, seen)]
        out["av_duration_difference"] = Found(1000.0 * (lengths[0] - lengths[1]))
    return out


def _alone(scan: Scan) -> dict[str, Spans]:
    """By side, where it is missing though the other one is there."""
    seen, heard = _shown(scan.pictures), _heard(scan.sound)
    if not seen or not heard:
        return {}
    end = max if scan.complete else min
    both = [(min(seen[0][0], heard[0][0]), end(seen[-1][1], heard[-1][1]))]
    return {"video": _without(both, seen), "audio": _without(both, heard)}


def _shown(p: PictureSeries | None) -> Spans:
    if p is None or not len(p.times):
        return []
    usual = float(np.median(np.diff(p.times))) if len(p.times) > 1 else 0.0
    return _without([(float(p.times[0]), float(p.times[-1]) + usual)], _skips(p))


def _skips(p: PictureSeries | None) -> Spans:
    """Frames that stand too far apart, as in the facts of a window."""
    if p is None or len(p.times) < 4:
        return []
    step = np.diff(p.times)
    usual = float(np.median(step))
    at = np.flatnonzero(step > max(3.5 * usual, 0.1))
    return [(float(p.times[k]) + usual, float(p.times[k + 1])) for k in at]


def _heard(s: SoundSeries | None) -> Spans:
    return [] if s is None else _without([(s.start, s.end)], s.gaps)


def _without(spans: Iterable[Span], holes_: Iterable[Span]) -> Spans:
    """`spans` where `holes_` are not."""
    left = list(spans)
    for a, b in union(holes_):
        left = [part for x, y in left for part in ((x, min(y, a)), (max(x, b), y)) if part[1] > part[0]]
    return left
