"""Faults limited to a rectangle of the picture, and several faults on one clip."""

from __future__ import annotations

import numpy as np
import pytest

from data_recipes.distortions import REGISTRY, Material, distort
from data_recipes.distortions.base import region_pixels as pixels
from mllm_avqa.schema.errors import ConfigError

LOCAL = [k.kind for k in REGISTRY.values() if k.regional]
REGION = (0.25, 0.5, 0.5, 0.25)


def clip() -> Material:
    rng = np.random.default_rng(5)
    frames = np.repeat(rng.integers(0, 255, (6, 24, 32, 3), dtype=np.uint8), 3, axis=1).repeat(3, axis=2)
    t = np.arange(48000) / 48000
    return Material(frames, 6.0, np.stack([0.1 * np.sin(2 * np.pi * 440 * t)] * 2).astype(np.float32))


def test_kinds_of_the_picture_take_a_region_unless_they_are_faults_in_time() -> None:
    whole = {"framedrop", "jerky", "freeze", "shake", "interlace", "ghosting", "black_frames", "packet_loss"}
    whole |= {"rebuffering", "rate_switch", "bitrate_ladder", "lost_slices", "stretched"}
    assert {k.kind for k in REGISTRY.values() if k.modality == "video"} == {*LOCAL, *whole}


@pytest.mark.parametrize("kind", LOCAL)
def test_region_is_the_whole_fault_seen_through_a_rectangle(kind: str) -> None:
    source = clip()
    whole, _ = distort(source, kind, 4, 3)
    local, fault = distort(source, kind, 4, 3, region=REGION)
    inside = np.zeros((72, 96), bool)
    inside[36:54, 24:72] = True  # analytic: half of 72 lines and a quarter of them, a quarter of 96 columns and a half
    assert np.array_equal(local.frames[:, ~inside], source.frames[:, ~inside])
    assert np.array_equal(local.frames[:, inside], whole.frames[:, inside])
    assert not np.array_equal(local.frames, source.frames)
    assert local.sound is source.sound
    sides = {"region_x": 0.25, "region_y": 0.5, "region_w": 0.5, "region_h": 0.25}
    assert fault.parameters == REGISTRY[kind].parameters(4) | sides


def test_region_and_span_together() -> None:
    source = clip()
    local, fault = distort(source, "mosaic", 5, 0, (0.5, 1.0), (0, 0, 0.5, 1))
    changed = (local.frames != source.frames).any(3)
    assert not changed[:3].any()
    assert not changed[3:, :, 48:].any()
    assert changed[3:, :, :48].any((1, 2)).all()
    assert (fault.start, fault.end) == (0.5, 1.0)


@pytest.mark.parametrize(
    "region", [(0, 0, 0, 1), (-0.1, 0, 0.5, 0.5), (0.6, 0, 0.5, 0.5), (0, 0.5, 1, 0.6), (0, 0, float("nan"), 1)]
)
def test_region_outside_of_the_picture(region: tuple[float, float, float, float]) -> None:
    with pytest.raises(ConfigError, match=r"region .* not inside the picture; allowed: .*--region"):
        distort(clip(), "gblur", 1, 0, region=region)


@pytest.mark.parametrize("kind", ["white", "freeze", "packet_loss", "offset_late", "caption_speed"])
def test_kinds_without_a_place_in_the_picture_refuse_a_region(kind: str) -> None:
    with pytest.raises(ConfigError, match=rf"'{kind}' can not be limited to a region; allowed: .*gblur.*--region"):
        distort(clip(), kind, 1, 0, region=REGION)


def test_region_covers_a_pixel_at_least_and_every_pixel_it_touches() -> None:
    assert pixels((0.999, 0.999, 0.001, 0.001), 10, 20) == (slice(9, 10), slice(19, 20))
    assert pixels((0.0, 0.25, 0.33, 0.5), 8, 100) == (slice(2, 6), slice(0, 33))
    assert pixels((0.1, 0.1, 0.2, 0.8), 10, 10) == (slice(1, 9), slice(1, 3))


def test_faults_of_picture_and_sound_compose_in_any_order() -> None:
    faults = [("gnoise", 3), ("white", 2)]
    ends = []
    for order in (faults, faults[::-1]):
        material = clip()
        for kind, level in order:
            material, _ = distort(material, kind, level, 9)
        ends.append(material)
    assert np.array_equal(ends[0].frames, ends[1].frames)
    assert np.array_equal(ends[0].sound, ends[1].sound)


def test_a_second_fault_builds_on_the_first() -> None:
    once, _ = distort(clip(), "gblur", 3, 0)
    twice, _ = distort(once, "gnoise", 3, 0, region=REGION)
    assert np.array_equal(twice.frames[:, :36], once.frames[:, :36])
    assert (twice.frames != once.frames).any()
