"""Sound that does not fit the picture: early, late, drifting, or of something else.

Samples are moved, not time stamps: many readers ignore the latter. All concern the whole clip.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from data_recipes.distortions.audio_core import fit, other_sound, without_other
from data_recipes.distortions.base import Five, Kind, Material, Rng, fault
from data_recipes.distortions.references import AVTS, BT1359

# Early and late sound: each level passes one threshold of ITU-R BT.1359-1 (detectable, acceptable) or a multiple.
OFFSET: Five = (4.5, 4.0, 3.3, 2.3, 1.4)


def shifted(sound: np.ndarray, samples: int) -> np.ndarray:
    """Sound moved later by `samples` (earlier if negative), zeros where nothing is known; same length."""
    out = np.zeros_like(sound)
    n = sound.shape[1]
    by = int(np.clip(samples, -n, n))
    if by >= 0:
        out[:, by:] = sound[:, : n - by]
    else:
        out[:, :by] = sound[:, -by:]
    return out


def offset(material: Material, value: float, rng: Rng, sign: int) -> Material:
    assert material.sound is not None
    return replace(material, sound=shifted(material.sound, sign * round(value / 1000 * material.rate)))


_whole = partial(fault, modality="sync", whole_clip=True)
_whole("offset_early", levels=(45.0, 60.0, 90.0, 160.0, 400.0), unit="milliseconds", source=BT1359, ladder=OFFSET)(
    partial(offset, sign=-1)
)
_whole("offset_late", levels=(80.0, 125.0, 185.0, 320.0, 800.0), unit="milliseconds", source=BT1359, ladder=OFFSET)(
    partial(offset, sign=1)
)


def stretch(sound: np.ndarray, rate: int, drift: float) -> np.ndarray:
    """Sound that falls behind evenly, by `drift` seconds at the end (runs ahead if negative); same length, same pitch.

    Waveform-similarity overlap-add (Verhelst and Roelands, ICASSP 1993): resampling would shift the pitch of a short
    clip by several per cent, which is another fault.
    """
    channels, n = sound.shape
    hop = max(1, round(0.02 * rate))
    search = max(1, round(0.008 * rate))
    window = np.hanning(2 * hop + 1)[:-1].astype(np.float32)
    pad = 2 * hop + search
    source = np.pad(sound, ((0, 0), (pad, pad + 2 * hop + round(abs(drift) * rate))))
    mono = source.mean(0)[::4].copy()  # a quarter of the samples is enough to compare waveforms
    out = np.zeros((channels, n + 2 * hop), np.float32)
    last = None  # where the piece before was taken from
    for at in range(-hop, n, hop):
        aim = at - round(drift * rate * max(at, 0) / n) + pad
        best = aim
        if last is not None:
            follow = mono[(last + hop) // 4 :][: 2 * hop // 4]  # what would follow without a change
            field = mono[max(aim - search, 0) // 4 :][: (2 * hop + 2 * search) // 4]
            if len(field) > len(follow) and follow.any():
                match = np.correlate(field, follow, "valid")
                energy = np.convolve(field * field, np.ones(len(follow), np.float32), "valid")
                best = max(aim - search, 0) + 4 * int(np.argmax(match / np.sqrt(np.maximum(energy, 1e-12))))
        best = int(np.clip(best, 0, source.shape[1] - 2 * hop))
        piece = source[:, best : best + 2 * hop] * window
        first = max(at, 0)
        out[:, first : at + 2 * hop] += piece[:, first - at :]
        last = best
    return fit(out, n)


@_whole(
    "drift",
    levels=(20.0, 60.0, 150.0, 300.0, 600.0),
    unit="milliseconds_at_end",
    source=BT1359 + ", reached at the end",
    ladder=(4.7, 4.3, 3.6, 2.7, 1.8),
)
def drift(material: Material, value: float, rng: Rng) -> Material:
    """Starts in step and runs apart evenly, in a random direction; the level counts at the end of the clip."""
    assert material.sound is not None
    sign = int(rng.choice([-1, 1]))
    return replace(material, sound=stretch(material.sound, material.rate, sign * value / 1000))


def _not_replaceable(k: Kind, material: Material, level: int) -> str | None:
    if not k.value(level)["replaced"]:
        return None
    return without_other(k, material, f"at level {level} needs another clip with sound")


_NEGATIVES = (
    ("super-hard", 0.1, 0.0),
    ("super-hard", 0.25, 0.0),
    ("hard", 0.5, 0.0),
    ("easy", 0.0, 0.5),
    ("easy", 0.0, 1.0),
)


@_whole(
    "unrelated_sound",
    levels=tuple({"variant": v, "moved": m, "replaced": r} for v, m, r in _NEGATIVES),
    unit="",
    source=AVTS,
    needs=_not_replaceable,
    ladder=(2.6, 2.2, 1.8, 1.5, 1.2),
)
def unrelated_sound(material: Material, value: dict[str, Any], rng: Rng) -> Material:
    """The three negatives of AVTS, ordered by how far the sound is from the picture.

    Levels 1 and 2 are super-hard: the clip's own sound moved round by a tenth and a quarter of the clip, so that what
    is heard partly belongs to what was just seen. Level 3 is hard: the halves change places. Levels 4 and 5 are easy:
    sound of another clip for half of the time, and for all of it; they need `Material.other` with sound.
    """
    assert material.sound is not None
    n, rate = material.sound.shape[1], material.rate
    if not value["replaced"]:
        # at least 0.9 s, more than the largest offset, as far as the clip is long enough for that
        by = min(max(round(value["moved"] * n), round(0.9 * rate)), n // 2)
        sound = np.roll(material.sound, by, axis=1)
        seam = min(round(0.005 * rate), by, n - by)
        if seam:  # where the end meets the start
            ramp = np.linspace(0, 1, seam, dtype=np.float32)
            sound[:, by - seam : by] *= ramp[::-1]
            sound[:, by : by + seam] *= ramp
        return replace(material, sound=sound)
    assert material.other is not None
    foreign = other_sound(material.other, rate, material.sound.shape, rng)
    length = round(value["replaced"] * n)
    first = int(rng.random() * (n - length))
    weight = np.zeros(n, np.float32)
    weight[first : first + length] = 1
    fade = min(round(0.05 * rate), length // 4)
    if fade:
        ramp = np.linspace(0, 1, fade, dtype=np.float32)
        if first > 0:
            weight[first : first + fade] = ramp
        if first + length < n:
            weight[first + length - fade : first + length] = ramp[::-1]
    return replace(material, sound=material.sound * (1 - weight) + foreign * weight)
