"""Turns decoded frames into what a clip keeps: a luma thumbnail of each, native RGB of a few."""

from __future__ import annotations

from math import ceil, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from mllm_avqa.media.light import HDR, sdr_levels
from mllm_avqa.media.orientation import Orientation
from mllm_avqa.media.plan import Run
from mllm_avqa.schema.clip import Limits, VideoTrack

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

# AVColorSpace values that FFmpeg's scaler converts; it refuses frames with others (YCgCo, ICtCp, reserved numbers).
_MATRICES = frozenset({0, 1, 2, 4, 5, 6, 7, 9})
_UNSPECIFIED = 2


class Pictures:
    """Collects frames in presentation order; `ticks` is the stream's clock, `seconds` the clip's."""

    def __init__(
        self,
        runs: list[Run],
        thumb_side: int,
        orientation: Orientation,
        shape: tuple[int, int] | None = None,
        transfer: str | None = None,
        room: int = Limits().max_frame_bytes,
    ) -> None:
        from av.video.reformatter import Interpolation, VideoReformatter

        self._runs = runs
        self._left = [run.count for run in runs]
        self._thumb_side = thumb_side
        self._orientation = orientation
        self._scaler = VideoReformatter()
        # AREA averages every source pixel, so thumbnails of a still scene do not shimmer.
        self._area = int(Interpolation.AREA)
        self._frames: np.ndarray | None = None
        self._pts: list[float] = []
        self._thumbs: list[np.ndarray] = []
        self._thumb_pts: list[float] = []
        self._last: tuple[VideoFrame, float] | None = None
        self._levels = sdr_levels(transfer) if transfer in HDR else None
        self._shape = shape  # with square pixels; None: as stored
        self._stored = (0, 0)
        self._size = (0, 0)
        self._room = room  # bytes of all pictures that are kept
        self._kept_size = (0, 0)
        self.damaged = 0
        self.warnings: list[str] = []

    def add(self, frame: VideoFrame, ticks: int, seconds: float) -> None:
        """Takes the next frame of the window."""
        if self._thumb_pts and seconds <= self._thumb_pts[-1]:
            return  # a repeated timestamp: the first frame with it is the one on screen
        self._accept(frame, first=not self._thumbs)
        self._thumbs.append(self._thumbnail(frame))
        self._thumb_pts.append(seconds)
        for at, run in enumerate(self._runs):
            if self._left[at] and run.first <= ticks < run.stop:
                self._left[at] -= 1
                self._keep(frame, seconds)
                return
        self._last = (frame, seconds)

    def _accept(self, frame: VideoFrame, first: bool) -> None:
        if frame.colorspace not in _MATRICES:
            frame.colorspace = _UNSPECIFIED
            self._warn("the colour matrix is not supported; colours are read as BT.601")
        if first:
            self._stored = (frame.width, frame.height)
            self._size = self._kept_size = self._shape or self._stored
            width, height = self._size
            part = ceil(sqrt(max(1.0, 3 * width * height * max(1, sum(self._left)) / self._room)))
            if part > 1:
                self._kept_size = (max(1, width // part), max(1, height // part))
                self._warn(
                    f"the pictures of {width}x{height} are judged at {self._kept_size[0]}x{self._kept_size[1]} "
                    f"(--max-frame-bytes {self._room})"
                )
        elif (frame.width, frame.height) != self._stored:
            self._warn("the frame size changes; later frames are scaled to the first one's")
        self.damaged += bool(frame.is_corrupt)

    def track(self) -> VideoTrack | None:
        """What was collected, or None if no frame was."""
        if not self._thumbs:
            return None
        if not self._pts and self._last:  # damage swallowed every planned frame; one picture is better than none
            self._keep(*self._last)
        assert self._frames is not None
        return VideoTrack(
            frames=self._frames[: len(self._pts)],
            pts=np.asarray(self._pts, np.float64),
            thumbs=np.stack(self._thumbs),
            thumb_pts=np.asarray(self._thumb_pts, np.float64),
            damaged=self.damaged,
        )

    def _warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)

    def _thumbnail(self, frame: VideoFrame) -> np.ndarray:
        width, height = self._size
        scale = min(1.0, self._thumb_side / max(width, height))  # never enlarged
        small = self._scaler.reformat(
            frame,
            max(1, round(width * scale)),
            max(1, round(height * scale)),
            "gray",
            interpolation=self._area,
            threads=1,  # handing slices to threads costs more than it gains at this size
        )
        plane: Any = small.planes[0]
        pixels = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: small.height, : small.width]
        return self._orientation.apply(pixels)

    def _keep(self, frame: VideoFrame, seconds: float) -> None:
        form = "rgb24" if self._levels is None else "rgb48le"
        if (frame.width, frame.height) != self._kept_size:
            smaller = {"interpolation": self._area} if self._kept_size != self._size else {}
            frame = frame.reformat(width=self._kept_size[0], height=self._kept_size[1], format=form, **smaller)
        pixels = frame.to_ndarray(format=form, threads=1)
        image = self._orientation.apply(pixels if self._levels is None else self._levels[pixels])
        if self._frames is None:  # one block for all, so that stacking does not hold every picture twice
            self._frames = np.empty((max(1, sum(run.count for run in self._runs)), *image.shape), np.uint8)
        self._frames[len(self._pts)] = image
        self._pts.append(seconds)
