"""Facts of every second of a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mllm_avqa.schema.whole import CLIPPED_EVERY, PictureSeries, Scan, SoundSeries, Span, Timeline

STEP = 1.0  # seconds


def timeline(scan: Scan, spans: Mapping[str, Sequence[Span]], cuts: Sequence[float]) -> Timeline:
    """Shares (0-1) of every second that is black, frozen or silent; light, motion, cuts, loudness and clipping."""
    n = int(np.ceil(scan.until / STEP - 1e-6))
    facts: dict[str, list[float | None]] = {}
    for name in ("black", "freeze", "silence", "dropouts"):
        if name in spans:
            facts[name] = _shares(spans[name], n)
    if scan.pictures is not None:
        facts |= _light(scan.pictures, n)
        facts["scene_cuts"] = _told(np.bincount(_second(np.array(cuts), n), minlength=n), 0)
    if scan.sound is not None:
        facts |= _loud(scan.sound, n)
    return Timeline(step=STEP, facts=facts)


def _shares(spans: Sequence[Span], n: int) -> list[float | None]:
    """Share of every second that lies in the spans, in time linear in both."""
    edge = np.zeros(n + 1)  # running sum of the seconds covered before each edge
    for a, b in spans:
        first, last = int(a / STEP), min(n - 1, int(b / STEP))
        for k in (first, last) if last > first else (first,):
            if k < n:
                edge[k] += min(b, (k + 1) * STEP) - max(a, k * STEP)
        if last - first > 1:
            edge[first + 1 : last] += STEP
    return _told(np.minimum(edge[:n] / STEP, 1.0), 3)


def _second(times: np.ndarray, n: int) -> np.ndarray:
    return np.clip((times / STEP).astype(int), 0, max(0, n - 1))


def _light(p: PictureSeries, n: int) -> dict[str, list[float | None]]:
    at = _second(p.times, n)
    count = np.bincount(at, minlength=n)
    out = {"frames": _told(count, 0)}
    with np.errstate(invalid="ignore"):
        for name, series in (("brightness", p.mean), ("motion", p.change)):
            out[name] = _told(np.bincount(at, series.astype(np.float64), minlength=n) / count, 2)
    return out


def _loud(s: SoundSeries, n: int) -> dict[str, list[float | None]]:
    out: dict[str, list[float | None]] = {}
    times = s.start + 0.05 + 0.1 * np.arange(len(s.momentary))
    for name, curve in (("momentary_loudness", s.momentary), ("short_term_loudness", s.short_term)):
        heard = curve > -70  # NaN is not
        out[name] = _told(_highest(curve[heard], times[heard], n), 1)
    step = s.power_step * CLIPPED_EVERY
    at = _second(s.start + step * np.arange(len(s.clipped)), n)
    counted = np.bincount(at, minlength=n)
    with np.errstate(invalid="ignore"):
        out["clipped"] = _told(100 * np.bincount(at, s.clipped.astype(np.float64), minlength=n) / counted, 2)
    return out


def _highest(curve: np.ndarray, times: np.ndarray, n: int) -> np.ndarray:
    out = np.full(n, np.nan)
    np.fmax.at(out, _second(times, n), curve.astype(np.float64))
    return out


def _told(values: np.ndarray, digits: int) -> list[float | None]:
    return [None if np.isnan(v) else round(float(v), digits) for v in values]
