"""Which windows of a long file are looked at: worst spots, scenes, and evenly."""

import pytest

from mllm_avqa.schema.card import ViewSpec
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.measurement import Measurement
from mllm_avqa.schema.whole import Whole
from mllm_avqa.windows import chosen_windows, looked_at

SPEC = ViewSpec()  # 8 windows of 8 s


def whole(video=(), audio=(), cuts=(), until=600.0):
    facts = [Measurement(name="scene_cuts", modality="video", value=float(len(cuts)), unit="count",
                         spans=[(t, t) for t in cuts])]  # fmt: skip
    return Whole(until=until, complete=True, facts=facts, faults={"video": list(video), "audio": list(audio)})


def starts(chosen, why):
    return [s for s, w in chosen if w == why]


def test_a_short_file_is_looked_at_whole_whatever_was_found():
    for found in (None, whole(video=[(0, 3)], cuts=[5.0])):
        assert chosen_windows(20.0, SPEC, found) == [(0.0, "all"), (8.0, "all"), (16.0, "all")]


def test_without_faults_and_cuts_all_lie_evenly():
    assert chosen_windows(600.0, SPEC, whole()) == chosen_windows(600.0, SPEC, None)
    assert {w for _, w in chosen_windows(600.0, SPEC, None)} == {"even"}


def test_worst_spots_show_the_longest_stretch_of_each_fault():
    chosen = chosen_windows(600.0, SPEC, whole(video=[(60, 132), (300, 360)], audio=[(400, 465), (20, 23)]))
    assert len(chosen) == 8
    worst = starts(chosen, "worst")
    assert len(worst) == 2
    assert 60 <= worst[0] <= 124
    assert 400 <= worst[1] <= 457
    everything = [s for s, _ in chosen_windows(600.0, looked_at(SPEC, "all", None), None)]
    assert {s for s, _ in chosen} <= set(everything)  # equal windows have equal scores, however many there are


def test_a_scene_that_nothing_else_shows_is_looked_at():
    chosen = chosen_windows(600.0, SPEC, whole(cuts=[100.0, 130.0, 590.0]))
    assert len(chosen) == 8
    assert all(130 <= s < 590 or s < 100 for s in starts(chosen, "scene"))


@pytest.mark.parametrize("most", [1, 2, 3, 5, 20, 75])
def test_as_many_windows_as_asked_for(most):
    found = whole(video=[(0, 590)], audio=[(0, 590)], cuts=[10.0, 300.0])
    chosen = chosen_windows(600.0, looked_at(SPEC, most, None), found)
    assert len(chosen) == most
    assert [s for s, _ in chosen] == sorted({s for s, _ in chosen})


def test_windows_and_hop_of_a_user():
    assert looked_at(SPEC, "auto", None) == SPEC
    assert len(chosen_windows(600.0, looked_at(SPEC, "all", 4.0), None)) == 150
    for windows, hop, flag in (
        (0, None, "--windows"),
        ("most", None, "--windows"),
        ("auto", 9.0, "--hop"),
        (1, 0.0, "--hop"),
    ):
        with pytest.raises(ConfigError, match=flag):
            looked_at(SPEC, windows, hop)
