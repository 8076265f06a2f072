"""Shapley values of games whose values are known, and their estimates."""

from __future__ import annotations

import numpy as np
import pytest

from mllm_avqa.model.shapley import Game


def played(game, value):
    """shares() of a game whose result is value(coalition)."""
    return game.shares({c: np.array(value(c), float) for c in game.coalitions()})


def test_glove_game():
    """Analytic (Shapley 1953): two left gloves and a right one, a pair is worth 1: the shares are 1/6, 1/6, 4/6."""
    shares, errors = played(Game.plan(("l1", "l2", "r"), 8), lambda c: float("r" in c and len(c) > 1))
    assert shares == pytest.approx([1 / 6, 1 / 6, 4 / 6])
    assert errors is None


def test_airport_game():
    """Published: Littlechild and Owen (1973); runways of cost 1, 2, 4 cost 1/3, 1/3 + 1/2, 1/3 + 1/2 + 2."""
    cost = {"a": 1, "b": 2, "c": 4}
    shares, _ = played(Game(("a", "b", "c")), lambda c: max((cost[p] for p in c), default=0))
    assert shares == pytest.approx([1 / 3, 5 / 6, 17 / 6])


def test_null_and_equal_players_and_several_results_at_once():
    shares, _ = played(Game(("a", "b", "idle")), lambda c: [5 + 2.0 * len(c - {"idle"}), float({"a", "b"} <= c)])
    assert shares == pytest.approx(np.array([[2, 0.5], [2, 0.5], [0, 0]]))


def test_budget_decides_what_is_exact():
    players = tuple("abcdefghi")
    assert Game.plan(players[:8], 256).orders is None
    nine = Game.plan(players, 256)
    assert len(nine.orders) == 256 // 9 and len(nine.coalitions()) <= 256
    assert all(sorted(o) == list(players) for o in nine.orders)
    assert Game.plan(players, 256) == nine != Game.plan(players, 256, seed=1)
    assert len(Game.plan(players, 4).orders) == 2  # one order would have no error
    assert Game.plan((), 4).coalitions() == [frozenset()]


def game_of(seed, players):
    """A game with pairs that help or hinder each other."""
    n = len(players)
    pair = np.random.default_rng(seed).normal(size=(n, n))

    def value(c):
        inside = np.array([p in c for p in players], float)
        return 3 + inside @ pair @ inside

    return value


def test_estimates_add_up_and_are_as_far_off_as_they_say():
    players = tuple("abcdef")
    value = game_of(0, players)
    exact, _ = played(Game(players), value)
    z = []
    for seed in range(40):
        shares, errors = played(Game.plan(players, 60, seed), value)  # 10 orders
        assert shares.sum() == pytest.approx(value(frozenset(players)) - value(frozenset()), abs=1e-9)
        z.append((shares - exact) / errors)
    # analytic: Student's t with 9 degrees of freedom has a standard deviation of sqrt(9 / 7) = 1.13
    assert 0.9 < np.std(z) < 1.4
    assert abs(np.mean(z)) < 0.3
