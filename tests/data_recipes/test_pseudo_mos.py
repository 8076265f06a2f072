"""Pseudo-MOS: order, bounds, absent aspects, untouched sides. All expected numbers are analytic."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from data_recipes.distortions import get, kinds
from data_recipes.distortions.base import REGISTRY
from data_recipes.synthesis.doses import dose, seen
from data_recipes.synthesis.pseudo_mos import CLEAN, aspect_mos, fault_mos, fuse, labels, model_name, weight
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.levels import sos_std, target_kind
from mllm_avqa.schema.records import Distortion

NAMES = [k.kind for k in kinds(named=REGISTRY)]


def fault(kind: str, modality: str, level: int, start: float = 0.0, end: float = 4.0) -> Distortion:
    return Distortion(kind=kind, modality=modality, level=level, start=start, end=end)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", NAMES)
def test_every_registered_kind_gets_worse_with_the_level(kind: str) -> None:
    doses = [dose(kind, level) for level in range(1, 6)]
    assert all(a > b for a, b in pairwise(doses)), doses
    assert all(1.0 <= d < 5.0 for d in doses)  # a dose is relative to a perfect clip, not to CLEAN


@pytest.mark.parametrize("kind", kinds(named=REGISTRY), ids=lambda k: k.kind)
def test_labels_fall_with_the_level_in_the_aspect_and_overall(kind) -> None:  # type: ignore[no-untyped-def]
    present = ["video", "audio", "sync", "text"]
    by_level = [labels([fault(kind.kind, kind.modality, lv, 1.0, 3.0)], 4.0, present) for lv in range(1, 6)]
    for aspect in (kind.modality, "overall"):
        means = [x[aspect].mean for x in by_level]
        assert all(a > b for a, b in pairwise(means)), (aspect, means)


def test_every_dose_belongs_to_a_kind() -> None:
    assert set(seen()) <= set(NAMES)
    assert all(dose(kind, 1) for kind in NAMES)


def test_doses_of_frame_rate_loss_and_speech_are_those_of_published_models() -> None:
    """Published: Ou et al. 2011 with a decay of 4.5, ITU-T G.1070 with 2.5 %, Hossfeld et al. 2011, ITU-T G.107."""
    for level, fps in enumerate(get("framedrop").levels, 1):
        quality = (1 - math.exp(-4.5 * fps / 30)) / (1 - math.exp(-4.5))
        assert dose("framedrop", level) == pytest.approx(1 + 4 * quality, abs=0.1)
    for level, share in enumerate(get("lost_slices").levels, 1):
        assert dose("lost_slices", level) == pytest.approx(1 + 4 * math.exp(-share / 0.025), abs=0.1)
    for level, value in enumerate(get("rebuffering").levels, 1):
        n, seconds = value["stalls"], value["share"] * 8 / value["stalls"]
        assert dose("rebuffering", level) == pytest.approx(3.5 * math.exp(-(0.15 * seconds + 0.19) * n) + 1.5, abs=0.1)
    for level, share in enumerate(get("concealed").levels, 1):
        r = 93.2 - 95 * 100 * share / (100 * share / 2 + 25.1)
        mos = 1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6
        assert dose("concealed", level) == pytest.approx(mos, abs=0.1)
    assert dose("framedrop", 3) >= 4  # a talking head at 10 frames a second is no disaster
    assert dose("lost_slices", 4) < 2  # 5 % of packets lost is


def test_a_fault_of_the_sound_leaves_the_picture_alone() -> None:
    clean = labels([], 4.0, ["video", "audio", "sync"])
    bad = labels([fault("hum", "audio", 5)], 4.0, ["video", "audio", "sync"])
    assert bad["video"] == clean["video"]
    assert bad["sync"] == clean["sync"]
    assert bad["audio"].mean < 2 < clean["audio"].mean
    assert bad["overall"].mean < clean["overall"].mean


def test_absent_aspects_have_no_label() -> None:
    assert set(labels([], 4.0, ["video"])) == {"video", "overall"}
    assert set(labels([], 4.0, ["audio"])) == {"audio", "overall"}
    with pytest.raises(ConfigError, match="concerns audio"):
        labels([fault("hum", "audio", 1)], 4.0, ["video"])
    with pytest.raises(ConfigError, match="smell"):
        labels([], 4.0, ["smell"])
    with pytest.raises(ConfigError):
        fuse(None, None)


def test_faults_multiply_and_part_time_counts_less() -> None:
    one = aspect_mos([fault("gnoise", "video", 3)], 4.0)
    both = aspect_mos([fault("gnoise", "video", 3), fault("gblur", "video", 3)], 4.0)
    part = aspect_mos([fault("gnoise", "video", 3, 1.0, 2.0)], 4.0)
    assert both < one < part < CLEAN
    # (MOS - 1) / 4 multiplies: the product of two single faults over the clean one
    other = aspect_mos([fault("gblur", "video", 3)], 4.0)
    assert (both - 1) * (CLEAN - 1) == pytest.approx((one - 1) * (other - 1))


def test_weight_has_a_peak_floor_an_end_bonus_and_bounds() -> None:
    assert weight(0, 4, 4) == 1
    assert weight(1, 2, 4) == pytest.approx(0.3 + 0.7 * 0.25)
    assert weight(3, 4, 4) == pytest.approx(weight(1, 2, 4) + 0.1)
    with pytest.raises(ConfigError):
        weight(2, 2, 4)
    with pytest.raises(ConfigError):
        weight(3, 5, 4)


def test_fusion_ends_and_published_ceiling() -> None:
    assert fuse(1, 1) == pytest.approx(1)
    assert fuse(5, 5) == pytest.approx(5)
    # LIVE-SJTU: 8 kb/s sound caps the best picture at 45 of 100; its sound alone is rated about 1.5 here
    assert (fuse(5, 1.5) - 1) / 4 == pytest.approx(0.45, abs=0.02)
    assert fuse(4, 4, sync=1.5) < fuse(4, 4, sync=4.7) < fuse(4, 4)
    assert fuse(4, 4, text=1.5) < fuse(4, 4, text=4.7) < fuse(4, 4)


def test_ceiling_lowers_only_its_aspect_and_std_follows_sos() -> None:
    low = labels([], 4.0, ["video", "audio"], {"video": 3.4})
    assert low["video"].mean == 3.4
    assert low["audio"].mean == CLEAN
    assert low["video"].std == pytest.approx(sos_std(3.4), abs=1e-4)
    assert low["video"].pseudo
    assert target_kind(CLEAN, sos_std(CLEAN)) == "maxent"


def test_the_mode_decides_what_a_fault_is_worth() -> None:
    noisy = fault("gnoise", "video", 2).model_copy(update={"parameters": {"ms_ssim": 0.85}})
    assert fault_mos(noisy) == dose("gnoise", 2)
    assert fault_mos(noisy, "full_reference") == pytest.approx(3.0)  # half-way between "bad" 0.70 and 1
    assert fault_mos(noisy, "both") == pytest.approx((3.0 + dose("gnoise", 2)) / 2)
    blind = fault("cast", "video", 2).model_copy(update={"parameters": {"ms_ssim": 0.85}})
    unmeasured = fault("clip", "audio", 2)  # too short for ViSQOL
    for other in (blind, unmeasured):
        assert fault_mos(other, "full_reference") == fault_mos(other, "both") == dose(other.kind, 2)
    with pytest.raises(ConfigError, match="allowed: dose, full_reference, both"):
        fault_mos(noisy, "measured")  # type: ignore[arg-type]
    names = {mode: model_name(mode) for mode in ("dose", "full_reference", "both")}  # type: ignore[arg-type]
    assert len(set(names.values())) == 3
    assert all(n.startswith(f"pseudo-mos-1/{mode}: ") and "Pinson" in n for mode, n in names.items())


def test_worst_case_stays_on_the_scale() -> None:
    faults = [fault(k.kind, k.modality, 5) for k in kinds()]
    for label in labels(faults, 4.0, ["video", "audio", "sync", "text"]).values():
        assert 1.0 <= label.mean <= 1.2


def test_a_part_of_the_picture_counts_like_a_part_of_the_time() -> None:
    whole = Distortion(kind="gblur", modality="video", level=5, start=0.0, end=4.0)
    parts = [{"region_x": 0.0, "region_y": 0.0, "region_w": side, "region_h": side} for side in (1.0, 0.7, 0.2)]
    scores = [aspect_mos([whole.model_copy(update={"parameters": p})], 4.0) for p in parts]
    assert scores[0] == aspect_mos([whole], 4.0)
    assert scores[0] < scores[1] < scores[2] < CLEAN
