"""Captions or words of the scene? Told by where and how a line stands, never by what it says.

A caption is laid over the picture: level, of a few rows, centred in the lower part, and it stays where it is while the
picture behind it moves. What stands elsewhere (shop signs, number plates, pages, logos in a corner) is part of the
scene, and so is what moves along with it. Above the middle, where signs hang too, only standing still against a moving
picture makes a caption.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mllm_avqa.context.ocr import TextBox

TILT = 2.5  # degrees; lines that are drawn are level, what a camera sees rarely is
LOW, HIGH = 0.64, 0.24  # of the frame's height: a caption's middle lies below the one or above the other
CENTRE = 0.06  # of the frame's width by which a block's middle may miss the frame's
TALLEST = 0.13  # of the frame's height: larger letters are no caption
ROWS = 4  # of one caption
SIDE = 480  # longer side at which frames are compared
ALIKE = 0.7  # correlation from which two patches show the same words in the same place
SAME = 0.85  # in another place; the letters of two captions resemble each other up to 0.83
STILL = 0.9  # correlation of the surroundings from which the picture does not move
REACH = 0.2  # of the frame by which words of a scene may have moved

Box = tuple[float, float, float, float]


def told_apart(lines: Sequence[TextBox], frames: np.ndarray, at: int) -> list[TextBox]:
    """The lines read on frame `at` of frames [n, h, w, 3], each with `scene` set."""
    seen = dict.fromkeys(range(len(lines)), True)
    for block in _blocks(lines):
        boxes = [lines[n].box for n in block]
        if _is_caption(boxes, [lines[n].tilt for n in block], frames, at):
            seen |= dict.fromkeys(block, False)
    return [replace(line, scene=seen[n]) for n, line in enumerate(lines)]


def _is_caption(boxes: list[Box], tilts: list[float], frames: np.ndarray, at: int) -> bool:
    x0, y0, x1, y1 = _around(boxes)
    middle = (y0 + y1) / 2
    if max(map(abs, tilts)) > TILT or abs((x0 + x1) / 2 - 0.5) > CENTRE or HIGH < middle < LOW:
        return False
    if max(b[3] - b[1] for b in boxes) > TALLEST or len(_rows(boxes)) > ROWS:
        return False
    moved, stood = _moves(frames, at, (x0, y0, x1, y1))
    return not moved and (stood or middle >= LOW)


def _around(boxes: Sequence[Box]) -> Box:
    low, high = np.min(boxes, axis=0), np.max(boxes, axis=0)
    return float(low[0]), float(low[1]), float(high[2]), float(high[3])


def _rows(boxes: Sequence[Box]) -> list[list[int]]:
    """Boxes side by side, top to bottom."""
    rows: list[list[int]] = []
    for n in sorted(range(len(boxes)), key=lambda n: boxes[n][1] + boxes[n][3]):
        middle = (boxes[n][1] + boxes[n][3]) / 2
        if rows and middle < _around([boxes[k] for k in rows[-1]])[3] - 0.25 * (boxes[n][3] - boxes[n][1]):
            rows[-1].append(n)
        else:
            rows.append([n])
    return rows


def _blocks(lines: Sequence[TextBox]) -> list[list[int]]:
    """Lines that belong together: of one height, under one another, or side by side with a gap of a word."""
    height = [line.box[3] - line.box[1] for line in lines]
    group = list(range(len(lines)))
    for a in range(len(lines)):
        for b in range(a):
            small, large = sorted((height[a], height[b]))
            (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) = lines[a].box, lines[b].box
            across, down = max(ax0, bx0) - min(ax1, bx1), max(ay0, by0) - min(ay1, by1)  # gaps; negative: they overlap
            under = across < 0 and down < 0.8 * small
            beside = down < -0.5 * small and across < 1.5 * large
            if large < 1.7 * small and (under or beside):
                group = [group[b] if g == group[a] else g for g in group]
    return [[n for n, g in enumerate(group) if g == one] for one in sorted(set(group))]


def _moves(frames: np.ndarray, at: int, box: Box) -> tuple[bool, bool]:
    """Do the words of `box` move along with the picture, and do they stand still while it moves?"""
    import cv2

    height, width = frames.shape[1:3]
    scale = min(1.0, SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    x0, y0 = (max(0, int(v * s)) for v, s in zip(box[:2], size, strict=True))
    x1, y1 = (min(s, int(v * s) + 1) for v, s in zip(box[2:], size, strict=True))
    if len(frames) < 2 or x1 - x0 < 8 or y1 - y0 < 4:
        return False, False
    luma = [cv2.cvtColor(cv2.resize(f, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY) for f in frames]
    words, around = luma[at][y0:y1, x0:x1], np.ones(luma[at].shape, bool)
    around[y0:y1, x0:x1] = False
    reach = round(REACH * max(size))
    left, top = max(0, x0 - reach), max(0, y0 - reach)
    moved = stood = 0
    for n in (n for n in range(len(frames)) if n != at):
        found = cv2.matchTemplate(luma[n][top : y1 + reach, left : x1 + reach], words, cv2.TM_CCOEFF_NORMED)
        here = float(found[y0 - top, x0 - left])
        _, best, _, (x, y) = cv2.minMaxLoc(found)
        away = max(abs(x + left - x0), abs(y + top - y0))
        moved += best >= SAME and best > here + 0.1 and away >= 3
        stood += here >= ALIKE and _correlation(luma[at][around], luma[n][around]) < STILL
    return moved >= max(1, (len(frames) - 1) // 3), stood > 0


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / norm if norm > 0 else 1.0
