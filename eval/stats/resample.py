"""Redrawing contents: intervals of a statistic, and the draws themselves for paired comparisons.

A draw is a weight per clip, so the usual statistics are computed for many draws at once, without copying clips.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from eval.stats.core import LEAST, mean, partial_spearman, pearson, residual_spearman, rmse, share, spearman

LEAST_GROUPS = 5  # contents; below this resampling them says nothing
BLOCK = 1_000_000  # weights in memory at once
Statistic = Callable[..., float]
Weighted = Callable[[np.ndarray], np.ndarray]  # weights [k, n] -> values [k]


def content_parts(groups: Sequence[str]) -> list[tuple[str, ...]]:
    """A clip made of two sources has the group "picture+sound" and is drawn with both contents."""
    return [tuple(g.split("+")) for g in groups]


def bootstrap(
    statistic: Statistic,
    columns: Sequence[np.ndarray],
    groups: Sequence[tuple[str, ...]],
    draws: int = 1000,
    seed: int = 0,
) -> tuple[float, float] | str:
    """95 % percentile interval of statistic(*columns) over redrawn contents, or why there is none.

    A clip of several contents counts as often as the product of their draws: the bootstrap for crossed factors of
    Owen and Eckles (Annals of Applied Statistics, 2012). Draws in which the statistic is undefined are left out.
    """
    return interval(resampled(statistic, columns, groups, draws, seed))


def interval(values: np.ndarray | str) -> tuple[float, float] | str:
    """95 % percentile interval of what `resampled` gives, or why there is none."""
    if isinstance(values, str):
        return values
    kept = values[np.isfinite(values)]
    if len(kept) < len(values) // 2:
        return f"only {len(kept)} of {len(values)} draws give a number"
    low, high = np.quantile(kept, [0.025, 0.975])
    return float(low), float(high)


def resampled(
    statistic: Statistic,
    columns: Sequence[np.ndarray],
    groups: Sequence[tuple[str, ...]],
    draws: int = 1000,
    seed: int = 0,
) -> np.ndarray | str:
    """statistic(*columns) in every draw [draws], NaN where it is undefined; or why there are no draws.

    Draw k of a seed redraws the same contents whatever the columns are, so differences of two calls are paired.
    """
    contents = len({part for g in groups for part in g})
    if contents < LEAST_GROUPS:
        return f"{contents} contents, at least {LEAST_GROUPS} needed for an interval"
    many = _WEIGHTED[statistic](*columns) if statistic in _WEIGHTED else _one_by_one(statistic, columns)
    parts = []
    for w in _weights(groups, draws, seed):
        values = many(w)
        parts.append(np.where(w.sum(1) >= LEAST, values, np.nan))
    return np.concatenate(parts)


def _weights(groups: Sequence[tuple[str, ...]], draws: int, seed: int) -> Iterator[np.ndarray]:
    """How often every clip is drawn, float64 [k, n], k draws at a time."""
    contents = sorted({part for g in groups for part in g})
    index = {c: i for i, c in enumerate(contents)}
    many, width = len(contents), max(len(g) for g in groups)
    member = np.full((len(groups), width), many)  # the extra place weighs 1
    for row, g in enumerate(groups):
        member[row, : len(g)] = [index[p] for p in g]
    rng = np.random.default_rng(seed)
    block = max(1, BLOCK // max(many, len(groups)))
    for begin in range(0, draws, block):
        k = min(block, draws - begin)
        drawn = rng.integers(0, many, (k, many)) + (many + 1) * np.arange(k)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=k * (many + 1)).reshape(k, many + 1).astype(float)
        counts[:, many] = 1.0
        weights = counts[:, member[:, 0]]
        for place in range(1, width):
            weights *= counts[:, member[:, place]]
        yield weights


def _one_by_one(statistic: Statistic, columns: Sequence[np.ndarray]) -> Weighted:
    """Any statistic: the clips of every draw are repeated and handed to it."""

    def value(weights: np.ndarray) -> float:
        chosen = np.repeat(np.arange(len(weights)), weights.astype(int))
        sample = [c[chosen] for c in columns]
        return statistic(*sample) if len(chosen) >= LEAST and all(np.ptp(c) > 0 for c in sample) else float("nan")

    return lambda w: np.array([value(row) for row in w])


# ---- statistics of many draws at once ---------------------------------------------------------------------------


def _ranker(x: np.ndarray) -> Weighted:
    """Average ranks, about their mean, of x repeated as the weights say: [k, n] -> [k, n]."""
    values, member = np.unique(x, return_inverse=True)
    order = np.argsort(member, kind="stable")
    back = np.argsort(order, kind="stable")
    ends = np.cumsum(np.bincount(member, minlength=len(values))) - 1
    tied = len(values) < len(x)

    def ranks(w: np.ndarray) -> np.ndarray:
        ordered = w[:, order]
        upto = np.cumsum(ordered, axis=1)
        middle = (upto[:, -1:] + 1) / 2
        if not tied:
            upto -= (ordered - 1) / 2
            return (upto - middle)[:, back]
        last = upto[:, ends]
        rank = last / 2
        rank[:, 1:] += last[:, :-1] / 2
        rank += 0.5 - middle
        return rank[:, member]

    return ranks


def _correlation(w: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Weighted correlation of centred columns a, b [k, n]; NaN where one is constant."""
    wa = w * a
    ab = np.einsum("kn,kn->k", wa, b)
    aa = np.einsum("kn,kn->k", wa, a)
    bb = np.einsum("kn,kn,kn->k", w, b, b)
    return _ratio(ab, aa * bb)


def _ratio(top: np.ndarray, squared: np.ndarray) -> np.ndarray:
    out = np.full(len(top), np.nan)
    np.divide(top, np.sqrt(np.maximum(squared, 0)), out=out, where=squared > 0)
    return out


def _spearman(x: np.ndarray, y: np.ndarray) -> Weighted:
    rank_x, rank_y = _ranker(x), _ranker(y)
    return lambda w: _correlation(w, rank_x(w), rank_y(w))


def _pearson(x: np.ndarray, y: np.ndarray) -> Weighted:
    x, y = (x - x.mean()) / x.std(), (y - y.mean()) / y.std()
    table = np.stack([np.ones(len(x)), x, y, x * x, y * y, x * y], axis=1)

    def values(w: np.ndarray) -> np.ndarray:
        n, sx, sy, xx, yy, xy = (w @ table).T
        n = np.maximum(n, 1)
        vx, vy = xx / n - (sx / n) ** 2, yy / n - (sy / n) ** 2
        vx, vy = (np.where(v > 1e-13, v, 0.0) for v in (vx, vy))  # a draw of equal values
        return _ratio(xy / n - sx * sy / n**2, vx * vy)

    return values


def _rmse(x: np.ndarray, y: np.ndarray) -> Weighted:
    return lambda w: np.sqrt((w @ ((x - y) ** 2)) / np.maximum(w.sum(1), 1))


def _share(part: np.ndarray, whole: np.ndarray) -> Weighted:
    def values(w: np.ndarray) -> np.ndarray:
        total = w @ whole
        return np.divide(w @ part, total, out=np.full(len(w), np.nan), where=total > 0)

    return values


def _residual(s_a: np.ndarray, s_v: np.ndarray, a: np.ndarray, v: np.ndarray) -> Weighted:
    return _spearman(s_a - s_v, a - v)


def _partial(x: np.ndarray, y: np.ndarray, control: np.ndarray) -> Weighted:
    rankers = [_ranker(c) for c in (x, y, control)]

    def values(w: np.ndarray) -> np.ndarray:
        rx, ry, rc = (rank(w) for rank in rankers)
        xy, xc, yc = _correlation(w, rx, ry), _correlation(w, rx, rc), _correlation(w, ry, rc)
        rest = (1 - xc * xc) * (1 - yc * yc)
        return _ratio(xy - xc * yc, np.where(rest > 1e-12, rest, 0.0))

    return values


def _mean(x: np.ndarray) -> Weighted:
    return lambda w: (w @ x) / np.maximum(w.sum(1), 1)


_WEIGHTED: dict[Statistic, Callable[..., Weighted]] = {
    mean: _mean,
    spearman: _spearman,
    pearson: _pearson,
    rmse: _rmse,
    share: _share,
    residual_spearman: _residual,
    partial_spearman: _partial,
}
