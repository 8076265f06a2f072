"""Lossy audio codecs: encode and decode in memory; the result is aligned with the input to the sample."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, cast

import numpy as np

from data_recipes.distortions.audio_core import fit, resample
from data_recipes.distortions.base import Rng, sound
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


AAC_RATES = (48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)  # Hz; the nearest one not above is used
MP3_RATES = (48000, 44100, 32000, 24000, 22050, 16000)


def coded(
    sound: np.ndarray,
    rate: int,
    value: dict[str, float],
    rng: Rng,
    *,
    codec: str,
    container: str,
    rates: Sequence[int],
    delay: int = 0,
) -> np.ndarray:
    """A level gives the bit rate, the rate of the samples (absent: the clip's) and whether channels are folded."""
    wanted = min(value.get("rate_hz") or rate, rate)
    inner = int(max((r for r in rates if r <= wanted), default=min(rates)))
    heard = sound.mean(0, keepdims=True) if value.get("channels") == 1 else sound
    heard = round_trip(resample(heard, rate, inner), inner, codec, container, round(value["kbit_s"] * 1000), delay)
    return np.broadcast_to(resample(heard, inner, rate, sound.shape[1]), sound.shape)


sound(
    "aac",
    ({"kbit_s": 96}, {"kbit_s": 64}, {"kbit_s": 40}, {"kbit_s": 24}, {"kbit_s": 8, "rate_hz": 16000, "channels": 1}),
    "",
    f"{LIVE_SJTU}, AAC; {EARS}",
    alike="narrow",
)(partial(coded, codec="aac", container="mp4", rates=AAC_RATES))

sound(
    "mp3",
    tuple({"kbit_s": k, "rate_hz": hz} for k, hz in ((96, 48000), (64, 48000), (40, 32000), (24, 22050), (8, 16000))),
    "",
    f"{MP3}; {EARS}",
    alike="narrow",
)(partial(coded, codec="libmp3lame", container="mp3", rates=MP3_RATES))


@sound("opus", tuple({"kbit_s": k} for k in (48, 24, 14, 9, 6)), "", f"{OPUS}; {EARS}", alike="narrow")
def opus(sound: np.ndarray, rate: int, value: dict[str, float], rng: Rng) -> np.ndarray:
    return coded(sound, rate, {**value, "rate_hz": 48000}, rng, codec="libopus", container="ogg", rates=(48000,))


@sound(
    "amr",
    tuple({"kbit_s": k} for k in (12.2, 10.2, 7.4, 5.9, 4.75)),
    "",
    AMR,
    alike="narrow",
    ladder=(3.2, 3.0, 2.8, 2.6, 2.4),
)
def amr(sound: np.ndarray, rate: int, value: dict[str, float], rng: Rng) -> np.ndarray:
    """Five nearly equal steps by every measure: recipes should use levels 1, 3 and 5."""
    mono = {**value, "channels": 1}
    return coded(sound, rate, mono, rng, codec="libopencore_amrnb", container="amr", rates=(8000,), delay=40)
