"""One pass over a whole file: every picture as a thumbnail's statistics, all sound as levels. Memory stays small.

Thumbnails and the filling of gaps are those of the windows, so that a fact means the same here and there.
"""

from __future__ import annotations

import logging
import time
from array import array
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from mllm_avqa.media.facts import Facts
from mllm_avqa.media.opening import open_media
from mllm_avqa.media.peaks import TruePeak, oversampled_alike
from mllm_avqa.media.pictures import Pictures
from mllm_avqa.media.soundtrack import LOUDEST, Soundtrack
from mllm_avqa.media.window import DecodedWindow, Decoding
from mllm_avqa.schema.clip import Clip, DecodeSpec, Limits
from mllm_avqa.schema.whole import CLIPPED_EVERY, FLOOR, PictureSeries, Scan, SoundSeries

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.video.frame import VideoFrame

_log = logging.getLogger(__name__)
_BLACK_MEAN, _BLACK_PIXEL, _BLACK_SHARE = 20, 32, 0.02  # as in FFmpeg's blackdetect, on luma of 0-255
_FULL = 0.999  # of full scale
_AT_ONCE = 32  # pictures that are measured together
_GAP = 10.0  # seconds of a gap in the sound that are filled at a time
_AT_MOST = 1 << 62  # ticks


class _Spent(Exception):
    """The time for the pass is over."""


def scan(path: str, facts: Facts, limits: Limits) -> Scan:
    """The pass over `path`; after `limits.max_pass_seconds` it ends where it is.

    Raises MediaError subclasses for a file that can not be opened.
    """
    deadline = time.monotonic() + limits.max_pass_seconds

    def spend() -> None:
        if time.monotonic() > deadline:
            raise _Spent

    info = facts.info
    window = DecodedWindow(Fraction(0), Fraction(info.duration + 3600), low=-_AT_MOST, high=_AT_MOST)
    pictures = sound = None
    if facts.video is not None and info.video is not None:
        pictures = _PictureNumbers(facts, info.video.color_transfer, spend)
    if facts.audio is not None and info.audio is not None:
        sound = _SoundNumbers(float(window.end), info.audio.codec, spend)
    complete = True
    with open_media(path, limits) as container:
        try:
            Decoding(facts, window, limits, pictures, sound).run(container)
        except _Spent:
            complete = False
    seen = pictures.series() if pictures else None
    heard = sound.series() if sound else None
    ends = [float(seen.times[-1])] if seen else []
    ends += [heard.end] if heard else []
    return Scan(info.duration if complete else max(ends, default=0.0), complete, seen, heard)


def scan_of(clip: Clip) -> Scan:
    """The same numbers of a file that one window holds whole: nothing is decoded again.

    The sound may have one or two channels; what more of them mean is not known here.
    """
    seen = heard = None
    if clip.video is not None and len(clip.video.thumbs):
        mean, change, dark = _numbers(clip.video.thumbs, None)
        times = clip.video.thumb_pts.astype(np.float64)
        seen = PictureSeries(times, mean.astype(np.float32), change.astype(np.float32), dark, clip.video.damaged)
    if clip.audio is not None and clip.audio.samples.size:
        a = clip.audio
        levels = _Levels(a.rate, "mono" if len(a.samples) == 1 else "stereo")
        for at in range(0, a.samples.shape[1], a.rate):
            levels.add(a.samples[:, at : at + a.rate])
        heard = levels.series(a.start, a.start + a.samples.shape[1] / a.rate, a.gaps, a.damaged)
    return Scan(clip.info.duration, True, seen, heard)


def _numbers(thumbs: np.ndarray, before: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, mean absolute difference from the one before, and darkness of uint8 pictures [n, height, width].

    All at once and without wider numbers: one by one it takes several times as long.
    """
    flat = thumbs.reshape(len(thumbs), -1)
    size = flat.shape[1]
    chain = flat[:1] if before is None else before.reshape(1, -1)
    chain = np.concatenate([chain, flat])
    mean = flat.sum(axis=1, dtype=np.uint32) / size
    change = (np.maximum(chain[1:], chain[:-1]) - np.minimum(chain[1:], chain[:-1])).sum(axis=1, dtype=np.uint32) / size
    dark = mean <= _BLACK_MEAN
    dark[dark] = (flat[dark] > _BLACK_PIXEL).sum(axis=1) <= _BLACK_SHARE * size
    return mean, change, dark.astype(np.uint8)


class _PictureNumbers(Pictures):
    """Keeps numbers of a picture instead of the picture."""

    def __init__(self, facts: Facts, transfer: str | None, spend: Callable[[], None]) -> None:
        super().__init__([], DecodeSpec().thumb_side, facts.orientation, facts.shape, transfer)
        self._spend = spend
        self._times, self._mean, self._change, self._dark = array("d"), array("f"), array("f"), array("B")
        self._held: list[np.ndarray] = []
        self._before: np.ndarray | None = None

    def add(self, frame: VideoFrame, ticks: int, seconds: float) -> None:
        """Takes the next frame of the file."""
        if self._times and seconds <= self._times[-1]:
            return
        self._spend()
        self._accept(frame, first=not self._times)
        thumb = self._thumbnail(frame)
        if self._held and (len(self._held) == _AT_ONCE or self._held[0].shape != thumb.shape):
            self._measure()
        self._held.append(thumb)
        self._times.append(seconds)

    def _measure(self) -> None:
        thumbs = np.stack(self._held)
        alike = self._before is not None and self._before.shape == thumbs[0].shape
        mean, change, dark = _numbers(thumbs, self._before if alike else None)
        self._mean.extend(mean.tolist())
        self._change.extend(change.tolist())
        self._dark.extend(dark.tolist())
        self._held, self._before = [], thumbs[-1]

    def series(self) -> PictureSeries | None:
        if not self._times:
            return None
        if self._held:
            self._measure()
        return PictureSeries(
            np.frombuffer(self._times, np.float64),
            np.frombuffer(self._mean, np.float32),
            np.frombuffer(self._change, np.float32),
            np.frombuffer(self._dark, np.uint8),
            self.damaged,
        )


class _SoundNumbers(Soundtrack):
    """Keeps levels of the sound instead of the sound."""

    def __init__(self, end: float, codec: str, spend: Callable[[], None]) -> None:
        super().__init__(0.0, end, codec)
        self._spend = spend
        self._held: list[np.ndarray] = []
        self._waiting = 0
        self._last = 0  # position after the last kept sample
        self._levels: _Levels | None = None

    def add(self, frame: AudioFrame, time: float | None) -> None:
        self._spend()
        super().add(frame, time)

    def _fill(self, position: int) -> None:
        low, high = self._clamp(self._next), self._clamp(position)
        if high > low:
            self._gaps.append((low / self._rate, high / self._rate))
        piece = round(_GAP * self._rate)
        for at in range(low, high, piece):
            self._spend()
            self._keep(np.zeros((self._channels, min(piece, high - at)), np.float32), at)
        self._next = position

    def _keep(self, samples: np.ndarray, position: int) -> None:
        low, high = self._clamp(position), self._clamp(position + samples.shape[1])
        if high <= low:
            return
        if self._levels is None:
            self._first, self._levels = low, _Levels(self._rate, self._layout)
        self._held.append(samples[:, low - position : high - position])
        self._waiting += high - low
        self._last = high
        if self._waiting >= self._rate:
            self._measure()

    def _measure(self) -> None:
        assert self._levels is not None
        samples = np.concatenate(self._held, axis=1)
        self._held, self._waiting = [], 0
        if not float(np.abs(samples).max()) <= LOUDEST:  # too loud, or no number
            samples = np.clip(np.nan_to_num(samples, nan=0.0), -LOUDEST, LOUDEST)
        self._levels.add(samples)

    def series(self) -> SoundSeries | None:
        if self._levels is None:
            return None
        if self._held:
            self._measure()
        assert self._first is not None
        return self._levels.series(self._first / self._rate, self._last / self._rate, self._gaps, self.damaged)


class _Steps:
    """Cuts pieces of any length into whole steps and keeps the rest for the next one."""

    def __init__(self, step: int) -> None:
        self.step = step
        self._rest: np.ndarray | None = None

    def add(self, samples: np.ndarray) -> np.ndarray:
        """float32 [channels, steps, step]."""
        if self._rest is not None:
            samples = np.concatenate([self._rest, samples], axis=1)
        whole = samples.shape[1] // self.step
        self._rest = samples[:, whole * self.step :]
        return samples[:, : whole * self.step].reshape(len(samples), whole, self.step)


class _Levels:
    """Power, clipping, fine levels and loudness of sound that arrives in pieces."""

    def __init__(self, rate: int, layout: str) -> None:
        self._rate = rate
        self._coarse = _Steps(max(1, rate // 100) * CLIPPED_EVERY)
        self._fine = _Steps(max(1, int(rate * 0.001)))
        self._power, self._clipped, self._level = array("f"), array("f"), array("B")
        self._meter = _Meter(rate, layout)

    def add(self, samples: np.ndarray) -> None:
        """float32 [channels, n]."""
        blocks = self._coarse.add(samples)  # [channels, blocks, samples]
        small = np.square(blocks.reshape(len(blocks), -1, self._coarse.step // CLIPPED_EVERY)).mean(axis=2).max(axis=0)
        self._power.extend(small.tolist())
        full = np.abs(blocks) >= _FULL
        if full.any():
            runs = full[..., 1:-1] & full[..., :-2] & full[..., 2:]
            self._clipped.extend(runs.mean(axis=2).max(axis=0).tolist())
        else:
            self._clipped.extend([0.0] * blocks.shape[1])
        mix = self._fine.add(_mixed(samples))
        decibels = 10 * np.log10(np.square(mix[0]).mean(axis=1) + 1e-12)
        self._level.extend(np.clip(np.round(2 * (decibels - FLOOR)), 0, 255).astype(np.uint8).tolist())
        self._meter.add(samples)

    def series(self, start: float, end: float, gaps: list[tuple[float, float]], damaged: int) -> SoundSeries:
        meter = self._meter
        meter.finish()
        return SoundSeries(
            start=start,
            end=end,
            rate=self._rate,
            power=np.frombuffer(self._power, np.float32),
            power_step=self._coarse.step / CLIPPED_EVERY / self._rate,
            level=np.frombuffer(self._level, np.uint8),
            level_step=self._fine.step / self._rate,
            clipped=np.frombuffer(self._clipped, np.float32),
            momentary=np.frombuffer(meter.momentary, np.float32),
            short_term=np.frombuffer(meter.short_term, np.float32),
            integrated=meter.value("I"),
            loudness_range=meter.value("LRA"),
            true_peak=meter.true_peak(),
            gaps=gaps,
            damaged=damaged,
        )


def _mixed(samples: np.ndarray) -> np.ndarray:
    """[1, n]: the mean of the channels, or the loudest one where the mean cancels."""
    if len(samples) == 1:
        return samples
    mix = samples.mean(axis=0, keepdims=True)
    power = np.square(samples).mean(axis=1)
    quiet = float(np.square(mix).mean()) <= 0.25 * float(power.max(initial=0.0))
    return samples[int(power.argmax())][None] if quiet else mix


class _Meter:
    """EBU R128 by FFmpeg's `ebur128`, ten values a second. Nothing where FFmpeg does not know the channels."""

    def __init__(self, rate: int, layout: str) -> None:
        import av
        from av.filter import Graph

        self.momentary, self.short_term = array("f"), array("f")
        self._told: dict[str, str] = {}
        self._rate, self._layout, self._position = rate, layout, 0
        self._nothing = (av.BlockingIOError, av.EOFError)
        self._refused = (av.FFmpegError, ValueError)
        self._source: Any = None
        self._peak = TruePeak(rate) if oversampled_alike(rate) else None
        try:
            graph = Graph()
            source = graph.add_abuffer(sample_rate=rate, format="fltp", layout=layout, time_base=Fraction(1, rate))
            peak = "none" if self._peak else "true"
            meter, self._sink = graph.add("ebur128", f"metadata=1:peak={peak}"), graph.add("abuffersink")
            source.link_to(meter)
            meter.link_to(self._sink)
            graph.configure()
            self._source, self._graph = source, graph
        except self._refused as error:
            _log.debug("no EBU R128 for %s at %d Hz: %s", layout, rate, error)

    def add(self, samples: np.ndarray) -> None:
        if self._source is None or not samples.shape[1]:
            return
        from av import AudioFrame

        if self._peak is not None:
            self._peak.add(samples)
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(samples, np.float32), "fltp", self._layout)
        frame.sample_rate, frame.pts, frame.time_base = self._rate, self._position, Fraction(1, self._rate)
        self._position += samples.shape[1]
        self._source.push(frame)
        self._pull()

    def finish(self) -> None:
        if self._source is not None:
            self._source.push(None)
            self._pull()
        if self._peak is not None:
            self._peak.finish()

    def _pull(self) -> None:
        for told in self._answers():
            if "lavfi.r128.M" in told:  # a last, partial tenth has none
                self._told = told
                self.momentary.append(float(told["lavfi.r128.M"]))
                self.short_term.append(float(told["lavfi.r128.S"]))

    def _answers(self) -> Iterator[dict[str, str]]:
        while True:
            try:
                yield dict(self._sink.pull().metadata)
            except self._nothing:
                return

    def value(self, name: str) -> float | None:
        """Of the whole sound; None where nothing passed the gate."""
        if not any(m > -70 for m in self.momentary):
            return None
        return float(self._told[f"lavfi.r128.{name}"])

    def true_peak(self) -> float | None:
        told = f"{self._peak.value:.3f}" if self._peak and self._told else self._told.get("lavfi.r128.true_peak", 0.0)
        peak = float(told)
        return 20 * float(np.log10(peak)) if peak > 0 else None
