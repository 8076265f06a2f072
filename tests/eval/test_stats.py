"""Statistics against scipy and against values known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kendalltau, pearsonr, spearmanr

from eval.stats import (
    agreement,
    bootstrap,
    content_parts,
    kendall,
    map_logistic4,
    number,
    partial_spearman,
    pearson,
    residual_spearman,
    rmse,
    spearman,
)

RNG = np.random.default_rng(7)
X = np.round(RNG.normal(3, 1, 60), 1)  # rounding makes ties
Y = np.round(X + RNG.normal(0, 0.8, 60), 1)


def test_correlations_equal_scipy_with_ties():
    assert len(set(X)) < len(X)
    assert spearman(X, Y) == pytest.approx(spearmanr(X, Y).statistic, abs=1e-12)
    assert kendall(X, Y) == pytest.approx(kendalltau(X, Y).statistic, abs=1e-12)
    assert pearson(X, Y) == pytest.approx(pearsonr(X, Y).statistic, abs=1e-12)


def test_tau_b_of_a_small_table_by_hand():
    # analytic: of 10 pairs 6 are concordant, 3 discordant, 1 is a tie in x alone -> (6 - 3) / sqrt(9 * 10)
    x = np.array([1.0, 1.0, 2.0, 3.0, 4.0])
    y = np.array([1.0, 2.0, 4.0, 3.0, 2.5])
    assert kendall(x, y) == pytest.approx(3 / 90**0.5)


def test_logistic_mapping_recovers_a_known_curve():
    x = np.linspace(-3, 3, 80)
    y = 1.5 + 3.0 / (1 + np.exp(-(x - 0.4) / 0.6))  # analytic
    z, why = map_logistic4(x, y)
    assert why == ""
    assert np.abs(z - y).max() < 1e-3
    result = agreement(x, y, groups=[str(i) for i in range(80)], draws=50)
    assert result.mapping == "logistic4"
    assert result.plcc_mapped.value == pytest.approx(1.0, abs=1e-4)
    assert result.plcc.value < 0.99
    assert result.rmse.value < 1e-3


def test_a_wrong_direction_is_not_mapped_away():
    x = np.linspace(1, 5, 40)
    result = agreement(x, 6 - x, groups=[str(i) for i in range(40)], draws=50)
    assert result.srcc.value == result.krcc.value == -1.0
    assert result.mapping.startswith("linear (")
    assert result.plcc_mapped.value == -1.0


def test_linear_and_no_mapping():
    x = np.array([1.0, 2, 3, 4, 5, 6])
    y = 2 * x + 1
    groups = list("abcdef")
    assert agreement(x, y, groups=groups, mapping="linear").rmse.value == 0
    assert agreement(x, y, groups=groups, mapping="none").rmse.value == pytest.approx(rmse(x, y), abs=1e-4)


@pytest.mark.parametrize(
    ("x", "y", "why"),
    [
        ([3.0] * 8, list(range(8)), "predictions are constant"),
        (list(range(8)), [3.0] * 8, "labels are constant"),
        ([1.0, 2, 3, 4], [1.0, 2, 3, 4], "4 clips, at least 5 needed"),
        ([1.0, 2, 3, 4, np.nan], [1.0, 2, 3, 4, 5], "predictions are not all finite"),
        ([], [], "0 clips, at least 5 needed"),
    ],
)
def test_undefined_has_a_reason_and_no_value(x, y, why):
    result = agreement(x, y, groups=[str(i) for i in range(len(x))], total=9)
    for got in (result.srcc, result.krcc, result.plcc, result.plcc_mapped, result.rmse):
        assert got.value is None
        assert got.note == why
    assert (result.n, result.m) == (len(x), 9)


def test_partial_correlation_equals_residuals_of_ranks():
    from scipy.stats import rankdata

    control = 0.7 * Y + RNG.normal(0, 1, 60)
    ranks = [rankdata(v) for v in (X, Y, control)]
    residuals = [r - np.polyval(np.polyfit(ranks[2], r, 1), ranks[2]) for r in ranks[:2]]
    assert partial_spearman(X, Y, control) == pytest.approx(pearsonr(*residuals).statistic, abs=1e-10)


def test_partial_correlation_vanishes_when_the_control_explains_all():
    t = RNG.normal(size=4000)
    x, y = t + RNG.normal(size=4000), t + RNG.normal(size=4000)
    assert spearman(x, y) > 0.4
    assert abs(partial_spearman(x, y, t)) < 0.06


def test_residual_correlation_sees_through_one_score_copied_to_both():
    quality = RNG.normal(3, 1, 200)
    video, audio = quality + RNG.normal(0, 0.3, 200), quality + RNG.normal(0, 0.3, 200)
    halo = quality + RNG.normal(0, 1e-6, 200)
    assert spearman(halo, video) > 0.9
    assert abs(residual_spearman(halo + RNG.normal(0, 1e-6, 200), halo, audio, video)) < 0.2
    assert residual_spearman(audio, video, audio, video) == pytest.approx(1.0)


def test_interval_by_content_is_wider_than_by_clip():
    # 8 contents of 20 clips; within a content all clips move together, so there are 8 observations, not 160.
    base = np.repeat(RNG.normal(size=8), 20)
    x, y = base + RNG.normal(0, 0.05, 160), base + np.repeat(RNG.normal(size=8), 20)
    contents = content_parts([f"c{i // 20}" for i in range(160)])
    clips = content_parts([str(i) for i in range(160)])
    low, high = bootstrap(spearman, (x, y), contents, 300)
    low_clip, high_clip = bootstrap(spearman, (x, y), clips, 300)
    assert high - low > 2 * (high_clip - low_clip)


def test_interval_of_crossed_contents_is_wider_than_of_their_pairs():
    picture, sound = np.repeat(RNG.normal(size=10), 10), np.tile(RNG.normal(size=10), 10)
    x, y = picture + RNG.normal(0, 0.1, 100), picture + sound
    pairs = [f"v{i // 10}+a{i % 10}" for i in range(100)]
    crossed = bootstrap(spearman, (x, y), content_parts(pairs), 300)
    as_one = bootstrap(spearman, (x, y), [(p,) for p in pairs], 300)
    assert crossed[1] - crossed[0] > as_one[1] - as_one[0]


def test_few_contents_give_a_value_without_interval():
    got = number(spearman, X, Y, groups=["a", "b"] * 30)
    assert got.value is not None
    assert got.low is None
    assert got.note == "2 contents, at least 5 needed for an interval"
