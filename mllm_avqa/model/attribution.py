"""What a clip's scores rest on: every input and every modality taken away, and their Shapley shares.

The players are what the model is told of a clip: pixels, sound, measured facts of each kind, and each source of text.
A player that is away looks to the model as it does for a clip that does not have it. The aspects that are asked stay
the same, so the score of "nothing given" is what the model says of a clip it knows nothing about.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mllm_avqa.context.clean import PRIORITY
from mllm_avqa.model.shapley import Coalition, Game
from mllm_avqa.model.views import Prepared, Views
from mllm_avqa.schema.rating import Attribution, ScoreDistribution, Shares

# Every input by its modality. Facts about timing belong to picture and sound alike, so they are a modality themselves.
MODALITIES: dict[str, tuple[str, ...]] = {
    "video": ("picture", "video_facts"),
    "audio": ("sound", "audio_facts"),
    "sync": ("sync_facts",),
    "text": (*PRIORITY, "text_facts"),
}
INPUTS = tuple(name for names in MODALITIES.values() for name in names)
BUDGET = 256  # coalitions; eight inputs are exact
Scores = dict[str, ScoreDistribution]


def inputs(p: Prepared) -> list[str]:
    """The players of a window, in the order of `INPUTS`."""
    found = {"picture": p.views.whole is not None, "sound": p.views.sound is not None}
    found |= {f"{m.modality}_facts": True for m in p.evidence if m.value is not None}
    found |= {i.origin: True for i in p.context.items}
    return [name for name in INPUTS if found.get(name)]


def keep(p: Prepared, names: Collection[str]) -> Prepared:
    """The window with these inputs only. What may be asked of it (`missing`) stays."""
    v = p.views
    picture = (v.whole, v.fragments) if "picture" in names else (None, None)
    return replace(
        p,
        views=Views(*picture, v.sound if "sound" in names else None, v.seconds_per_pair),
        evidence=[m for m in p.evidence if f"{m.modality}_facts" in names],
        context=p.context.model_copy(update={"items": [i for i in p.context.items if i.origin in names]}),
    )


def drop(p: Prepared, names: Collection[str]) -> Prepared:
    """The window without these inputs."""
    return keep(p, set(INPUTS).difference(names))


def attribute(
    windows: Sequence[Prepared],
    score: Callable[[Sequence[Prepared]], Sequence[Scores]],
    pool: Callable[[list[ScoreDistribution]], ScoreDistribution],
    *,
    budget: int = BUDGET,
    seed: int = 0,
) -> Attribution:
    """Shapley shares of a clip's scores, by input and by modality, and its scores without each of them.

    windows: all of the clip's, with their views; score: windows -> scores, many at a time; pool: windows' scores of one
    aspect -> the clip's. Exact where 2^players <= budget, else estimated from seeded orders, with standard errors.
    """
    there = {name for p in windows for name in inputs(p)}
    cuts = {
        "inputs": _Cut.of({i: (i,) for i in INPUTS}, there, budget, seed),
        "modalities": _Cut.of(MODALITIES, there, budget, seed),
    }
    wanted = dict.fromkeys(c for cut in cuts.values() for c in cut.wanted())
    aspects, table = _table(windows, list(wanted), score, pool)
    return Attribution(
        orders=len(cuts["inputs"].game.orders or ()),
        coalitions=len(wanted),
        **{name: cut.shares(aspects, table) for name, cut in cuts.items()},
    )


@dataclass(frozen=True)
class _Cut:
    """A clip's inputs cut into players."""

    game: Game
    parts: dict[str, Coalition]  # inputs of every player

    @classmethod
    def of(cls, parts: Mapping[str, Collection[str]], there: Collection[str], budget: int, seed: int) -> _Cut:
        found = {player: frozenset(there).intersection(names) for player, names in parts.items()}
        kept = {player: names for player, names in found.items() if names}
        return cls(Game.plan(list(kept), budget, seed), kept)

    def members(self, players: Iterable[str]) -> Coalition:
        return frozenset(name for p in players for name in self.parts[p])

    def without(self, player: str) -> Coalition:
        return self.members(p for p in self.parts if p != player)

    def wanted(self) -> list[Coalition]:
        return [self.members(c) for c in self.game.coalitions()] + [self.without(p) for p in self.parts]

    def shares(self, aspects: Sequence[str], table: Mapping[Coalition, np.ndarray]) -> dict[str, Shares]:
        shares, errors = self.game.shares({c: table[self.members(c)] for c in self.game.coalitions()})
        full, empty = table[self.members(self.parts)], table[frozenset()]

        def named(values: np.ndarray) -> dict[str, float]:
            return {p: round(float(v), 6) for p, v in zip(self.parts, values, strict=True)}

        return {
            aspect: Shares(
                full=float(full[k]),
                empty=float(empty[k]),
                shares=named(shares[:, k]),
                errors={} if errors is None else named(errors[:, k]),
                without={p: float(table[self.without(p)][k]) for p in self.parts},
            )
            for k, aspect in enumerate(aspects)
        }


def _table(
    windows: Sequence[Prepared],
    coalitions: Sequence[Coalition],
    score: Callable[[Sequence[Prepared]], Sequence[Scores]],
    pool: Callable[[list[ScoreDistribution]], ScoreDistribution],
) -> tuple[list[str], dict[Coalition, np.ndarray]]:
    """Aspects, and the clip's scores in every coalition [aspects]. Equal variants of a window are scored once."""
    own = [frozenset(inputs(p)) for p in windows]
    asked = {(n, c & own[n]): keep(p, c) for n, p in enumerate(windows) for c in coalitions}
    scores = dict(zip(asked, score(list(asked.values())), strict=True))
    aspects = list(dict.fromkeys(a for s in scores.values() for a in s))
    table = {}
    for c in coalitions:
        parts = [scores[n, c & own[n]] for n in range(len(windows))]
        table[c] = np.array([pool([s[a] for s in parts if a in s]).score for a in aspects])
    return aspects, table
