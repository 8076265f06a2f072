"""From votes to scores: mean opinion score, subject-bias model of P.910 / P.913, observer screening of BT.500.

And from comparisons of pairs ("this clip was preferred to that one") to a Bradley-Terry scale.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from data_recipes.votes.table import Sheet, Votes, VotesError, number

log = logging.getLogger(__name__)

Model = Literal["mos", "p910", "bt500"]
MODELS: tuple[Model, ...] = get_args(Model)

_TOLERANCE = 1e-8  # of the Recommendation's reference code: change of all scores together, and the least variance
_MAX_ROUNDS = 1000
_PAIR_TOLERANCE, _PAIR_ROUNDS = 1e-12, 100_000  # of the Bradley-Terry iteration
_TRUST = 0.3  # least inconsistency in weights, as a share of the typical; subjects of 8 laboratory tests are above .37
_FEW = 3  # votes below which a subject's spread says nothing (with one vote it would be 0: endless trust)


@dataclass(frozen=True)
class Estimate:
    """Scores on the study's scale, float64 [clips] each; NaN where one vote allows no spread.

    score: the estimate. std: sample standard deviation of votes (of bias-corrected votes for p910). error: standard
    error of the score. ci95: half width of its 95 % confidence interval.
    """

    model: Model
    votes: Votes  # what was used: without the rejected subjects for bt500
    score: np.ndarray
    std: np.ndarray
    error: np.ndarray
    ci95: np.ndarray
    screening: Screening | None = None  # of bt500


@dataclass(frozen=True, kw_only=True)
class Corrected(Estimate):
    """bias, inconsistency: float64 [subjects], zero mean, and standard deviation of a subject's residuals."""

    bias: np.ndarray
    inconsistency: np.ndarray


@dataclass(frozen=True)
class Screening:
    """Observer screening: arrays [subjects of all votes]. above, below: clips far above / below the others' votes."""

    above: np.ndarray
    below: np.ndarray
    rejected: np.ndarray


def estimate(votes: Votes, model: Model = "mos") -> Estimate:
    """Scores by one of `MODELS`. Raises VotesError for votes of one subject only, or when screening empties a clip."""
    if model == "p910":
        return bias_corrected(votes)
    if model == "mos":
        return summary(votes)
    screening = screen(votes)
    kept = summary(votes.without(screening.rejected))
    return Estimate("bt500", kept.votes, kept.score, kept.std, kept.error, kept.ci95, screening=screening)


def summary(votes: Votes) -> Estimate:
    """MOS, sample standard deviation and CI95 = t(0.975, n - 1) * s / sqrt(n) per clip. Source: ITU-T P.1401, 7.3.

    Raises VotesError for votes of one subject only.
    """
    _check_people(votes)
    n = votes.n_clip
    mean = votes.per_clip(votes.score) / n
    std = _sample_std(votes, votes.score - mean[votes.clip])
    error = std / np.sqrt(n)
    return Estimate("mos", votes, mean, std, error, _half_width(error, n))


def bias_corrected(votes: Votes) -> Corrected:
    """Subject model vote = quality(clip) + bias(subject) + inconsistency(subject) * noise, by alternating projection.

    Source: ITU-T P.913 clause 12.6 = P.910 Appendix VI; Li, Bampis, Krasula, Janowski, Katsavounidis, HVEI 2020.
    The biases are centred at the end, so that the scores stay on the level of the means. `error` is the reference
    code's `sos_j`: population standard deviation of a clip's residuals / sqrt(n).

    Two guards for what the Recommendation does not cover, both inactive in a laboratory test: a subject of fewer than
    3 votes has the mean bias and the typical inconsistency, and nobody weighs more than 11 typical subjects (the
    likelihood has no maximum: with few votes per clip a subject who sets a score is trusted ever more for agreeing
    with it). Raises VotesError for one subject, or for parts of the votes that share neither clips nor subjects: a
    bias between them can not be told from a difference of quality.
    """
    _check_people(votes)
    _check_connected(votes)
    n_clip, n_subject = votes.n_clip, votes.n_subject
    few = n_subject < _FEW
    quality = votes.per_clip(votes.score) / n_clip
    bias = _bias(votes, quality, n_subject, few)
    for _ in range(_MAX_ROUNDS):
        residual = votes.score - quality[votes.clip] - bias[votes.subject]
        spread = np.sqrt(_variance(votes.per_subject, residual, n_subject))
        typical = np.sqrt(np.mean(residual**2))
        spread[few] = typical
        weight = 1.0 / (np.maximum(spread, _TRUST * typical) ** 2 + _TOLERANCE)
        per_vote = weight[votes.subject]
        before = quality
        quality = votes.per_clip(per_vote * (votes.score - bias[votes.subject])) / votes.per_clip(per_vote)
        bias = _bias(votes, quality, n_subject, few)
        if np.linalg.norm(quality - before) < _TOLERANCE:
            break
    else:
        log.warning("subject biases still move after %d rounds; the votes are too sparse for them", _MAX_ROUNDS)
    capped = int(np.sum(spread < _TRUST * typical))
    if capped:
        log.warning("%d of %d subjects agree with the scores too well; their weight is capped", capped, len(few))
    centre = bias.mean()
    error = np.where(n_clip > 1, np.sqrt(_variance(votes.per_clip, residual, n_clip) / n_clip), np.nan)
    corrected_std = _sample_std(votes, residual - (votes.per_clip(residual) / n_clip)[votes.clip])
    half = _half_width(corrected_std / np.sqrt(n_clip), n_clip)
    return Corrected(
        "p910", votes, quality + centre, corrected_std, error, half, bias=bias - centre, inconsistency=spread
    )


def screen(votes: Votes, ddof: int = 1) -> Screening:
    """Observers to discard: ITU-R BT.500-15, Annex 1 to Part 1, A1-2.3.1.

    A vote is far when it differs from the clip's mean by at least 2 standard deviations if the votes look normal
    (kurtosis 2..4), else sqrt(20). A subject is rejected when more than 5 % of the votes are far and they are far on
    both sides: |P - Q| / (P + Q) < 0.3 (one-sided is bias, not carelessness). Clips of equal votes have no far ones.
    ddof: 1 as in the Recommendation; published implementations also use 0. Raises VotesError for one subject only.
    """
    _check_people(votes)
    n = votes.n_clip
    away = votes.score - (votes.per_clip(votes.score) / n)[votes.clip]
    squares = votes.per_clip(away**2)
    spread = squares > 0
    safe = np.where(spread, squares, 1.0)
    kurtosis = votes.per_clip(away**4) * n / safe**2
    std = np.sqrt(safe / np.maximum(n - ddof, 1))
    limit = np.where((kurtosis >= 2) & (kurtosis <= 4), 2.0, np.sqrt(20.0)) * std
    limit[~spread] = np.inf
    above = votes.per_subject((away >= limit[votes.clip]).astype(float))
    below = votes.per_subject((away <= -limit[votes.clip]).astype(float))
    far = above + below
    rejected = (far > 0.05 * votes.n_subject) & (np.abs(above - below) < 0.3 * far)
    return Screening(above.astype(np.int64), below.astype(np.int64), rejected)


def _bias(votes: Votes, quality: np.ndarray, n_subject: np.ndarray, few: np.ndarray) -> np.ndarray:
    bias = votes.per_subject(votes.score - quality[votes.clip]) / n_subject
    # The mean bias, not 0: only differences of biases are known before they are centred.
    bias[few] = 0.0 if few.all() else bias[~few].mean()
    return bias


def _variance(total: Callable[[np.ndarray], np.ndarray], residual: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Population variance per clip or subject, whichever `total` sums over."""
    return np.maximum(total(residual**2) / n - (total(residual) / n) ** 2, 0.0)


def _sample_std(votes: Votes, centred: np.ndarray) -> np.ndarray:
    """Sample standard deviation per clip; NaN for one vote."""
    n = votes.n_clip
    return np.where(n > 1, np.sqrt(votes.per_clip(centred**2) / np.maximum(n - 1, 1)), np.nan)


def _half_width(error: np.ndarray, n: np.ndarray) -> np.ndarray:
    from scipy.stats import t

    return np.where(n > 1, t.ppf(0.975, np.maximum(n - 1, 1)) * error, np.nan)


def _check_people(votes: Votes) -> None:
    if len(votes.subjects) < 2:
        raise VotesError(
            f"all {len(votes.score)} votes are of one subject ({votes.subjects[0]!r}); a mean opinion needs 2 or more "
            "(--subject names the column that tells people apart, --rows the way a matrix lies)"
        )


def _check_connected(votes: Votes) -> None:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    size = len(votes.clips) + len(votes.subjects)
    links = coo_array((np.ones(len(votes.score)), (votes.clip, len(votes.clips) + votes.subject)), shape=(size, size))
    parts, part = connected_components(links, directed=False)
    if parts > 1:
        other = votes.clips[int(np.flatnonzero(part[: len(votes.clips)] != part[0])[0])]
        raise VotesError(
            f"the votes fall into {parts} parts without a common subject or clip (e.g. {votes.clips[0]!r} and "
            f"{other!r}): subject biases are unknown between them; use --model mos, or a file per part"
        )


@dataclass(frozen=True)
class PairVotes:
    """clips: names. wins: float64 [clips, clips], how often the row's clip was preferred to the column's."""

    clips: list[str]
    wins: np.ndarray


def read_pairs(path: str | Path) -> PairVotes:
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
    return PairVotes([*ids], wins)


def bradley_terry(pairs: PairVotes) -> tuple[np.ndarray, np.ndarray]:
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
    for _ in range(_PAIR_ROUNDS):
        before = strength
        strength = won / (met / (before[:, None] + before)).sum(1)
        strength /= strength.sum()
        if np.abs(strength - before).max() < _PAIR_TOLERANCE:
            break
    scores = np.log(strength)
    return scores - (np.bincount(of, scores) / np.bincount(of))[of], of
