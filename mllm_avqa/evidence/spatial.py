"""Facts of single pictures, pooled over the native-resolution frames of a clip by their median."""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache

import cv2
import numpy as np

from mllm_avqa.evidence.catalogue import Findings, Found
from mllm_avqa.evidence.tone import banding_index, colour_cast, colourfulness, flat_sigma, impulse_share, luma_facts
from mllm_avqa.schema.clip import VideoTrack

_MAX_FRAMES = 4  # frames come in near-identical pairs: one of each is enough
_MAX_SIDE = (720, 1280)  # pixel-exact measures look at the middle of larger pictures


def active_area(lumas: list[np.ndarray]) -> tuple[slice, slice]:
    """Rows and columns inside black bars that all frames share; everything if less than a quarter would remain."""
    peak = np.maximum.reduce([x.max(axis=1) for x in lumas])
    rows = np.flatnonzero(peak > 32)
    peak = np.maximum.reduce([x.max(axis=0) for x in lumas])
    cols = np.flatnonzero(peak > 32)
    h, w = lumas[0].shape
    if rows.size < h / 2 or cols.size < w / 2:
        return slice(0, h), slice(0, w)
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(cols[0]), int(cols[-1]) + 1)


def _middle(luma: np.ndarray) -> np.ndarray:
    h, w = luma.shape
    ch, cw = min(h, _MAX_SIDE[0]), min(w, _MAX_SIDE[1])
    if h > w:
        ch, cw = min(h, _MAX_SIDE[1]), min(w, _MAX_SIDE[0])
    y, x = (h - ch) // 2, (w - cw) // 2
    return np.ascontiguousarray(luma[y : y + ch, x : x + cw])


def _every(rgb: np.ndarray, step: int) -> np.ndarray:
    """Every `step`-th row and column of uint8 RGB, contiguous; copying whole pixels is faster than single bytes."""
    pixels = rgb.view("V3")[::step, ::step]
    return np.ascontiguousarray(pixels).view(np.uint8)


def measure_spatial(track: VideoTrack) -> Findings:
    """Facts of `track.frames` uint8 [n, h, w, 3]. Frames that are black all over count only if all are."""
    chosen = sorted({i * len(track.frames) // _MAX_FRAMES for i in range(_MAX_FRAMES)})
    picks = [np.ascontiguousarray(track.frames[i]) for i in chosen]
    lumas = [cv2.cvtColor(f, cv2.COLOR_RGB2GRAY) for f in picks]
    lit = [i for i, x in enumerate(lumas) if x[::4, ::4].max() > 32] or list(range(len(lumas)))
    picks, lumas = [picks[i] for i in lit], [lumas[i] for i in lit]
    side = min(lumas[0].shape)
    rows, cols = active_area(lumas)
    values: dict[str, list[float | None]] = defaultdict(list)
    for rgb, whole in zip(picks, lumas, strict=True):
        luma = np.ascontiguousarray(whole[rows, cols])
        _tone(_every(rgb[rows, cols], 3), np.ascontiguousarray(luma[::2, ::2]), values)
        _sharpness(at_540p(luma, side), values)
        _texture(_middle(luma), values)
        half = _every(rgb[rows, cols][: 2 * _MAX_SIDE[1], : 2 * _MAX_SIDE[1]], 2)
        ycc = cv2.cvtColor(half, cv2.COLOR_RGB2YCrCb)
        sigmas = [flat_sigma(np.ascontiguousarray(ycc[..., k]), 8) for k in (1, 2)]
        values["chroma_noise"].append(max((s for s in sigmas if s is not None), default=None))
    out: Findings = {name: _pooled(name, found) for name, found in values.items() if name not in ("mean", "direction")}
    _mosaic(_middle(lumas[len(lumas) // 2][rows, cols]), side, out)
    direction = [d for d in values["direction"] if d is not None]
    if direction and np.median(direction) > 1.8 and (out["blur"].value or 0) > 1.4:
        out["blur"].note = "much stronger in one direction: motion blur"
    out["underexposure"].note = f"mean luma {np.mean([m for m in values['mean'] if m is not None]):.0f} of 255"
    return out


def _pooled(name: str, found: list[float | None]) -> Found:
    good = [v for v in found if v is not None]
    if not good:
        return Found(None, note="the picture is too small or has no structure to measure it on")
    return Found(float(np.median(good)))


def _tone(rgb: np.ndarray, luma: np.ndarray, values: dict[str, list[float | None]]) -> None:
    facts = luma_facts(luma)
    values["overexposure"].append(facts["over"])
    values["underexposure"].append(facts["dim"])
    values["crushed_blacks"].append(facts["crushed"])
    values["contrast"].append(facts["contrast"])
    values["mean"].append(facts["mean"])
    values["colourfulness"].append(colourfulness(rgb))
    values["colour_cast"].append(colour_cast(rgb))


def _sharpness(luma: np.ndarray, values: dict[str, list[float | None]]) -> None:
    width = edge_width(luma)
    values["blur"].append(width[0] if width else None)
    values["direction"].append(width[1] if width else None)
    values["detail"].append(detail_slope(luma))


def _texture(luma: np.ndarray, values: dict[str, list[float | None]]) -> None:
    if min(luma.shape) < 16:
        for name in ("blockiness", "noise", "impulse_noise", "banding", "interlacing"):
            values[name].append(None)
        return
    values["blockiness"].append(block_excess(gradient_profiles(luma)))
    values["noise"].append(flat_sigma(luma))
    values["impulse_noise"].append(impulse_share(luma))
    values["banding"].append(banding_index(luma))
    values["interlacing"].append(combing(luma))


def _mosaic(luma: np.ndarray, side: int, out: Findings) -> None:
    """Cells are told in px at 540p; 1 stands for no mosaic. A mosaic's own grid must not read as coding blocks."""
    if min(luma.shape) <= 120:
        out["mosaic"] = Found(None, note="the picture is too small")
        return
    cell = mosaic_cell(gradient_profiles(luma))
    out["mosaic"] = Found(1.0 if cell is None else max(1.0, cell * 540 / side), note="" if cell else "no mosaic")
    if cell is not None:
        out["blockiness"].note = f"a grid of {cell:.1f} px runs through the picture"


# ---- blur (width of edges) and detail (energy of fine octaves): both depend little on what the picture shows --------

_SIGMA0 = 1.5  # px, the extra blur
_EDGE_SHARE = 0.12  # share of pixels with the strongest gradient that may be edges
_MIN_GRADIENT = 0.5  # levels per px below which there is no edge to speak of
_MIN_PIXELS = 60  # edge pixels a direction needs before it may vote


def at_540p(luma: np.ndarray, full_side: int) -> np.ndarray:
    """Picture scaled down so that `full_side` (shorter side of the uncropped picture) becomes 540; never scaled up."""
    k = 540.0 / full_side
    if k >= 1.0:
        return luma
    h, w = luma.shape
    return cv2.resize(luma, (max(8, round(w * k)), max(8, round(h * k))), interpolation=cv2.INTER_AREA)


def edge_width(luma: np.ndarray) -> tuple[float, float] | None:
    """(sigma, anisotropy) of the edges of uint8 `luma` [h, w], or None where there are too few edges.

    sigma is the median Gaussian width in px of the strongest edges in the blurriest of four directions, so that motion
    blur counts; anisotropy is its ratio to the sharpest direction. At a step edge of width s, blurring by s0 divides
    the gradient by R = sqrt(1 + (s0 / s)^2) whatever the contrast, hence s = s0 / sqrt(R^2 - 1).
    Source: Zhuo and Sim, Defocus map estimation from a single image, Pattern Recognition 44(9), 2011.
    """
    if min(luma.shape) < 32:
        return None
    gx, gy = (g.astype(np.float32) for g in cv2.spatialGradient(luma))
    # cv2.magnitude approximates the root, differently from one memory alignment to the next.
    before = np.sqrt(gx * gx + gy * gy) * np.float32(0.125)
    blurred = cv2.GaussianBlur(luma.astype(np.float32), (0, 0), _SIGMA0)
    bx = cv2.Sobel(blurred, cv2.CV_32F, 1, 0, scale=0.125)
    by = cv2.Sobel(blurred, cv2.CV_32F, 0, 1, scale=0.125)
    threshold = max(float(np.quantile(before[::3, ::3], 1.0 - _EDGE_SHARE)), _MIN_GRADIENT)
    # Ridge of the gradient only: on the flanks of an edge the ratio says something else.
    ridge = (before >= threshold) & (before >= cv2.dilate(before, np.ones((3, 3), np.uint8)))
    ridge[:6] = ridge[-6:] = False
    ridge[:, :6] = ridge[:, -6:] = False
    at = np.flatnonzero(ridge.ravel())
    strength = before.ravel()[at]
    ratio = strength / np.maximum(np.hypot(bx.ravel()[at], by.ravel()[at]), 1e-3)
    sigma = _SIGMA0 / np.sqrt(np.maximum(ratio * ratio - 1.0, 1e-2))
    direction = np.floor(np.arctan2(gy.ravel()[at], gx.ravel()[at]) * (4 / np.pi) + 0.5).astype(int) % 4
    widths = []
    for k in range(4):
        mine = np.flatnonzero(direction == k)
        if mine.size < _MIN_PIXELS:
            continue
        strongest = mine[strength[mine] >= np.quantile(strength[mine], 0.67)]
        widths.append(float(np.median(sigma[strongest])))
    return (max(widths), max(widths) / min(widths)) if widths else None


def detail_slope(luma: np.ndarray) -> float | None:
    """Energy of fine detail relative to that two octaves coarser, dB, averaged over two pairs of octaves.

    0 is the scale-free spectrum of natural scenes (Field, JOSA A 4(12), 1987); octaves come from a Laplacian pyramid
    (Burt and Adelson, IEEE Trans. Communications 31(4), 1983). None for a featureless or tiny picture.
    """
    if min(luma.shape) < 64:
        return None
    energy = []
    current: np.ndarray = luma.astype(np.float32)
    for _ in range(4):
        down = cv2.pyrDown(current)
        band = current - cv2.pyrUp(down, dstsize=(current.shape[1], current.shape[0]))
        energy.append(float(cv2.norm(band, cv2.NORM_L2SQR)) / band.size + 0.05)
        current = down
    if energy[3] < 1.0:
        return None
    db = 10 * np.log10(energy)
    return float(db[0] - db[2] + db[1] - db[3]) / 2


# ---- grids in the picture: coding blocks of 8 px and mosaics of any cell size ---------------------------------------

_CAP = 24  # gradient that one pixel may contribute: strong edges of the scene must not decide
_PERIODS = np.exp(np.arange(np.log(1.9), np.log(28.0), 0.004))
_MOSAIC = 0.18  # strength of the grid from which a mosaic is reported; clean clips stay below 0.13
_DCT_MOSAIC = 0.45  # the same where the period is that of coding blocks (8 or 16 px)


def gradient_profiles(luma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean capped gradient of each column step [w - 1] and of each row step [h - 1], float32."""
    out = []
    for axis in (0, 1):
        d = cv2.absdiff(luma[:, 1:], luma[:, :-1]) if axis == 0 else cv2.absdiff(luma[1:], luma[:-1])
        np.minimum(d, _CAP, out=d)
        out.append(cv2.reduce(d, axis, cv2.REDUCE_AVG, dtype=cv2.CV_32F).ravel())
    return out[0], out[1]


def block_excess(profiles: tuple[np.ndarray, np.ndarray], period: int = 8) -> float | None:
    """How far the strongest of the `period` phases stands above the median phase, dB, mean of both axes."""
    values = []
    for p in profiles:
        n = p.size // period * period
        if n < 4 * period:
            return None
        phases = np.sort(p[:n].reshape(-1, period).mean(0))
        values.append(20 * np.log10((phases[-1] + 0.3) / (np.median(phases) + 0.3)))
    return float(np.mean(values))


@lru_cache(maxsize=16)
def _harmonics(n_fft: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Indices of all harmonics of every candidate period, where each period's group starts, and its weight."""
    counts = np.maximum(1, (_PERIODS / 2).astype(int))
    k = np.concatenate([np.arange(1, c + 1) for c in counts])
    index = np.minimum(np.round(k * n_fft / np.repeat(_PERIODS, counts)).astype(int), n_fft // 2)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    return index, starts, 1 / np.sqrt(counts)


def _grid(profile: np.ndarray) -> tuple[float, float]:
    """(period in px, strength) of the most regular grid in one profile.

    A grid is an impulse train, so its spectrum has equal lines at all multiples of 1 / period.
    """
    n = profile.size
    around = cv2.blur(profile[None], (33, 1))[0]
    excess = np.log2((profile + 0.3) / (around + 0.3))
    n_fft = 1 << int(np.ceil(np.log2(n * 8)))
    spectrum = np.abs(np.fft.rfft((excess - excess.mean()) * np.hanning(n), n_fft)) * (2 / n)
    index, starts, weight = _harmonics(n_fft)
    strength = np.add.reduceat(spectrum[index], starts) * weight
    best = int(strength.argmax())
    return float(_PERIODS[best]), float(strength[best])


def mosaic_cell(profiles: tuple[np.ndarray, np.ndarray]) -> float | None:
    """Cell size in px of a mosaic or nearest-neighbour enlargement; None when there is none or the picture is tiny."""
    if min(p.size for p in profiles) < 120:
        return None
    (px, sx), (py, sy) = (_grid(p) for p in profiles)
    if abs(np.log(px / py)) > 0.05:
        return None
    period = float(np.sqrt(px * py))
    coding = min(abs(np.log(period / p)) for p in (4.0, 8.0, 16.0)) < 0.02
    return period if min(sx, sy) >= (_DCT_MOSAIC if coding else _MOSAIC) else None


def combing(luma: np.ndarray) -> float | None:
    """Share of pixels (%) that are an extreme of their column while the lines around agree, minus the same across rows.

    Interlaced fields of a moving scene look like that on lines only; texture does so in both directions.
    """
    if min(luma.shape) < 16:
        return None
    shares = []
    for axis in (0, 1):
        x = luma if axis == 0 else np.ascontiguousarray(luma.T)
        above, here, below = x[:-2], x[1:-1], x[2:]
        out = cv2.max(cv2.subtract(here, cv2.max(above, below)), cv2.subtract(cv2.min(above, below), here))
        agree = cv2.absdiff(above, below)
        comb = np.asarray(out > 9) & np.asarray(agree < np.asarray(out, dtype=np.uint8) >> 1)
        shares.append(100.0 * float(np.count_nonzero(comb)) / comb.size)
    return max(0.0, shares[0] - shares[1])
