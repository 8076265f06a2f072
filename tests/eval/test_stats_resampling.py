"""Draws of many at once equal draws one by one; paired comparisons; splits and segments."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from eval.stats import (
    Rival,
    bootstrap,
    compare,
    content_parts,
    content_splits,
    interval,
    over_splits,
    paired_bootstrap,
    partial_spearman,
    pearson,
    resampled,
    residual_spearman,
    rmse,
    segments,
    spearman,
    steiger,
)

RNG = np.random.default_rng(11)
Y = RNG.normal(3, 1, 120)
GOOD, BAD = Y + RNG.normal(0, 0.4, 120), Y + RNG.normal(0, 1.2, 120)
SINGLE = [f"c{i // 4}" for i in range(120)]
CROSSED = [f"v{i // 10}+a{i % 10}" for i in range(120)]


@pytest.mark.parametrize("groups", [SINGLE, CROSSED, [str(i) for i in range(120)]], ids=["grouped", "crossed", "own"])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize(
    ("statistic", "count"),
    [(spearman, 2), (pearson, 2), (rmse, 2), (partial_spearman, 3), (residual_spearman, 4)],
)
def test_weights_equal_repeated_clips(statistic, count, tied, groups):
    columns = [np.round(c, 1) if tied else c for c in (GOOD, Y, BAD, 0.5 * Y + 0.5 * GOOD)][:count]
    parts = content_parts(groups)
    fast = resampled(statistic, columns, parts, 40, seed=3)
    slow = resampled(lambda *c: statistic(*c), columns, parts, 40, seed=3)  # not in the table of fast ones
    assert fast == pytest.approx(slow, abs=1e-12, nan_ok=True)


def test_draws_that_give_no_number_are_left_out():
    x = np.r_[np.zeros(38), 1.0, 2.0]
    values = resampled(spearman, (x, Y[:40]), content_parts([str(i) for i in range(40)]), 200)
    assert 0 < np.isnan(values).sum() < 100  # neither odd clip is drawn in e^-2 of the draws
    assert not isinstance(interval(values), str)
    nearly = np.r_[np.zeros(59), 1.0]
    few = bootstrap(pearson, (nearly, Y[:60]), content_parts([f"c{i // 12}" for i in range(60)]), 200)
    assert not isinstance(few, str)
    assert interval(np.array([0.5] * 4 + [np.nan] * 6)) == "only 4 of 10 draws give a number"


def test_paired_bootstrap_tells_a_better_model_and_no_difference():
    parts = content_parts(SINGLE)
    low, high, p = paired_bootstrap(spearman, GOOD, BAD, Y, parts, 500)
    assert 0 < low < spearman(GOOD, Y) - spearman(BAD, Y) < high
    assert p == pytest.approx(2 / 501)
    assert paired_bootstrap(spearman, GOOD, GOOD.copy(), Y, parts, 200) == (0.0, 0.0, 1.0)
    assert "2 contents" in paired_bootstrap(spearman, GOOD, BAD, Y, content_parts(["a", "b"] * 60), 200)


def test_pairing_is_narrower_than_two_intervals():
    rival = GOOD + RNG.normal(0, 0.05, 120)
    low, high, _ = paired_bootstrap(spearman, GOOD, rival, Y, content_parts(SINGLE), 300)
    alone = bootstrap(spearman, (GOOD, Y), content_parts(SINGLE), 300)
    assert high - low < 0.5 * (alone[1] - alone[0])


def test_compare_corrects_over_the_pairs_of_one_statistic():
    rows = compare([Rival("g", GOOD, GOOD), Rival("b", BAD, BAD), Rival("h", GOOD + 0.1 * BAD, GOOD)], Y, SINGLE, 200)
    assert [(r.first, r.second) for r in rows[:3]] == [("g", "b"), ("g", "h"), ("b", "h")]
    srcc = [r for r in rows if r.statistic == "srcc"]
    assert min(r.p_bootstrap_holm for r in srcc) == pytest.approx(3 * min(r.p_bootstrap for r in srcc))
    assert all(r.p_steiger is None for r in rows if r.statistic == "rmse")
    constant = compare([Rival("g", GOOD, GOOD), Rival("c", np.ones(120), np.ones(120))], Y, SINGLE, 200)
    assert constant[0].difference.value is None
    assert constant[0].difference.note == "c: predictions are constant"
    assert constant[0].p_bootstrap_holm is None


def test_a_line_does_not_hide_a_wrong_direction_in_a_comparison():
    row = compare([Rival("up", Y, Y, True), Rival("down", -Y, Y, True)], Y, SINGLE, 100)[1]
    assert row.statistic == "plcc_mapped"
    assert row.difference.value == 2.0


def test_steiger_has_no_answer_for_certain_correlations():
    assert np.isnan(steiger(1.0, 0.5, 0.5, 50)).all()
    assert np.isnan(steiger(0.6, 0.5, 0.5, 3)).all()


def test_splits_keep_contents_apart():
    for groups in (SINGLE, CROSSED):
        splits = content_splits(groups, 10)
        assert len(splits) == 10
        for train, test in splits:
            contents = [{p for i in rows for p in groups[i].split("+")} for rows in (train, test)]
            assert not contents[0] & contents[1]
    assert len(content_splits(SINGLE)[0][1]) == 24  # 6 of 30 contents, 4 clips each
    assert not np.array_equal(splits[0][1], splits[1][1])


def test_median_over_splits_is_that_of_the_splits():
    got = over_splits(GOOD, Y, SINGLE, "linear")
    values = [spearman(GOOD[t], Y[t]) for _, t in content_splits(SINGLE)]
    assert (got["srcc"].low, got["srcc"].median, got["srcc"].high) == pytest.approx(
        np.quantile(values, [0.25, 0.5, 0.75]), abs=1e-4
    )
    assert got["srcc"].splits == 10
    assert "2 contents" in over_splits(GOOD, Y, ["a", "b"] * 60)["srcc"].note
    assert "constant" in over_splits(np.ones(120), Y, SINGLE)["srcc"].note


def test_segments_hold_all_clips_once_and_equal_labels_together():
    y = np.round(Y)
    found = segments(GOOD, y, SINGLE, draws=50)
    assert sum(s.n for s in found) == 120
    assert all(a.high == b.low for a, b in pairwise(found))
    exact = segments(Y, Y, SINGLE, 3, draws=50)
    assert [s.srcc.value for s in exact] == [1.0, 1.0, 1.0]
    assert [s.n for s in exact] == [40, 40, 40]


def test_a_model_that_knows_only_bad_from_good_fails_inside_segments():
    coarse = np.where(np.median(Y) < Y, 4.0, 2.0) + RNG.normal(0, 0.01, 120)
    assert spearman(coarse, Y) > 0.7
    assert max(abs(s.srcc.value) for s in segments(coarse, Y, SINGLE, 2, draws=50)) < 0.4


def test_share_weighs_clips_as_often_as_they_are_drawn():
    """Analytic: the weighted form equals the plain one on clips repeated as drawn, and nothing claimed is no number."""
    from eval.stats import share
    from eval.stats.resample import _WEIGHTED

    part, whole = np.array([1.0, 0.0, 2.0, 0.0]), np.array([2.0, 1.0, 2.0, 0.0])
    weights = np.array([[1.0, 0, 2, 1], [0, 0, 0, 3]])
    found = _WEIGHTED[share](part, whole)(weights)
    again = np.repeat(np.arange(4), weights[0].astype(int))
    assert found[0] == share(part[again], whole[again]) == 5 / 6
    assert np.isnan(found[1])
