"""Facts of single pictures, pooled over the native-resolution frames of a clip by their median."""

from __future__ import annotations

from collections import defaultdict

import cv2
import numpy as np

from mllm_avqa.evidence.blocks import block_excess, combing, gradient_profiles, mosaic_cell
from mllm_avqa.evidence.catalogue import Findings, Found
from mllm_avqa.evidence.grain import banding_index, flat_sigma, impulse_share
from mllm_avqa.evidence.sharpness import at_540p, detail_slope, edge_width
from mllm_avqa.evidence.tone import colour_cast, colourfulness, luma_facts
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
