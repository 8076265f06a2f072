"""Does a frame look like it carries text? Cheap enough to ask before an OCR engine costs half a second.

Thin bright or dark strokes (morphological top-hat and black-hat) are grouped into lines; what tells a line of letters
from foliage or windows is that its parts have one height, one baseline and one colour. The weights are a logistic
regression on lines of 42 natural frames without text and the same frames with captions drawn on (Latin and Chinese;
plain, outlined, boxed; 3-9 % of the frame's height). Cross-validated by source, nine in ten captioned frames pass and
one in six textless ones (windows of houses, patterned cloth). It decides on cost only, never on quality.
"""

from __future__ import annotations

import numpy as np

SIDE = 640  # longer side that is looked at; small captions are still 8 pixels high there
CONTRAST = 35  # least luma step of a stroke
STROKE = 9  # pixels; wider strokes are not letters at this size
GAP = 9  # pixels between letters that still make one line
THRESHOLD = 0.3
# log letters, parts per letter, spread of heights, of baselines, of stroke luma, log contrast, line height per letter
# height, filled share, log letter height; then the constant.
_WEIGHTS = np.array([2.45, 3.38, -3.97, -2.92, -5.64, 4.38, 0.79, 1.82, 0.41])
_BIAS = -25.1
NO_LINE = -20.0  # score of a frame with no candidate at all


def text_score(frame: np.ndarray) -> float:
    """Log-odds of the most text-like line on `frame`, uint8 [height, width, 3] RGB; above `THRESHOLD` look closer."""
    import cv2

    height, width = frame.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        frame = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    luma = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY)
    kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (STROKE, STROKE))
    best = NO_LINE
    for operation in (cv2.MORPH_TOPHAT, cv2.MORPH_BLACKHAT):
        lines = _lines(luma, cv2.morphologyEx(luma, operation, kernel))
        if len(lines):
            best = max(best, float((lines @ _WEIGHTS).max() + _BIAS))
    return best


def _spread(groups: np.ndarray, values: np.ndarray, weights: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Weighted mean and standard deviation of `values` in each of `n` groups."""
    total = np.maximum(np.bincount(groups, weights, n), 1e-9)
    mean = np.bincount(groups, weights * values, n) / total
    square = np.bincount(groups, weights * values**2, n) / total
    return mean, np.sqrt(np.maximum(square - mean**2, 0))


def _lines(luma: np.ndarray, strokes: np.ndarray) -> np.ndarray:
    """Features [lines, 9] of groups of stroke parts that lie side by side; luma, strokes: uint8 [h, w]."""
    import cv2

    mask = (strokes > CONTRAST).astype(np.uint8)
    n, parts, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4, ltype=cv2.CV_32S)
    w, h = stats[:, cv2.CC_STAT_WIDTH].astype(float), stats[:, cv2.CC_STAT_HEIGHT].astype(float)
    usable = (h >= 5) & (h <= 60) & (w <= 8 * h) & (stats[:, cv2.CC_STAT_AREA] >= 6)
    usable[0] = False  # the background
    if not usable.any():
        return np.empty((0, len(_WEIGHTS)))
    mask = usable[parts].astype(np.uint8)
    closed = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((1, GAP), np.uint8))
    m, lines, areas, _ = cv2.connectedComponentsWithStats(closed, connectivity=8, ltype=cv2.CV_32S)
    ys, xs = np.nonzero(mask)
    pixel_line = lines[ys, xs]
    line_of_part = np.zeros(n, np.int64)
    line_of_part[parts[ys, xs]] = pixel_line
    ids = np.flatnonzero(usable)
    group, h = line_of_part[ids], h[ids]
    letters = np.maximum(1.0, np.round(w[ids] / (0.75 * h)))  # a part may be several letters that touch
    count = np.bincount(group, letters, m)
    number = np.bincount(group, minlength=m)
    size, size_spread = _spread(group, h, letters, m)
    _, base_spread = _spread(group, stats[ids, cv2.CC_STAT_TOP] + h, letters, m)
    ones = np.ones(len(ys))
    _, luma_spread = _spread(pixel_line, luma[ys, xs].astype(float), ones, m)
    contrast, _ = _spread(pixel_line, strokes[ys, xs].astype(float), ones, m)
    width, height = areas[:, cv2.CC_STAT_WIDTH], areas[:, cv2.CC_STAT_HEIGHT]
    keep = np.flatnonzero((count >= 4) & (number >= 2) & (width >= 2.5 * height))
    size, contrast = size[keep], contrast[keep]
    return np.stack(
        [
            np.log(np.minimum(count[keep], 16)),
            np.minimum(number[keep] / count[keep], 1.5),
            size_spread[keep] / size,
            base_spread[keep] / size,
            luma_spread[keep] / contrast,
            np.log(contrast),
            height[keep] / size,
            np.bincount(pixel_line, minlength=m)[keep] / (width[keep] * height[keep]),
            np.log(size),
        ],
        axis=1,
    )
