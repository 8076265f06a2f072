"""How bad every kind is at every level: MOS 1-5 of an otherwise perfect clip that has this one fault throughout.

The columns are means over real clips (five pictures of 4 s at 540 lines, two 48 kHz speech recordings of 8 s; ViSQOL
also over music), measured once with VMAF, MS-SSIM, ViSQOL and wide-band PESQ. Not every measure answers for every
kind: VMAF is blind to colour, both sound measures normalise the level, frame-wise measures see content shift instead
of stutter. A kind has a column here only where the measure is believed; the other kinds have a dose ladder alone.

    MOS(kind, level) = mean(ladder, mean of the believed columns mapped to MOS)

The ladder falls strictly, the columns never rise, so a level up is always worse.
"""

from __future__ import annotations

from functools import cache

from mllm_avqa.schema.errors import ConfigError

Five = tuple[float, float, float, float, float]

# Ladders (levels 1-5). STANDARD puts level k at the word that a five-grade impairment scale (ITU-R BT.500: just
# perceptible, slightly annoying ...) gives it; MILD is for faults that stay watchable at their worst.
STANDARD: Five = (4.4, 3.7, 2.9, 2.1, 1.4)
MILD: Five = (4.6, 4.2, 3.7, 3.2, 2.7)
HARSH: Five = (4.2, 3.3, 2.4, 1.7, 1.2)
FLAT: Five = (3.2, 3.0, 2.8, 2.6, 2.4)  # AMR-NB: five nearly equal codec rates

LADDERS: dict[str, Five] = {
    "desat": MILD,
    "oversat": (4.5, 3.9, 3.3, 2.6, 2.0),
    "cast": (4.5, 3.9, 3.2, 2.5, 1.9),
    "high_contrast": (4.5, 3.9, 3.2, 2.5, 1.9),
    "banding": (4.6, 4.1, 3.4, 2.6, 2.0),
    "interlace": MILD,
    "imbalance": (4.7, 4.3, 3.8, 3.2, 2.6),
    "antiphase": (4.6, 4.1, 3.5, 2.9, 2.3),
    "quiet": (4.4, 3.8, 3.0, 2.2, 1.4),
    "wow": (4.7, 4.1, 3.2, 2.2, 1.5),
    "overcomp": MILD,
    "amr": FLAT,
    # Early and late sound: each level passes one threshold of ITU-R BT.1359-1 (detectable, acceptable) or a multiple.
    "offset_early": (4.5, 4.0, 3.3, 2.3, 1.4),
    "offset_late": (4.5, 4.0, 3.3, 2.3, 1.4),
    "drift": (4.7, 4.3, 3.6, 2.7, 1.8),
    "unrelated_sound": (2.6, 2.2, 1.8, 1.5, 1.2),
    "caption_offset": (4.6, 4.1, 3.2, 2.2, 1.4),
    "caption_mismatch": (4.3, 3.6, 2.7, 1.8, 1.2),
    "illegible_text": STANDARD,
    "small_text": STANDARD,
    "faint_text": STANDARD,
    "blurred_text": STANDARD,
    "compressed_text": STANDARD,
    "caption_speed": (4.6, 4.1, 3.5, 2.7, 2.0),
    "missing_caption": (4.3, 3.6, 2.8, 1.9, 1.2),
}

VMAF: dict[str, Five] = {
    "h264": (84, 65, 43, 22, 12),
    "hevc": (83, 66, 46, 25, 8),
    "vp9": (90, 82, 74, 65, 53),
    "av1": (92, 88, 83, 76, 58),
    "mpeg4": (95, 87, 75, 63, 51),
    "mpeg2": (97, 90, 81, 70, 60),
    "packet_loss": (90, 81, 75, 59, 30),
    "downscale": (90, 85, 66, 46, 19),
    "impulse": (98, 94, 83, 68, 50),
    "speckle": (96, 89, 76, 61, 44),
    "mosaic": (80, 61, 37, 9, 2),
    "interlace": (78, 65, 57, 48, 41),
    "ghosting": (78, 64, 49, 39, 32),
}

MS_SSIM: dict[str, Five] = {
    "packet_loss": (0.98, 0.97, 0.95, 0.91, 0.76),
    "gblur": (0.99, 0.96, 0.90, 0.82, 0.73),
    "defocus": (0.99, 0.94, 0.87, 0.78, 0.70),
    "motion_blur": (0.97, 0.92, 0.86, 0.79, 0.72),
    "gnoise": (0.99, 0.97, 0.93, 0.85, 0.75),
    "chroma_noise": (0.99, 0.97, 0.93, 0.85, 0.77),
    "impulse": (0.99, 0.97, 0.91, 0.81, 0.69),
    "speckle": (0.98, 0.93, 0.87, 0.80, 0.71),
    "mosaic": (0.99, 0.95, 0.90, 0.81, 0.72),
    "overexp": (0.99, 0.96, 0.92, 0.85, 0.77),
    "underexp": (0.98, 0.93, 0.84, 0.73, 0.61),
    "low_contrast": (0.98, 0.92, 0.83, 0.71, 0.63),
    "high_contrast": (0.97, 0.91, 0.85, 0.78, 0.72),
    "oversharp": (0.99, 0.96, 0.92, 0.86, 0.78),
}

VISQOL: dict[str, Five] = {
    "brown": (4.7, 4.4, 3.6, 2.3, 2.1),
    "clip": (4.7, 4.3, 3.4, 2.7, 2.2),
    "softclip": (4.4, 3.9, 3.2, 2.4, 2.0),
    "reverb": (4.6, 4.3, 4.0, 3.7, 3.5),
    "echo": (4.5, 4.3, 4.1, 3.8, 3.6),
    "dropout": (4.7, 4.6, 4.3, 3.9, 3.4),
    "chop": (4.6, 4.2, 3.8, 3.1, 2.9),
    "aac": (4.7, 4.6, 3.1, 3.1, 3.0),
    "mp3": (4.7, 4.7, 3.4, 3.1, 3.0),
    "opus": (4.5, 4.4, 4.3, 3.9, 3.0),
    "lowpass": (4.7, 4.2, 3.2, 3.1, 3.1),
    "highpass": (4.7, 4.6, 4.1, 3.6, 3.3),
    "telephone": (3.9, 3.3, 3.1, 3.0, 2.9),
    "loud": (4.7, 4.5, 4.1, 3.5, 3.1),
    "bits": (2.6, 2.2, 2.2, 2.1, 2.0),
    "clicks": (4.3, 3.9, 3.0, 2.2, 1.6),
    "overcomp": (4.2, 3.9, 3.7, 3.6, 3.6),
}

PESQ: dict[str, Five] = {
    "white": (3.9, 2.8, 1.9, 1.2, 1.1),
    "pink": (3.8, 2.7, 1.7, 1.1, 1.0),
    "brown": (4.4, 3.8, 2.6, 1.6, 1.1),
    "bgnoise": (4.3, 3.4, 2.5, 1.7, 1.2),
    "clip": (4.4, 3.7, 2.3, 1.5, 1.2),
    "softclip": (3.8, 2.7, 1.8, 1.3, 1.1),
    "reverb": (3.4, 2.0, 1.4, 1.2, 1.1),
    "echo": (2.7, 1.8, 1.3, 1.1, 1.1),
    "dropout": (4.4, 3.4, 1.9, 1.3, 1.1),
    "aac": (4.5, 4.1, 3.0, 1.9, 1.5),
    "mp3": (4.6, 4.4, 3.9, 3.0, 1.4),
    "opus": (4.5, 4.2, 3.6, 2.9, 1.8),
    "telephone": (4.5, 4.4, 4.3, 3.9, 3.4),
    "hum": (4.2, 3.3, 2.2, 1.4, 1.1),
    "loud": (4.5, 4.1, 3.2, 2.4, 1.9),
    "alias": (4.6, 4.5, 3.0, 1.3, 1.1),
    "bits": (4.2, 2.8, 1.8, 1.3, 1.1),
    "clicks": (2.7, 1.7, 1.3, 1.1, 1.1),
    "overcomp": (4.5, 4.4, 3.9, 3.8, 3.7),
}


def _clip(value: float) -> float:
    return min(5.0, max(1.0, value))


def from_vmaf(value: float) -> float:
    """VMAF 20 is "bad", 100 "excellent", linear between (Netflix/vmaf, resource/doc/models_v0.md)."""
    return _clip(1 + 4 * (value - 20) / 80)


def from_ms_ssim(value: float) -> float:
    """1.0 is transparent; the strongest defocus, 0.70, is "bad"; linear between (set here, not published)."""
    return _clip(1 + 4 * (value - 0.70) / 0.30)


def from_visqol(value: float) -> float:
    """ViSQOL audio ends at 4.75."""
    return _clip(1 + 4 * (value - 1) / 3.75)


def from_pesq(value: float) -> float:
    """Wide-band PESQ (ITU-T P.862.2) runs from 1.04 to 4.64."""
    return _clip(1 + 4 * (value - 1.04) / 3.6)


# From the value of a full-reference measure to MOS, by the name under which `Distortion.parameters` holds it.
FROM_MEASURE = {"ms_ssim": from_ms_ssim, "visqol": from_visqol}
_COLUMNS = ((VMAF, from_vmaf), (MS_SSIM, from_ms_ssim), (VISQOL, from_visqol), (PESQ, from_pesq))

# Kinds that no measure answers for: they stand on the standard or harsh ladder alone.
DOSE_ONLY: dict[str, Five] = {
    "flicker": STANDARD,
    "framedrop": STANDARD,
    "jerky": STANDARD,
    "freeze": STANDARD,
    "shake": STANDARD,
    "black_frames": HARSH,
}


@cache
def dose(kind: str, level: int) -> float:
    """MOS 1-5 of `kind` at `level` 1..5, alone and throughout the clip. Raises ConfigError for an unknown kind."""
    if level not in (1, 2, 3, 4, 5):
        raise ConfigError(f"level {level} of {kind!r} has no dose; allowed: 1 to 5")
    ladder = LADDERS.get(kind) or DOSE_ONLY.get(kind)
    columns = [to_mos(table[kind][level - 1]) for table, to_mos in _COLUMNS if kind in table]
    if ladder is None and not columns:
        raise ConfigError(f"distortion kind {kind!r} has no dose: add it to data_recipes/synthesis/doses.py")
    step = (ladder or STANDARD)[level - 1]
    return (step + sum(columns) / len(columns)) / 2 if columns else step


def known() -> list[str]:
    """All kinds with a dose."""
    return sorted({*LADDERS, *DOSE_ONLY, *(kind for table, _ in _COLUMNS for kind in table)})
