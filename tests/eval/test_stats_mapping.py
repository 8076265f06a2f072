"""Mappings and errors against closed forms and an independent optimiser."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import curve_fit, minimize
from scipy.stats import t

from eval.stats import MAPPINGS, Spread, agreement, discrimination, fit, outlier_ratio, rmse, rmse_free, rmse_star

RNG = np.random.default_rng(5)
X = np.sort(RNG.uniform(-2, 3, 90))


@pytest.mark.parametrize(
    ("mapping", "curve"),
    [
        ("logistic5", lambda q: 2.5 * (1 / (1 + np.exp(-3 * (q - 0.4))) - 0.5) + 0.2 * q + 3),
        ("logistic4", lambda q: 1.2 + 3 / (1 + np.exp(-(q - 0.4) / 0.5))),
        ("cubic", lambda q: 3 + 0.3 * (q - 0.5) ** 3 + 0.1 * q),
        ("linear", lambda q: 3 - 0.4 * q),
    ],
)
def test_a_known_curve_is_found(mapping, curve):
    found = fit(X, curve(X), mapping)  # analytic
    assert found.name == mapping
    assert rmse(found.curve(X), curve(X)) < 2e-3


def test_cubic_is_the_best_of_all_rising_cubics():
    # reference run: SLSQP on the four coefficients, slope constrained on a grid
    y = 3 + np.where(X < 0, 0.2 * X, 1.0 * X) - 0.5 * np.clip(X - 1.5, 0, None) ** 2 + RNG.normal(0, 0.1, 90)
    grid = np.linspace(X.min(), X.max(), 200)
    reference = minimize(
        lambda p: ((np.polyval(p, X) - y) ** 2).mean(),
        [0.0, 0.0, 0.5, 3.0],
        method="SLSQP",
        constraints={"type": "ineq", "fun": lambda p: np.polyval(np.polyder(p), grid)},
        options={"maxiter": 500, "ftol": 1e-12},
    )
    found = fit(X, y, "cubic")
    assert rmse(found.curve(X), y) == pytest.approx(reference.fun**0.5, rel=2e-3)


def test_the_logistic_is_a_minimum():
    # reference run: MINPACK without bounds, from the parameters found, with differences for derivatives
    y = 1.2 + 3 / (1 + np.exp(-(X - 0.4) / 0.5)) + RNG.normal(0, 0.3, 90)
    found = fit(X, y, "logistic4")
    rise, floor, middle, width = found.parameters

    def curve(q, a, b, c, d):
        return b + a / (1 + np.exp(-(q - c) / d))

    better, _ = curve_fit(curve, X, y, (rise, floor, middle, width), ftol=1e-14, xtol=1e-14)
    assert found.curve(X) == pytest.approx(curve(X, rise, floor, middle, width))
    assert rmse(found.curve(X), y) == pytest.approx(rmse(curve(X, *better), y), rel=1e-9)


def test_equal_columns_are_fitted_once_and_changed_ones_again():
    x, y = X.copy(), X + RNG.normal(0, 0.3, 90)
    first = fit(x, y, "logistic4")
    before = first.curve(X)
    assert fit(X, y.tolist(), "logistic4") is first
    x[:], y[40] = 0.0, 9.0  # what is kept does not follow the caller's arrays
    assert first.curve(X) == pytest.approx(before, abs=0)
    assert fit(X, y, "logistic4") is not first


@pytest.mark.parametrize("mapping", ["logistic4", "logistic5", "cubic"])
def test_curves_rise_even_where_labels_turn_around(mapping):
    y = 3 - (X - 1.2) ** 2 * 0.3 + RNG.normal(0, 0.05, 90)
    found = fit(X, y, mapping)
    wide = np.linspace(X.min() - 2, X.max() + 2, 400)
    assert found.used == mapping
    assert np.diff(found.curve(wide)).min() >= -1e-9


@pytest.mark.parametrize("mapping", ["logistic4", "logistic5", "cubic"])
def test_falling_data_get_a_line_and_a_reason(mapping):
    got = agreement(X, -X + RNG.normal(0, 0.1, 90), groups=[str(i) for i in range(90)], mapping=mapping, draws=20)
    assert got.mapping.startswith("linear (the ")
    assert got.plcc_mapped.value < -0.9


@pytest.mark.parametrize("mapping", ["logistic4", "logistic5", "cubic"])
def test_a_handful_of_clips_gets_a_line(mapping):
    found = fit(X[:5], X[:5] ** 3, mapping)
    assert found.used == "linear"
    assert found.why.startswith("5 clips are too few")


def test_no_mapping_leaves_predictions_alone():
    assert fit(X, X**2, "none").curve(X) is X
    assert MAPPINGS[0] == "none"


def test_errors_by_hand():
    # analytic: errors 0.5, -0.2, 0, 1.0, half widths 0.3 -> beyond them 0.2, 0, 0, 0.7; two parameters of a line
    y = np.array([2.0, 3.0, 4.0, 3.0])
    z = y + np.array([0.5, -0.2, 0.0, 1.0])
    ci = np.full(4, 0.3)
    assert rmse_free(z, y, 2) == pytest.approx(((0.25 + 0.04 + 1) / 2) ** 0.5)
    assert rmse_star(z, y, ci, 2) == pytest.approx(((0.04 + 0.49) / 2) ** 0.5)
    assert outlier_ratio(z, y, ci) == 0.5
    assert rmse_free(z, y, 0) == pytest.approx(((0.25 + 0.04 + 1) / 3) ** 0.5)
    assert np.isnan(rmse_free(z, y, 4))


def test_uncertainty_of_votes_and_of_intervals():
    # analytic: t(.975, 24) = 2.0639
    got = Spread.of_votes(np.array([1.0, 1.0]), np.array([25.0, 1.0]))
    assert got.ci[0] == pytest.approx(2.0639 / 5, abs=1e-4)
    assert t.ppf(0.975, 24) == pytest.approx(2.0639, abs=1e-4)
    assert np.isnan(got.ci[1])
    assert Spread.of_ci(np.array([1.96])).error[0] == pytest.approx(1.0, abs=1e-4)


def test_pairs_without_answers_say_why():
    y = np.arange(6.0)
    assert "differ beyond" in discrimination(y, y, np.full(6, 1e-3)).threshold.note
    alike = discrimination(y, y, np.full(6, 100.0))
    assert alike.auc_ds.note == alike.auc_bw.note == "no two labels differ beyond their uncertainty"
    assert "pairs" in discrimination(y, y, np.full(6, np.nan)).auc_ds.note


def test_threshold_is_what_similar_pairs_stay_below():
    y = np.repeat([1.0, 5.0], 30)
    x = y + RNG.normal(0, 0.3, 60)
    got = discrimination(x, y, np.full(60, 0.2))
    inside = np.concatenate([np.abs(np.subtract.outer(p, p))[np.triu_indices(30, 1)] for p in (x[:30], x[30:])])
    assert got.similar == len(inside)
    assert got.threshold.value == pytest.approx(np.percentile(inside, 95), abs=1e-4)
    assert got.auc_bw.value == 1.0
