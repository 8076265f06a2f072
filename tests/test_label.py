"""`Label` on 1-5 and as a level distribution."""

from __future__ import annotations

import json
from itertools import product

import numpy as np
import pytest
from pydantic import ValidationError

from data_recipes.questions.facts import soft
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.levels import VALUES, Scale, mean_std, soft_target, sos_std
from mllm_avqa.schema.records import Label, read_records

SCALES = ((1.0, 5.0), (0.0, 100.0), (-2.0, 2.0), (0.0, 9.0))
SHARES = (-0.04, 0.0, 0.013, 0.25, 0.5, 0.6180339887, 0.98, 1.0, 1.03)  # of the scale; a little outside of it too
VOTES = (None, [0.0] * 5, [0, 0, 1, 2, 1], [0.0, 0.0, 0.25, 0.7, 0.05], [1, 2, 3, 4, 17])


def grid():
    for (low, high), share, std, votes, higher in product(
        SCALES, SHARES, (None, 0.0, 0.07, 0.2, 0.6), VOTES, (True, False)
    ):
        spread = None if std is None else std * (high - low)
        mean = low + share * (high - low)
        yield Label(mean=mean, std=spread, votes=votes, scale=(low, high), higher_is_better=higher)


def spelled_out(label: Label) -> tuple[float, float, list[float]]:
    """Mean within 1-5, std and level distribution from the definitions in `levels`, step by step."""
    scale = Scale(*label.scale, label.higher_is_better)
    mean = min(5.0, max(1.0, scale.to_five(label.mean)))
    std = scale.std_to_five(label.std) if label.std is not None else sos_std(mean)
    if label.votes is not None and sum(label.votes) > 0:
        worst_first = label.votes if label.higher_is_better else label.votes[::-1]
        return mean, std, [v / sum(label.votes) for v in worst_first[::-1]]
    return mean, std, soft_target(mean, std).tolist()


def test_labels_are_what_the_definitions_say_to_the_last_bit():
    labels = list(grid())
    for label in labels:
        scale = Scale(*label.scale, label.higher_is_better)
        mean, std, probs = spelled_out(label)
        assert label.mean_five == scale.to_five(label.mean)
        assert (label.score, label.std_five) == (mean, std)
        assert label.levels().tolist() == probs
        assert soft(label) == [round(p, 4) for p in probs]
    assert len(labels) == 4 * 9 * 5 * 5 * 2


def test_votes_are_used_as_they_are_best_first():
    assert Label(mean=4, votes=[0, 0, 1, 2, 1]).levels() == pytest.approx([0.25, 0.5, 0.25, 0, 0])
    worse_is_more = Label(mean=2, votes=[0, 0, 1, 2, 1], higher_is_better=False)
    assert worse_is_more.levels() == pytest.approx([0, 0, 0.25, 0.5, 0.25])


@pytest.mark.parametrize("votes", [[0, 0, 0, 0, 0, 1, 1], [1, 2], [], [1, -1, 1, 0, 0]])
def test_votes_that_are_no_five_levels_are_refused(votes, tmp_path):
    """They were dropped in silence; a study with other levels gives mean and std."""
    with pytest.raises(ValidationError, match="no counts of 5 levels"):
        Label(mean=3.0, votes=votes)
    row = {"id": "a", "media": "a.mp4", "dataset": "d", "group": "g", "labels": {"video": {"mean": 3, "votes": votes}}}
    (tmp_path / "r.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(ConfigError, match=r"r\.jsonl:1[\s\S]*5 levels"):
        list(read_records(tmp_path / "r.jsonl"))


def test_a_study_with_seven_levels_has_mean_and_std():
    seven = Label(mean=6.5, std=0.5, scale=(1, 7))
    assert seven.levels().shape == (5,)
    assert float(seven.levels() @ VALUES) == pytest.approx(seven.mean_five, abs=1e-6)


def test_mean_and_std_become_the_target_with_both():
    mean, std = mean_std(Label(mean=70, std=20, scale=(0, 100)).levels())
    assert (mean, std) == pytest.approx((3.8, 0.8), abs=1e-6)  # analytic: 1 + 4 x 0.7, 4 x 0.2


def test_a_mean_outside_its_scale_stays_there_but_is_taught_at_the_end():
    label = Label(mean=101, scale=(0, 100))
    assert label.mean_five == pytest.approx(5.04)
    assert label.score == 5.0
    assert label.levels() @ VALUES == pytest.approx(5)


def test_a_distribution_is_the_callers_own():
    label = Label(mean=3.3, std=0.7)
    label.levels()[:] = 0
    assert np.isclose(label.levels().sum(), 1.0)


def test_an_empty_scale_is_refused():
    with pytest.raises(ConfigError, match="--scale"):
        _ = Label(mean=1, scale=(1, 1)).mean_five
