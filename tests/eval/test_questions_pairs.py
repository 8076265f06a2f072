"""Comparisons of two clips, answered from the scores of each alone."""

from __future__ import annotations

import pytest

from eval.questions.answer import pair_answer, unsupported
from eval.questions.task import TaskItem, load_task
from mllm_avqa.schema.levels import WORDS
from mllm_avqa.schema.rating import ScoreDistribution


def scores(video):
    return {"video": ScoreDistribution(score=video, std=0, level="fair", probs=dict.fromkeys(WORDS, 0.2), mass=1)}


def pair(*options, compare="better", right=0):
    return TaskItem("p", ("a", "b"), "?", options, right, aspect="video", spans=(None, None), compare=compare)


@pytest.mark.parametrize(
    ("first", "second", "compare", "options", "chosen"),
    [
        (4.0, 2.0, "better", ("The first", "The second"), 0),
        (4.0, 2.0, "worse", ("The first", "The second"), 1),
        (4.0, 2.0, "better", ("Video 2", "Video 1"), 1),
        (4.0, 3.8, "better", ("first", "second", "about the same"), 2),
        (4.0, 3.8, "better", ("first", "second"), 0),
        (4.0, 4.0, "better", ("first", "second"), None),
    ],
)
def test_pairs_by_scores(first, second, compare, options, chosen):
    row = pair_answer(pair(*options, compare=compare), load_task("av_questions"), [scores(first), scores(second)])
    assert row["chosen"] == [chosen]
    assert row["status"] == ("unanswered" if chosen is None else "answered")


def test_a_pair_without_a_score_of_its_aspect_is_unanswered():
    row = pair_answer(pair("first", "second"), load_task("av_questions"), [scores(4.0), {}])
    assert (row["status"], row["credit"], row["why"]) == ("unanswered", 0.0, "video of a clip was not scored")


def test_what_can_be_asked_of_two_clips():
    assert unsupported(pair("first", "second")) is None
    assert "options do not name" in unsupported(pair("left", "right"))
    assert "not which one" in unsupported(pair("first", "second", compare=None))
