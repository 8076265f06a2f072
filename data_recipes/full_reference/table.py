"""Which full-reference measure is believed for which kind of fault; every other kind keeps its dose.

Rule for a yes: the measure was seen to fall over the five levels by at least half of what its scale allows (MS-SSIM by
0.20 of the 0.30 between "transparent" and "bad", ViSQOL by 1.3 of 3.75; means over the real clips of `doses`), and
nothing of what it reacts to is something people would not mind. `remark` says what is known about the measure there.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Measure = Literal["ms_ssim", "visqol"]


class Row(NamedTuple):
    """`measure` is None where the dose stands alone."""

    measure: Measure | None
    remark: str


_SHALLOW = "MS-SSIM falls by less than 0.13 over five levels: too mild"
_COLOUR = "luma measures are nearly blind to colour"
_STUTTER = "frame-wise measures see content shift, not stutter"
_NOISE = "ViSQOL is harsh at level 1 and flat after it"
_MILD = "ViSQOL falls by less than a third of its scale: too mild"
_BLIND = "ViSQOL is blind to it"
_LEVEL = "ViSQOL normalises the level and folds the channels"
_MOVED = "a full-reference measure aligns what was moved on purpose"
_WORDS = "about words and their times, not about pixels"

BELIEVED: dict[str, Row] = {
    "h264": Row("ms_ssim", ""),
    "hevc": Row("ms_ssim", ""),
    "packet_loss": Row("ms_ssim", "the mean over frames is mild on short bursts"),
    "gblur": Row("ms_ssim", ""),
    "defocus": Row("ms_ssim", ""),
    "motion_blur": Row("ms_ssim", ""),
    "gnoise": Row("ms_ssim", "orders well; harsher on flat pictures"),
    "chroma_noise": Row("ms_ssim", "sees its share of luma alone"),
    "impulse": Row("ms_ssim", ""),
    "speckle": Row("ms_ssim", ""),
    "mosaic": Row("ms_ssim", ""),
    "overexp": Row("ms_ssim", ""),
    "underexp": Row("ms_ssim", "harsh from level 4"),
    "low_contrast": Row("ms_ssim", "harsh from level 4"),
    "high_contrast": Row("ms_ssim", ""),
    "oversharp": Row("ms_ssim", ""),
    "vp9": Row(None, _SHALLOW),
    "av1": Row(None, _SHALLOW),
    "mpeg4": Row(None, _SHALLOW),
    "mpeg2": Row(None, _SHALLOW),
    "downscale": Row(None, _SHALLOW),
    "banding": Row(None, _SHALLOW),
    "flicker": Row(None, _SHALLOW),
    "interlace": Row(None, _SHALLOW),
    "ghosting": Row(None, _SHALLOW),
    "desat": Row(None, _COLOUR),
    "oversat": Row(None, _COLOUR),
    "cast": Row(None, _COLOUR),
    "framedrop": Row(None, _STUTTER),
    "jerky": Row(None, _STUTTER),
    "freeze": Row(None, _STUTTER),
    "shake": Row(None, "frame-wise measures overstate small shifts"),
    "black_frames": Row(None, "the mean over frames hides a few black ones"),
    "brown": Row("visqol", ""),
    "clip": Row("visqol", ""),
    "softclip": Row("visqol", ""),
    "dropout": Row("visqol", "mild"),
    "chop": Row("visqol", ""),
    "aac": Row("visqol", "the same at levels 3 to 5, where the band is cut"),
    "mp3": Row("visqol", "the same at levels 3 to 5, where the band is cut"),
    "opus": Row("visqol", "mild up to level 3"),
    "lowpass": Row("visqol", "the same at levels 3 to 5"),
    "highpass": Row("visqol", "mild"),
    "loud": Row("visqol", "hears the clipping, not the loudness"),
    "clicks": Row("visqol", ""),
    "white": Row(None, _NOISE),
    "pink": Row(None, _NOISE),
    "alias": Row(None, _NOISE),
    "bits": Row(None, _NOISE),
    "bgnoise": Row(None, _MILD),
    "reverb": Row(None, _MILD),
    "echo": Row(None, _MILD),
    "telephone": Row(None, _MILD + ", and harsh at level 1"),
    "overcomp": Row(None, _MILD),
    "amr": Row(None, "five nearly equal levels by every measure"),
    "hum": Row(None, _BLIND),
    "wow": Row(None, _BLIND),
    "quiet": Row(None, _LEVEL),
    "imbalance": Row(None, _LEVEL),
    "antiphase": Row(None, _LEVEL),
    "offset_early": Row(None, _MOVED),
    "offset_late": Row(None, _MOVED),
    "drift": Row(None, _MOVED),
    "unrelated_sound": Row(None, _MOVED),
    "caption_offset": Row(None, _WORDS),
    "caption_mismatch": Row(None, _WORDS),
    "caption_speed": Row(None, _WORDS),
    "missing_caption": Row(None, _WORDS),
    "illegible_text": Row(None, "the reference has no text to compare with"),
}


def measure_of(kind: str) -> Measure | None:
    """The believed measure of a kind, or None where its dose stands alone (also for a kind not in the table)."""
    row = BELIEVED.get(kind)
    return row.measure if row is not None else None
