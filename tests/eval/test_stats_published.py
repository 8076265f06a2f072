"""Statistics against numbers that others published; every test names where they are printed."""

from __future__ import annotations

import numpy as np
import pytest

from eval.stats import area, discrimination, fit, holm, kendall, pearson, rmse, spearman, steiger


def test_spearman_of_the_textbook_example():
    # published: en.wikipedia.org/wiki/Spearman's_rank_correlation_coefficient, IQ and hours of television: -29/165
    iq = np.array([106, 100, 86, 101, 99, 103, 97, 113, 112, 110.0])
    hours = np.array([7, 27, 2, 50, 28, 29, 20, 12, 6, 17.0])
    assert spearman(iq, hours) == pytest.approx(-29 / 165, abs=1e-12)


def test_correlations_of_vmaf():
    # published: Netflix/vmaf python/test/perf_metric_test.py
    truth = np.array([1, 2, 3, 4.0])
    assert pearson(np.array([1, 2, 3, 5.0]), truth) == pytest.approx(0.98270762982399085, abs=1e-12)
    assert spearman(np.array([1, 2, 5, 3.0]), truth) == pytest.approx(0.8, abs=1e-12)
    assert kendall(np.array([1, 2, 5, 3.0]), truth) == pytest.approx(2 / 3, abs=1e-12)
    assert rmse(np.array([1, 2, 3, 5.0]), truth) == 0.5


@pytest.mark.parametrize(
    ("r", "n", "z", "p"),
    [
        # published: tests of the R package cocor, after Steiger (1980, p. 249, case A) and Silver et al.'s depcor
        ((0.4, 0.5, 0.1), 103, -0.8887185, None),
        ((0.3, 0.4, 0.5), 100, -1.0718, 0.2838),
    ],
)
def test_steiger(r, n, z, p):
    got = steiger(*r, n)
    assert got[0] == pytest.approx(z, abs=5e-5)
    assert p is None or got[1] == pytest.approx(p, abs=5e-5)


def test_holm_of_r():
    # published: example of R's p.adjust(c(0.01, 0.02, 0.03, 0.04), "holm")
    assert holm([0.01, 0.04, None, 0.03, 0.02]) == pytest.approx([0.04, 0.06, None, 0.06, 0.06])


def vmaf_stimuli():
    """The four stimuli of VMAF's own test: numpy's legacy generator, seed 1, ten ratings each."""
    state = np.random.RandomState(1)
    ratings = state.normal(0, 1.0, [4, 10]) + np.array([1, 2, 3, 4])[:, None]
    return ratings.mean(1), ratings.std(1, ddof=1) / 10**0.5


@pytest.mark.parametrize(
    ("predictions", "auc_ds", "auc_bw", "cc_0", "threshold"),
    [((1, 2, 3, 4), 0.9375, 1.0, 1.0, 1.0), ((3, 1, 2, 4), 0.625, 0.8125, 0.75, 2.0)],
)
def test_krasula_as_vmaf_counts(predictions, auc_ds, auc_bw, cc_0, threshold):
    # published: Netflix/vmaf python/test/perf_metric_test.py, test_auc_perf_multiple_metrics
    got = discrimination(np.array(predictions, float), *vmaf_stimuli(), pairs="vmaf")
    assert (got.auc_ds.value, got.auc_bw.value, got.cc_0.value, got.threshold.value) == pytest.approx(
        (auc_ds, auc_bw, cc_0, threshold), abs=1e-4
    )


@pytest.mark.parametrize(("predictions", "auc_ds"), [((1, 2, 3, 4), 0.875), ((3, 1, 2, 4), 0.25)])
def test_krasula_with_every_pair_once(predictions, auc_ds):
    # analytic: 4 pairs differ, 2 (neighbours) are similar; VMAF's copies of a clip with itself are not there
    got = discrimination(np.array(predictions, float), *vmaf_stimuli())
    assert (got.different, got.similar) == (4, 2)
    assert got.auc_ds.value == pytest.approx(auc_ds)


def test_area_under_the_curve_counts_ties_half():
    # analytic: of 6 pairs 4 are won and 1 is tied
    assert area(np.array([3.0, 2.0]), np.array([1.0, 2.0, 2.5])) == pytest.approx(4.5 / 6)
    assert area(np.array([]), np.array([1.0])) is None


def test_the_logistic_is_not_worse_than_that_of_vmaf():
    # published: Netflix/vmaf python/test/perf_metric_test.py, mapped RMSE 0.022753642178 of equal columns; its search
    # ends at a curve, ours sees that a line does better and says so
    x = np.arange(0, 1, 0.0001)
    found = fit(x, x, "logistic4")
    assert rmse(found.curve(x), x) <= 0.022753642178
    assert "line" in found.why
