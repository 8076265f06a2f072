"""Pseudo-MOS of a synthetic clip: what its faults are worth per aspect and overall. Pure functions.

Rules, all in quality q = (MOS - 1) / 4:
- one fault throughout takes the clip to q(`fault_mos`); over a share p of the clip it counts with `weight(p)`;
- several faults of one aspect multiply, starting from the source's own ceiling;
- overall = Pinson-type fusion of picture and sound, lowered by sync and captions;
- std follows the SOS hypothesis with alpha 0.2 (`mllm_avqa.schema.levels.sos_std`).

Nothing of one aspect enters another one: a clip with bad sound keeps the label of its good picture.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, get_args

from data_recipes.synthesis.doses import dose, from_measure, measure_of
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.levels import SOS_ALPHA, sos_std
from mllm_avqa.schema.records import Distortion, Label

ASPECTS = ("video", "audio", "sync", "text")
# What one fault is worth. dose: a table by kind and level. full_reference: what the measure believed for its kind said
# of this very clip, the dose where none is believed. both: the mean of the two.
Mode = Literal["dose", "full_reference", "both"]
# An untouched clip: panels hardly ever give 5 to everything, and up to 4.75 the SOS std still has a max-entropy label.
CLEAN = 4.7
PEAK_FLOOR = 0.3  # weight of a fault that lasts no time at all: people remember the worst moment (peak-end rule)
END_BONUS = 0.1  # and what they heard last
END_SHARE = 0.1  # "last" means reaching into the last tenth of the clip

# overall = A0 + A_AUDIO * A + A_VIDEO * V + A_BOTH * A * V (form: Pinson, NTIA 2011, "Audiovisual quality
# components"). Chosen so that (1, 1) -> 1 and (5, 5) -> 5, that the picture weighs 58 % at mid scale (LIVE-SJTU:
# picture 55 %, sound 35 % of the variance),
# and that worst sound holds
# a perfect picture near 45 % of the scale (LIVE-SJTU).
A0, A_AUDIO, A_VIDEO, A_BOTH = 0.5, 0.12, 0.28, 0.10
SYNC_WEIGHT = 0.35  # largest share of overall quality that lost sync takes
TEXT_WEIGHT = 0.20  # the same for captions


def quality(mos: float) -> float:
    """MOS 1-5 -> 0-1."""
    return (mos - 1.0) / 4.0


def mos_of(q: float) -> float:
    """0-1 -> MOS 1-5."""
    return 1.0 + 4.0 * q


def weight(start: float, end: float, seconds: float) -> float:
    """How much a fault counts that lasts from start to end of a clip: grows from PEAK_FLOOR to 1 with its share.

    Raises ConfigError for a span that is empty or outside the clip.
    """
    if not (0.0 <= start < end <= seconds + 0.05):
        raise ConfigError(f"span {start}..{end} s of a fault is not inside the clip of {seconds} s")
    share = min(1.0, (end - start) / seconds)
    bonus = END_BONUS if end >= seconds * (1.0 - END_SHARE) else 0.0
    return min(1.0, PEAK_FLOOR + (1.0 - PEAK_FLOOR) * share + bonus)


def fault_weight(fault: Distortion, seconds: float) -> float:
    """`weight` of a fault's span; a part of the picture counts like a part of the time."""
    area = float(fault.parameters.get("region_w", 1.0)) * float(fault.parameters.get("region_h", 1.0))
    return weight(fault.start, fault.end, seconds) * (PEAK_FLOOR + (1.0 - PEAK_FLOOR) * area)


def model_name(mode: Mode) -> str:
    """The pseudo-MOS model in words: what made labels that nobody voted for."""
    faults = {
        "dose": "dose tables",
        "full_reference": "MS-SSIM and ViSQOL where believed, dose tables elsewhere",
        "both": "mean of dose tables and of MS-SSIM and ViSQOL where believed",
    }[mode]
    return (
        f"pseudo-mos-1/{mode}: {faults}; product over faults; overall {A0:g} + {A_AUDIO:g} A + {A_VIDEO:g} V + "
        f"{A_BOTH:g} A V (Pinson form), times sync {SYNC_WEIGHT:g} and captions {TEXT_WEIGHT:g}; std SOS {SOS_ALPHA:g}"
    )


def fault_mos(fault: Distortion, mode: Mode = "dose") -> float:
    """MOS of an otherwise perfect clip that has this fault throughout.

    The measured value is the one in `fault.parameters` under the measure's name; a fault without it has its dose.
    Raises ConfigError for another mode.
    """
    if mode not in get_args(Mode):
        raise ConfigError(f"labels {mode!r} do not exist; allowed: {', '.join(get_args(Mode))}")
    by_dose = dose(fault.kind, fault.level)
    measure = None if mode == "dose" else measure_of(fault.kind)
    value = fault.parameters.get(measure) if measure is not None else None
    if measure is None or value is None:
        return by_dose
    by_measure = from_measure(measure, float(value))
    return by_measure if mode == "full_reference" else (by_dose + by_measure) / 2


def aspect_mos(faults: Iterable[Distortion], seconds: float, ceiling: float = CLEAN, mode: Mode = "dose") -> float:
    """MOS of one aspect with these faults (all of that aspect); `ceiling` is the score of the untouched source."""
    q = quality(ceiling)
    for fault in faults:
        loss = 1.0 - quality(fault_mos(fault, mode))
        q *= 1.0 - fault_weight(fault, seconds) * loss
    return mos_of(q)


def fuse(video: float | None, audio: float | None, sync: float | None = None, text: float | None = None) -> float:
    """Overall MOS from aspect MOS; None = aspect absent. Raises ConfigError when picture and sound are both absent."""
    if video is None and audio is None:
        raise ConfigError("a clip without picture and sound has no overall quality")
    if video is not None and audio is not None:
        overall = A0 + A_AUDIO * audio + A_VIDEO * video + A_BOTH * audio * video
    else:
        overall = video if video is not None else audio  # type: ignore[assignment]
    q = quality(overall)
    for part, most in ((sync, SYNC_WEIGHT), (text, TEXT_WEIGHT)):
        if part is not None:
            q *= 1.0 - most * (1.0 - quality(part))
    return mos_of(q)


def labels(
    faults: Iterable[Distortion],
    seconds: float,
    present: Iterable[str],
    ceilings: Mapping[str, float] | None = None,
    mode: Mode = "dose",
) -> dict[str, Label]:
    """Pseudo labels of a clip.

    faults:   what was done to it; a fault of an aspect that is not present is an error.
    seconds:  length of the clip.
    present:  aspects that can be judged: "video", "audio", "sync" (sound belongs to the picture), "text" (captions).
    ceilings: MOS of the untouched source per aspect, default CLEAN.
    mode:     see `Mode`; `model_name(mode)` says it in words.

    Returns a Label (mean, std, pseudo=True) per present aspect and for "overall". An absent aspect has no entry.
    Raises ConfigError for an unknown aspect and for faults of absent aspects.
    """
    faults, present, ceilings = list(faults), set(present), ceilings or {}
    if unknown := present - set(ASPECTS):
        raise ConfigError(f"aspect {sorted(unknown)[0]!r} does not exist; allowed: {', '.join(ASPECTS)}")
    for fault in faults:
        if fault.modality not in present:
            raise ConfigError(f"fault {fault.kind!r} concerns {fault.modality}, which the clip does not have")
    means = {
        a: aspect_mos([f for f in faults if f.modality == a], seconds, ceilings.get(a, CLEAN), mode)
        for a in ASPECTS
        if a in present
    }
    means["overall"] = fuse(means.get("video"), means.get("audio"), means.get("sync"), means.get("text"))
    return {a: Label(mean=round(m, 4), std=round(sos_std(m), 4), pseudo=True) for a, m in means.items()}
