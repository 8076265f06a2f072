"""Pair comparisons: a line per "this clip was preferred to that one" -> a Bradley-Terry scale."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_recipes.votes.table import Sheet, VotesError, number

_TOLERANCE = 1e-12
_MAX_ROUNDS = 100_000


@dataclass(frozen=True)
class Pairs:
    """clips: names. wins: float64 [clips, clips], how often the row's clip was preferred to the column's."""

    clips: list[str]
    wins: np.ndarray


def read_pairs(path: str | Path) -> Pairs:
    """Read a CSV with columns X, other_X and score: score 1 (or a weight) for X preferred to other_X, 0.5 for a tie.

    Raises VotesError with file, line and column for missing columns, a negative score, or a clip compared to itself.
    """
    sheet = Sheet(Path(path))
    lines = sheet.lines()
    line, header = next(lines, (1, []))
    other = next((i for i, name in enumerate(header) if name.lower().startswith("other_")), None)
    if other is None or header[other][6:] not in header or "score" not in header:
        raise VotesError(
            f"{path}:{line}: pair comparisons need columns X, other_X and score (--layout pairs); there are: "
            f"{', '.join(header)}"
        )
    mine, score = header.index(header[other][6:]), header.index("score")
    ids: dict[str, int] = {}
    rows: list[tuple[int, int, float]] = []
    for line, cells in lines:
        sheet.check_width(line, cells, len(header))
        value = number(cells[score])
        if value is None or not value >= 0:
            raise VotesError(f"{sheet.place(line, score, 'score')}: {cells[score]!r} is not a preference of 0 or more")
        if cells[mine] == cells[other] or not (cells[mine] and cells[other]):
            raise VotesError(f"{path}:{line}: {cells[mine]!r} against {cells[other]!r} is no comparison of two clips")
        rows.append((ids.setdefault(cells[mine], len(ids)), ids.setdefault(cells[other], len(ids)), value))
    wins = np.zeros((len(ids), len(ids)))
    for a, b, value in rows:
        wins[a, b] += value
    return Pairs([*ids], wins)


def bradley_terry(pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """log strength of each clip, float64 [clips]: P(a preferred to b) = 1 / (1 + exp(s_b - s_a)), and its set [clips].

    Clips that were never compared, not even through others, are in different sets; each set has its own zero mean and
    numbers of two sets can not be compared. Minorise-maximise iteration.
    Source: Bradley and Terry, Biometrika 1952; Hunter, Annals of Statistics 2004.
    Raises VotesError when no maximum exists: clips that won, or lost, all comparisons with the others (Ford 1957).
    """
    from scipy.sparse.csgraph import connected_components

    sets, of = connected_components(pairs.wins > 0, directed=True, connection="weak")
    parts, part = connected_components(pairs.wins > 0, directed=True, connection="strong")
    if parts != sets:
        smallest = int(np.argmin(np.bincount(part)[part]))
        raise VotesError(
            f"no Bradley-Terry scale: clip {pairs.clips[smallest]!r} (and perhaps others) won, or lost, every "
            "comparison with the rest; its distance is unbounded and more comparisons are needed"
        )
    met = pairs.wins + pairs.wins.T
    won = pairs.wins.sum(1)
    strength = np.full(len(won), 1.0 / len(won))
    for _ in range(_MAX_ROUNDS):
        before = strength
        strength = won / (met / (before[:, None] + before)).sum(1)
        strength /= strength.sum()
        if np.abs(strength - before).max() < _TOLERANCE:
            break
    scores = np.log(strength)
    return scores - (np.bincount(of, scores) / np.bincount(of))[of], of
