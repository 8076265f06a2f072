"""Shapley values of a game: how the result of all players together is fairly shared among them.

Source: Shapley, "A value for n-person games", Contributions to the Theory of Games II (1953). Where the 2^n coalitions
cost too much: Castro, Gomez, Tejada, "Polynomial calculation of the Shapley value based on sampling", Computers &
Operations Research 36 (2009), the mean over random orders of joining, with its standard error.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

Coalition = frozenset[str]
LEAST_ORDERS = 2  # one has no standard error


@dataclass(frozen=True)
class Game:
    """Players, and the orders they join in when not all coalitions are asked. Results are arrays of any one shape."""

    players: tuple[str, ...]
    orders: tuple[tuple[str, ...], ...] | None = None  # None: exact

    @classmethod
    def plan(cls, players: Sequence[str], budget: int, seed: int = 0) -> Game:
        """Exact if that takes at most `budget` coalitions, else as many seeded orders as it pays for, two at least."""
        n = len(players)
        if 2**n <= budget:
            return cls(tuple(players))
        rng = np.random.default_rng(seed)
        count = max(LEAST_ORDERS, budget // n)
        return cls(tuple(players), tuple(tuple(players[i] for i in rng.permutation(n)) for _ in range(count)))

    def coalitions(self) -> list[Coalition]:
        """The sets whose results `shares` needs, each once; the empty and the full one are among them."""
        if self.orders is None:
            return [frozenset(c) for k in range(len(self.players) + 1) for c in combinations(self.players, k)]
        return list(dict.fromkeys(frozenset(o[:k]) for o in self.orders for k in range(len(o) + 1)))

    def shares(self, results: Mapping[Coalition, np.ndarray]) -> tuple[np.ndarray, np.ndarray | None]:
        """Results by coalition, each [...] -> shares [players, ...], and their standard errors when sampled.

        The shares add up to results[all] - results[none], sampled or not.
        """
        if self.orders is None:
            shape = (len(self.players), *results[frozenset()].shape)
            return np.array([self._exact(p, results) for p in self.players]).reshape(shape), None
        gains = np.array([self._gains(o, results) for o in self.orders])
        return gains.mean(0), gains.std(0, ddof=1) / math.sqrt(len(gains))

    def _exact(self, player: str, results: Mapping[Coalition, np.ndarray]) -> np.ndarray:
        n = len(self.players)
        others = [p for p in self.players if p != player]
        share = np.zeros_like(results[frozenset()])
        for k in range(n):
            weight = 1 / (n * math.comb(n - 1, k))  # = k! (n - 1 - k)! / n!
            for chosen in combinations(others, k):
                share = share + weight * (results[frozenset((*chosen, player))] - results[frozenset(chosen)])
        return share

    def _gains(self, order: tuple[str, ...], results: Mapping[Coalition, np.ndarray]) -> list[np.ndarray]:
        """What every player adds when it joins in this order; in the order of `players`."""
        added = {p: results[frozenset(order[: k + 1])] - results[frozenset(order[:k])] for k, p in enumerate(order)}
        return [added[p] for p in self.players]
