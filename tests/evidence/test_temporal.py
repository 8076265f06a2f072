"""Facts over time: cadence, freezes, black frames, flicker, shake, with spans."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mllm_avqa.evidence import SEVERITIES
from tests.evidence.conftest import FPS, HEIGHT


def held(frames, fps):
    """Every picture held so that only `fps` different ones are shown per second."""
    index = (np.floor(np.arange(len(frames)) * fps / FPS + 1e-9) * FPS / fps).round().astype(int)
    return frames[np.minimum(index, len(frames) - 1)]


@pytest.mark.parametrize("fps", [12.5, 5, 2.5])
def test_true_frame_rate(facts, frames, fps):
    found = facts(held(frames, fps))
    assert found["frame_rate"].value == pytest.approx(fps, rel=0.05)
    assert found["duplicate_frames"].value == pytest.approx(100 * (1 - fps / FPS), abs=5)


def test_frame_rate_of_clean_clip_is_the_nominal_one(facts, frames):
    found = facts(frames)
    assert found["frame_rate"].value == pytest.approx(FPS)
    assert found["duplicate_frames"].value == 0


def test_freeze_span(facts, frames):
    stuck = frames.copy()
    stuck[30:68] = stuck[29]  # shown from 29 / 25 s to 68 / 25 s
    found = facts(stuck, start=10.0)
    ((a, b),) = found["freeze"].spans
    assert a == pytest.approx(10 + 29 / FPS, abs=0.15)
    assert b == pytest.approx(10 + 68 / FPS, abs=0.15)
    assert found["freeze"].value == pytest.approx(39 / FPS, abs=0.1)
    assert SEVERITIES.index(found["freeze"].severity) >= 2
    assert found["frame_rate"].value == pytest.approx(FPS, rel=0.05)  # a freeze is no low frame rate


def test_freeze_survives_recompression(facts, frames):
    stuck = frames.copy()
    stuck[30:68] = stuck[29]
    wobble = np.random.default_rng(1).integers(0, 16, stuck.shape, dtype=np.uint8) == 0
    found = facts(np.minimum(stuck, 254) + wobble.astype(np.uint8))
    assert found["freeze"].value == pytest.approx(39 / FPS, abs=0.1)


def test_motionless_clip_is_not_called_frozen(facts, frames):
    found = facts(np.repeat(frames[:1], 60, axis=0))
    assert found["freeze"].value is None
    assert "nothing moves" in found["freeze"].note
    assert found["frame_rate"].value == pytest.approx(FPS)


def test_black_spans(facts, frames):
    dark = frames.copy()
    dark[20:35] = 3
    dark[80:] = 0
    found = facts(dark)
    assert found["black"].value == pytest.approx(35)
    spans = found["black"].spans
    assert spans[0] == pytest.approx((20 / FPS, 35 / FPS), abs=0.15)
    assert spans[1] == pytest.approx((80 / FPS, 4.0), abs=0.15)
    assert found["freeze"].value == 0  # black is told as black, not as frozen


def test_dark_scene_is_not_black(facts, frames):
    assert facts((frames * 0.25).astype(np.uint8))["black"].value == 0


def test_irregular_repeats_are_judder_regular_ones_are_not(facts, frames):
    rng = np.random.default_rng(2)
    index = np.arange(len(frames))
    for i in range(1, len(frames)):
        if rng.random() < 0.4:
            index[i] = index[i - 1]
    found = facts(frames[index])
    assert SEVERITIES.index(found["judder"].severity) >= 2
    assert facts(held(frames, 12.5))["judder"].severity == "none"


def test_flicker_grows_with_amplitude(facts, frames):
    gain = np.random.default_rng(3).uniform(-1, 1, len(frames))
    values = []
    for a in (0, 0.07, 0.35):
        lit = [cv2.convertScaleAbs(f, alpha=1 + a * g) for f, g in zip(frames, gain, strict=True)]
        values.append(facts(np.stack(lit))["flicker"])
    assert values[0].value < 0.5 < values[1].value < values[2].value
    assert values[2].severity in ("strong", "severe")


def test_shake_is_the_jitter_of_the_position(facts, frames):
    rng = np.random.default_rng(4)
    values = []
    for sigma in (0.0, 3.0, 10.0):  # px at 540p
        moved = []
        for f in frames:
            dx, dy = rng.normal(0, sigma * HEIGHT / 540, 2)
            shift = np.array([[1, 0, dx], [0, 1, dy]], np.float32)
            moved.append(cv2.warpAffine(f, shift, f.shape[1::-1], borderMode=cv2.BORDER_REFLECT))
        values.append(facts(np.stack(moved))["shake"])
    assert values[0].severity == "none"
    assert values[1].value == pytest.approx(3, rel=0.3)
    assert values[2].value == pytest.approx(10, rel=0.35)
    assert values[2].severity in ("strong", "severe")
