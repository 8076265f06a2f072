"""How a file asks for its picture to be turned: the display matrix, as an array operation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Orientation:
    """A right-angle turn and/or mirroring: transpose first, then step through rows and columns with these signs."""

    transpose: bool = False
    rows: int = 1
    cols: int = 1
    degrees: int = 0  # counter-clockwise, 0, 90, 180 or 270

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Turns `image` [height, width, ...]; returns a view whenever that is possible."""
        if self.transpose:
            image = image.swapaxes(0, 1)
        return image[:: self.rows, :: self.cols]

    def size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) after the turn."""
        return (height, width) if self.transpose else (width, height)


def of_frame(frame: Any) -> Orientation:
    """Orientation that a decoded frame asks for; EXIF and HEIF reach it as a display matrix too."""
    from av.sidedata.sidedata import Type

    # FFmpeg adds kinds of side data faster than PyAV names them, and PyAV refuses a frame's whole list for one of them.
    Type._missing_ = classmethod(_unnamed)  # type: ignore[method-assign, assignment]
    matrix = frame.side_data.get(Type.DISPLAYMATRIX)
    return Orientation() if matrix is None else from_display_matrix(np.frombuffer(bytes(matrix), "<i4"))


def _unnamed(kinds: Any, value: int) -> Any:
    member = object.__new__(kinds)
    member._name_, member._value_ = f"UNNAMED_{value}", value
    return member


def from_display_matrix(values: np.ndarray) -> Orientation:
    """Orientation of FFmpeg's 3x3 display matrix (int32 [9], 16.16 fixed point, `libavutil/display.h`).

    A stored pixel (x, y) is shown at x' = a x + c y, y' = b x + d y; angles that are not a multiple of 90 degrees are
    rounded to the nearest one, because turning by them would need resampling.
    """
    a, b, _, c, d = (int(v) for v in values[:5])
    transpose = abs(b) + abs(c) > abs(a) + abs(d)
    rows, cols = (_sign(b), _sign(c)) if transpose else (_sign(d), _sign(a))
    degrees = {(True, -1): 90, (True, 1): 270, (False, -1): 180, (False, 1): 0}[transpose, rows]
    return Orientation(transpose, rows, cols, degrees if rows * cols == (-1 if transpose else 1) else degrees % 180)


def _sign(value: int) -> int:
    return -1 if value < 0 else 1
