"""Lossy audio codecs: encode and decode in memory; the result is aligned with the input to the sample."""

from __future__ import annotations

import io
from fractions import Fraction
from typing import TYPE_CHECKING, cast

import numpy as np

from data_recipes.distortions.audio_core import AudioKind, fit, resample
from data_recipes.distortions.base import register
from data_recipes.distortions.references import AMR, EARS, LIVE_SJTU, MP3, OPUS

if TYPE_CHECKING:
    from av.audio.stream import AudioStream


def round_trip(sound: np.ndarray, rate: int, codec: str, container: str, bitrate: int, delay: int = 0) -> np.ndarray:
    """Sound after a codec at `bitrate` bit/s, same shape.

    mp4 AAC, mp3 and Ogg Opus carry their encoder delay and come back aligned; `delay` samples are skipped for codecs
    that do not.
    """
    import av

    layout = "mono" if sound.shape[0] == 1 else "stereo"
    box = io.BytesIO()
    with av.open(box, "w", format=container) as out:
        stream = cast("AudioStream", out.add_stream(codec, rate=rate))
        stream.layout, stream.bit_rate = layout, bitrate
        data = np.ascontiguousarray(np.clip(sound, -1, 1), np.float32)
        frame = av.AudioFrame.from_ndarray(data, format="fltp", layout=layout)  # encode() cuts it up and converts it
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    box.seek(0)
    pieces = []
    with av.open(box, "r") as back:
        turner = av.AudioResampler(format="fltp", layout=layout, rate=rate)
        for frame in back.decode(audio=0):
            frame.pts = None
            pieces += [f.to_ndarray() for f in turner.resample(frame)]
        pieces += [f.to_ndarray() for f in turner.resample(None)]
    return fit(np.concatenate(pieces, axis=1)[:, delay:], sound.shape[1])


class _Codec(AudioKind):
    """Levels give the bit rate, the rate of the samples (0: that of the clip) and whether channels are folded."""

    unit = ""
    codec = ""
    container = ""
    rates: tuple[int, ...] = ()  # sample rates the codec takes; the nearest one not above is used
    delay = 0

    def change(self, sound: np.ndarray, rate: int, value: dict[str, float], rng: np.random.Generator) -> np.ndarray:  # type: ignore[override]
        wanted = min(value.get("rate_hz") or rate, rate)
        inner = int(max((r for r in self.rates if r <= wanted), default=min(self.rates)))
        coded = sound.mean(0, keepdims=True) if value.get("channels") == 1 else sound
        coded = resample(coded, rate, inner)
        coded = round_trip(coded, inner, self.codec, self.container, round(value["kbit_s"] * 1000), self.delay)
        return np.broadcast_to(resample(coded, inner, rate, sound.shape[1]), sound.shape)


@register
class Aac(_Codec):
    kind = "aac"
    source = f"{LIVE_SJTU}, AAC; {EARS}"
    levels = (
        {"kbit_s": 96},
        {"kbit_s": 64},
        {"kbit_s": 40},
        {"kbit_s": 24},
        {"kbit_s": 8, "rate_hz": 16000, "channels": 1},
    )
    codec, container = "aac", "mp4"
    rates = (48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)


@register
class Mp3(_Codec):
    kind = "mp3"
    source = f"{MP3}; {EARS}"
    levels = (
        {"kbit_s": 96, "rate_hz": 48000},
        {"kbit_s": 64, "rate_hz": 48000},
        {"kbit_s": 40, "rate_hz": 32000},
        {"kbit_s": 24, "rate_hz": 22050},
        {"kbit_s": 8, "rate_hz": 16000},
    )
    codec, container = "libmp3lame", "mp3"
    rates = (48000, 44100, 32000, 24000, 22050, 16000)


@register
class Opus(_Codec):
    kind = "opus"
    source = f"{OPUS}; {EARS}"
    levels = ({"kbit_s": 48}, {"kbit_s": 24}, {"kbit_s": 14}, {"kbit_s": 9}, {"kbit_s": 6})
    codec, container = "libopus", "ogg"
    rates = (48000,)

    def change(self, sound: np.ndarray, rate: int, value: dict[str, float], rng: np.random.Generator) -> np.ndarray:  # type: ignore[override]
        return super().change(sound, rate, {**value, "rate_hz": 48000}, rng)


@register
class Amr(_Codec):
    """Five nearly equal steps by every measure: recipes should use levels 1, 3 and 5."""

    kind = "amr"
    levels = ({"kbit_s": 12.2}, {"kbit_s": 10.2}, {"kbit_s": 7.4}, {"kbit_s": 5.9}, {"kbit_s": 4.75})
    source = AMR
    codec, container = "libopencore_amrnb", "amr"
    rates = (8000,)
    delay = 40

    def change(self, sound: np.ndarray, rate: int, value: dict[str, float], rng: np.random.Generator) -> np.ndarray:  # type: ignore[override]
        return super().change(sound, rate, {**value, "channels": 1}, rng)
