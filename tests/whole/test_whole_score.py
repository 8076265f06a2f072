"""The rule by which whole-file faults weigh in the scores: analytic values, monotone, nothing counted twice."""

from itertools import pairwise

import numpy as np
import pytest

from mllm_avqa.model.scoring import summarise
from mllm_avqa.schema.card import ViewSpec
from mllm_avqa.schema.clip import AudioInfo, MediaInfo, VideoInfo
from mllm_avqa.schema.whole import Whole
from mllm_avqa.whole import Overview
from mllm_avqa.whole.score import Looked, lowered, stands_for, weigh, weight, weights
from mllm_avqa.windows import chosen_windows

GOOD = summarise(np.array([0.6, 0.3, 0.1, 0.0, 0.0]), 0.9)
VIDEO = VideoInfo(codec="h264", width=640, height=480, pixel_format="yuv420p")
AUDIO = AudioInfo(codec="aac", sample_rate=48000, channels=2)


def seen(duration=600.0, video=(), audio=(), streams=("video", "audio")):
    info = MediaInfo(path="a", container="mp4", size_bytes=1, duration=duration)
    info.video, info.audio = (VIDEO if "video" in streams else None), (AUDIO if "audio" in streams else None)
    faults = {"video": list(video), "audio": list(audio)}
    return Overview(info, Whole(until=duration, complete=True, faults=faults), "done")


def places(over, aspects=("video", "audio", "overall")):
    return [
        Looked(s, min(s + 8.0, over.info.duration), why, frozenset(aspects))
        for s, why in chosen_windows(over.info.duration, ViewSpec(), over.whole)
    ]


def test_weight_is_monotone_from_nothing_to_all():
    shares = np.linspace(0, 1, 101)
    moved = [weight(s) for s in shares]
    assert moved[0] == 0
    assert moved[-1] == 1
    assert all(b > a for a, b in pairwise(moved))
    assert weight(0.2) == pytest.approx(0.36)  # analytic: 1 - 0.8^2


def test_a_lowered_score_falls_by_its_share():
    low = lowered(GOOD, 0.36)
    assert low.score == pytest.approx(0.64 * GOOD.score + 0.36 * 1, abs=1e-3)
    assert sum(low.probs.values()) == pytest.approx(1, abs=1e-4)
    assert lowered(GOOD, 0.0).score == GOOD.score
    assert lowered(GOOD, 1.0).score == 1.0


def test_a_file_that_is_seen_whole_is_not_moved():
    over = seen(20.0, video=[(2, 12)], audio=[(0, 15)])
    told = weigh(over, places(over))
    assert told.coverage.whole
    assert (told.stands_for, told.moved) == (None, {})
    assert told.evidence([]) == []


def test_more_fault_moves_more_and_a_clean_file_nothing():
    """Analytic: what no window shows weighs by its share of the time."""
    assert weigh(seen(), places(seen())).moved == {}
    ends = [Looked(a, a + 8, "even", frozenset(["video", "audio", "overall"])) for a in (0, 592)]
    for seconds in (0, 6, 60, 120, 240, 480):
        moved = weigh(seen(video=[(100, 100 + seconds)]), ends).moved
        assert "audio" not in moved
        assert moved.get("video", 0.0) == pytest.approx(weight(seconds / 600), abs=1e-3)
        assert moved.get("overall", 0.0) == pytest.approx(weight(seconds / 1200), abs=1e-3)


def test_what_windows_stand_for_is_not_counted_again():
    """Analytic: half of the file is black, and so is half of the time that the windows stand for."""
    over = seen(video=[(0, 300)])
    half = [Looked(0, 8, "even", frozenset(["video"])), Looked(592, 600, "even", frozenset(["video"]))]
    assert weigh(over, half).moved == {}
    blind = [Looked(400, 408, "even", frozenset(["video"])), Looked(592, 600, "even", frozenset(["video"]))]
    assert weigh(over, blind).moved["video"] == pytest.approx(weight(0.5), abs=1e-3)
    # a window without a score of the side told the model nothing of it
    mute = [Looked(0, 8, "even", frozenset(["audio"])), Looked(592, 600, "even", frozenset(["video"]))]
    assert weigh(over, mute).moved["video"] == pytest.approx(weight(0.5), abs=1e-3)


def test_windows_at_the_worst_spots_stand_for_themselves():
    over = seen(video=[(60, 132)])
    chosen = places(over)
    seconds = stands_for(chosen, 600.0)
    assert sum(seconds) == pytest.approx(600, abs=0.5)
    assert [s for s, p in zip(seconds, chosen, strict=True) if p.chosen == "worst"] == pytest.approx([8.0], abs=0.2)


def test_overall_takes_the_mean_of_the_sides_that_are_there():
    assert weights({"video": 0.5}, ["video", "audio"])["overall"] == pytest.approx(weight(0.25))
    assert weights({"video": 0.5}, ["video"])["overall"] == pytest.approx(weight(0.5))
    assert weights({}, ["video"]) == {}
