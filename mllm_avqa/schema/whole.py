"""What a pass over a whole file gives: the series that leave the decoder, and the facts that a rating holds of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from mllm_avqa.schema.measurement import Measurement

Span = tuple[float, float]  # seconds on the clip's clock
Chosen = Literal["all", "even", "worst", "scene"]  # why a window was looked at


@dataclass
class PictureSeries:
    """One value for every frame, in the order of presentation; luma of 0-255 of its thumbnail."""

    times: np.ndarray  # float64 seconds
    mean: np.ndarray  # float32 mean luma
    change: np.ndarray  # float32 mean absolute difference to the frame before; 0 of the first
    dark: np.ndarray  # uint8: 1 where next to no pixel is above black
    damaged: int = 0


@dataclass
class SoundSeries:
    """The sound in steps from `start` on, gaps of the timestamps filled with silence."""

    start: float  # seconds of the first sample
    end: float
    rate: int  # Hz
    power: np.ndarray  # float32 mean square of the loudest channel, of every `power_step` seconds
    power_step: float
    level: np.ndarray  # uint8 of the mix, half decibels above `FLOOR`, of every `level_step` seconds
    level_step: float
    clipped: np.ndarray  # float32 share of samples in runs at full scale, of every `power_step * CLIPPED_EVERY` s
    momentary: np.ndarray  # float32 LUFS of the 0.4 s before the end of every tenth of a second; NaN: silence
    short_term: np.ndarray  # float32 LUFS, of 3 s
    integrated: float | None = None  # LUFS
    loudness_range: float | None = None  # LU
    true_peak: float | None = None  # dBTP
    gaps: list[Span] = field(default_factory=list)
    damaged: int = 0


FLOOR = -103.5  # dB of a level of 0
CLIPPED_EVERY = 10  # steps of the power


@dataclass
class Scan:
    """What one pass over a file saw. until: seconds of it that were read; complete: that is all of it."""

    until: float
    complete: bool
    pictures: PictureSeries | None
    sound: SoundSeries | None


class Coverage(BaseModel):
    """How much of a file the model looked at."""

    model_config = ConfigDict(extra="forbid")

    duration: float  # seconds of the file, or of the span of it that was asked for
    seconds: float  # of them in a window
    share: float  # 0-1
    whole: bool  # nothing but what is too short to be judged was left out
    full_pass: Literal["done", "partly", "failed", "off", "needless", "span"]  # needless: a still


class Timeline(BaseModel):
    """Facts of every `step` seconds of a file, by name; None: not there, or not measurable."""

    model_config = ConfigDict(extra="forbid")

    step: float = 1.0
    facts: dict[str, list[float | None]] = {}


class Whole(BaseModel):
    """Facts of a whole file, by one pass over all of it: beside those of the windows, which the model was shown."""

    model_config = ConfigDict(extra="forbid")

    until: float  # seconds of the file that the pass read
    complete: bool
    facts: list[Measurement] = []  # of all that was read; spans are exact
    faults: dict[str, list[Span]] = {}  # by side: when there is nothing to be seen or heard, or it stands still
    unseen: dict[str, float] = {}  # by side: share of the time with such faults beyond what the windows stand for
    moved: dict[str, float] = {}  # by aspect: share of the probability that they move to the lowest level
    timeline: Timeline = Timeline()
