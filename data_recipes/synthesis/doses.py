"""How bad every kind is at every level: MOS 1-5 of an otherwise perfect clip that has this one fault throughout.

    MOS(kind, level) = mean(ladder, mean of the measured columns mapped to MOS)

The ladder stands with the kind (STANDARD where only columns speak for it), the columns in doses.yaml. The ladder falls
strictly, the columns never rise, so a level up is always worse.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict

from data_recipes.distortions.base import REGISTRY, STANDARD, Five
from mllm_avqa.schema.errors import ConfigError

Measure = Literal["ms_ssim", "visqol"]


class Seen(BaseModel):
    """An entry of doses.yaml: what measures said at levels 1-5, and which of them is believed of a single clip."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    vmaf: Five | None = None
    ms_ssim: Five | None = None
    visqol: Five | None = None
    pesq: Five | None = None
    believed: Measure | None = None
    remark: str = ""


@cache
def seen() -> Mapping[str, Seen]:
    """All of doses.yaml by kind."""
    told = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
    return {kind: Seen.model_validate(entry) for kind, entry in told.items()}


# Where a measure says "bad" and how far from there "excellent" is. VMAF: Netflix/vmaf, resource/doc/models_v0.md.
# MS-SSIM: 1.0 is transparent, the strongest defocus 0.70 (set here, not published). ViSQOL audio ends at 4.75.
# Wide-band PESQ (ITU-T P.862.2): 1.04 to 4.64. The names are those under which `Distortion.parameters` holds a value.
SPANS = {"vmaf": (20, 80), "ms_ssim": (0.70, 0.30), "visqol": (1, 3.75), "pesq": (1.04, 3.6)}


def from_measure(measure: str, value: float) -> float:
    """MOS 1-5 of the value of a full-reference measure, linear between "bad" and "excellent"."""
    bad, span = SPANS[measure]
    return min(5.0, max(1.0, 1 + 4 * (value - bad) / span))


@cache
def dose(kind: str, level: int) -> float:
    """MOS 1-5 of `kind` at `level` 1..5, alone and throughout the clip. Raises ConfigError for an unknown kind."""
    if level not in (1, 2, 3, 4, 5):
        raise ConfigError(f"level {level} of {kind!r} has no dose; allowed: 1 to 5")
    ladder = REGISTRY[kind].ladder if kind in REGISTRY else None
    entry = seen().get(kind, Seen())
    columns = [from_measure(m, c[level - 1]) for m in SPANS if (c := getattr(entry, m)) is not None]
    if ladder is None and not columns:
        raise ConfigError(f"distortion kind {kind!r} has no dose: give it a ladder where it is defined")
    step = (ladder or STANDARD)[level - 1]
    return (step + sum(columns) / len(columns)) / 2 if columns else step


def measure_of(kind: str) -> Measure | None:
    """The measure believed of single clips of a kind, None where its dose stands alone (also for an unknown kind)."""
    return seen().get(kind, Seen()).believed
