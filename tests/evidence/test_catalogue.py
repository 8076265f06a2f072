"""The contract of `measure`: same names always, no exception on odd clips, reasons where a value is missing."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from mllm_avqa.evidence import FACTS, SEVERITIES, SOURCES, describe, measure
from mllm_avqa.schema.errors import ConfigError
from tests.evidence.conftest import RATE, make_clip


def test_every_fact_has_a_source_and_a_description():
    assert set(SOURCES) == set(FACTS)
    assert all(SOURCES.values())
    for name, fact in FACTS.items():
        text = describe(name)
        assert fact.unit in text
        assert fact.source in text
        assert "\n" not in text


def test_unknown_fact_is_named():
    with pytest.raises(ConfigError, match="no signal fact is called 'sharpnes'"):
        describe("sharpnes")


def test_thresholds_are_strictly_ordered():
    for name, fact in FACTS.items():
        for thresholds, sign in ((fact.above, 1), (fact.below, -1)):
            if thresholds is not None:
                assert all(sign * (b - a) > 0 for a, b in pairwise(thresholds)), name


def test_two_sided_fact_takes_the_worse_side():
    assert FACTS["loudness"].severity(-20) == "none"
    assert FACTS["loudness"].severity(-60) == "severe"
    assert FACTS["loudness"].severity(-1) == "severe"


def test_clean_clip_is_quiet(frames, sound):
    found = measure(make_clip(frames, sound))
    assert [m.name for m in found] == list(FACTS)
    loud = {m.name: (m.value, m.severity) for m in found if m.name != "resolution" and SEVERITIES.index(m.severity) > 1}
    assert loud == {}


def test_same_clip_same_facts(frames, sound):
    first = [m.model_dump() for m in measure(make_clip(frames, sound))]
    assert first == [m.model_dump() for m in measure(make_clip(frames.copy(), sound.copy()))]


def _noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8)


def _tone(seconds: float, rate: int, channels: int = 1) -> np.ndarray:
    t = np.arange(int(seconds * rate)) / rate
    return np.tile(0.3 * np.sin(2 * np.pi * 440 * t), (channels, 1)).astype(np.float32)


ODD = {
    "one frame": (_noise(1, 64, 96, 3), None, RATE),
    "two frames": (_noise(2, 64, 96, 3), _tone(1, RATE), RATE),
    "tiny picture": (_noise(5, 2, 2, 3), _tone(1, RATE), RATE),
    "one row": (_noise(5, 1, 40, 3), None, RATE),
    "black picture": (np.zeros((30, 90, 160, 3), np.uint8), _tone(1, RATE), RATE),
    "flat grey picture": (np.full((30, 90, 160, 3), 128, np.uint8), None, RATE),
    "portrait": (_noise(12, 160, 90, 3), _tone(1, 8000), 8000),
    "0.1 s of sound": (None, _tone(0.1, RATE), RATE),
    "one sample": (None, np.ones((1, 1), np.float32), RATE),
    "no sample": (None, np.zeros((2, 0), np.float32), RATE),
    "sound in the last moment only": (None, np.eye(1, 3 * RATE + 7, 3 * RATE + 5, dtype=np.float32), RATE),
    "one silent channel": (None, np.concatenate([_tone(1, RATE), np.zeros((1, RATE), np.float32)]), RATE),
    "digital silence": (None, np.zeros((2, 4 * RATE), np.float32), RATE),
    "8 kHz mono": (None, _tone(3, 8000), 8000),
    "5.1": (None, _tone(3, RATE, 6), RATE),
    "11025 Hz": (None, _tone(3, 11025, 2), 11025),
    "192 kHz": (None, _tone(2.5, 192000), 192000),
    "sound longer than picture": (_noise(10, 64, 96, 3), _tone(4, RATE), RATE),
    "not a number": (None, np.full((1, RATE), np.nan, np.float32), RATE),
    "nothing": (None, None, RATE),
}


@pytest.mark.parametrize("case", ODD)
@pytest.mark.filterwarnings("error")
def test_odd_clips_give_every_fact_or_a_reason(case):
    frames, samples, rate = ODD[case]
    found = measure(make_clip(frames, samples, rate))
    assert [m.name for m in found] == list(FACTS)
    for m in found:
        if m.value is None:
            assert m.note, m.name
            assert m.severity == "none"
        else:
            assert math.isfinite(m.value)


def test_absent_stream_says_why(facts, sound):
    found = facts(samples=sound)
    assert found["blur"].value is None
    assert found["blur"].note == "the file has no video stream"
    assert found["loudness"].value is not None


def test_still_and_silence_have_their_own_reasons(facts, frames):
    assert facts(frames[:1])["freeze"].note == "a single picture"
    quiet = facts(samples=np.zeros((2, RATE), np.float32))
    assert quiet["loudness"].note.startswith("silence")
    assert quiet["silence"].value == 100
    assert quiet["silence"].severity == "severe"


def test_hdr_tones_are_not_judged(frames):
    clip = make_clip((frames[:30] * 0.15).astype(np.uint8))
    dark = {m.name: m for m in measure(clip)}["underexposure"]
    assert dark.severity == "severe"
    clip.info.video.color_transfer = "smpte2084"
    assert {m.name: m for m in measure(clip)}["underexposure"].severity == "none"
