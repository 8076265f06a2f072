"""Puts decoded sound on the timeline: float samples at the native rate, holes in the timestamps filled and listed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mllm_avqa.schema.clip import AudioTrack

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.resampler import AudioResampler

# Containers round timestamps (Matroska and FLV to 1 ms); the shortest dropout worth listing is one 20 ms packet.
TOLERANCE = 0.010  # seconds
# Containers stamp Vorbis as if all its blocks were equally long, which is off by 10 ms at every change of block size.
TOLERANCES = {"vorbis": 0.050}

_PLANES = 8  # from here on PyAV takes what follows the pointers to the channels for one more channel, and crashes
LOUDEST = 16.0  # times full scale, +24 dBFS: louder than any recording, quiet enough for every measure


class Soundtrack:
    """Collects the samples of [start, end) seconds; times given to `add` are on the same clock.

    Timestamps that miss the end of the sound so far by less than the tolerance of `codec` are taken for rounding.
    """

    def __init__(self, start: float, end: float, codec: str = "") -> None:
        self._window = (start, end)
        self._tolerance = TOLERANCES.get(codec, TOLERANCE)
        self._rate = 0
        self._channels = 0
        self._first: int | None = None  # position of the first kept sample, in samples from time 0
        self._next = 0  # position after the last sample seen
        self._pieces: list[np.ndarray] = []
        self._gaps: list[tuple[float, float]] = []
        self._resampler: AudioResampler | None = None
        self.reason = ""  # why there is no track although there were samples
        self.damaged = 0
        self.warnings: list[str] = []

    def add(self, frame: AudioFrame, time: float | None) -> None:
        """Appends one decoded frame that starts at `time` seconds (None: right after the one before)."""
        if not self._rate:
            self._rate, self._channels = frame.sample_rate, frame.layout.nb_channels
            self._layout = frame.layout.name
            self._bounds = round(self._window[0] * self._rate), round(self._window[1] * self._rate)
        if (frame.sample_rate, frame.layout.nb_channels) != (self._rate, self._channels):
            samples = self._converted(frame)
        else:
            samples = as_float(frame)
        position = self._next if time is None else round(time * self._rate)
        slack = round(self._tolerance * self._rate)
        if not self._pieces and self._next == 0:
            self._next = position
        elif position - self._next > slack:
            self._fill(position)
        elif self._next - position > slack:  # stamped before the end of what is there: what came first stays
            samples = samples[:, self._next - position :]
            self._warn("audio timestamps overlap; the later samples were dropped")
        self._keep(samples, self._next)
        self._next += samples.shape[1]

    def track(self) -> AudioTrack | None:
        """The window's sound, or None if no sample fell into it, or none that is a number."""
        if self._first is None:
            return None
        samples = self._sane(np.concatenate(self._pieces, axis=1))
        if self.reason:
            return None
        return AudioTrack(samples, self._rate, self._first / self._rate, self._gaps, self.damaged)

    def _sane(self, samples: np.ndarray) -> np.ndarray:
        """Float files may hold anything: what is no number becomes silence, what is absurdly loud is limited."""
        finite = np.isfinite(samples)
        if not finite.all():
            if not finite.any():
                self.reason = "no finite samples: the track holds no numbers"
                return samples
            self._warn(f"{np.count_nonzero(~finite)} samples of the sound are no finite numbers; taken for silence")
            samples = np.where(finite, samples, np.float32(0))
        if float(np.abs(samples).max()) > LOUDEST:
            self._warn(f"sound beyond {LOUDEST:g} times full scale is limited to that")
            samples = np.clip(samples, -LOUDEST, LOUDEST)
        return samples

    def _fill(self, position: int) -> None:
        low, high = self._clamp(self._next), self._clamp(position)
        if high > low:
            self._gaps.append((low / self._rate, high / self._rate))
            self._keep(np.zeros((self._channels, high - low), np.float32), low)
        self._next = position

    def _keep(self, samples: np.ndarray, position: int) -> None:
        low, high = self._clamp(position), self._clamp(position + samples.shape[1])
        if high > low:
            self._first = low if self._first is None else self._first
            self._pieces.append(samples[:, low - position : high - position])

    def _clamp(self, position: int) -> int:
        low, high = self._bounds
        return min(max(position, low), high)

    def _converted(self, frame: AudioFrame) -> np.ndarray:
        import av

        self._warn("audio changes its rate or channels; converted to those of its beginning")
        if self._resampler is None:
            self._resampler = av.AudioResampler(format="fltp", layout=self._layout, rate=self._rate)
        frame.pts = None
        parts = [as_float(part) for part in self._resampler.resample(frame)]
        return np.concatenate(parts, axis=1) if parts else np.zeros((self._channels, 0), np.float32)

    def _warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)


def as_float(frame: AudioFrame) -> np.ndarray:
    """float32 [channels, n]; integer formats are divided by their full scale."""
    channels = frame.layout.nb_channels
    if frame.format.is_planar and channels >= _PLANES:
        import av

        packed = av.AudioResampler(frame.format.packed, frame.layout, frame.sample_rate)
        frame.pts = None
        (frame,) = packed.resample(frame)
    if frame.format.name == "fltp":  # what most codecs give; PyAV's own way takes three times as long
        samples = np.empty((channels, frame.samples), np.float32)
        planes: Any = frame.planes
        for row, plane in zip(samples, planes, strict=True):
            row[:] = np.frombuffer(plane, np.float32, frame.samples)
        return samples
    data = frame.to_ndarray()
    if not frame.format.is_planar:
        data = data.reshape(-1, channels).T
    if data.dtype == np.uint8:
        return (data.astype(np.float32) - 128.0) / 128.0
    if data.dtype.kind == "i":
        return data.astype(np.float32) * np.float32(2.0 ** (1 - 8 * data.dtype.itemsize))
    return data.astype(np.float32, copy=False)
