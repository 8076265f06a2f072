"""What a finished set holds: counts, label means, level shares, fallbacks, and whether worse levels score lower."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

from data_recipes.pseudo_mos import CLEAN, mos_of, quality
from mllm_avqa.levels import WORDS, target_kind, word
from mllm_avqa.records import Record

ASPECTS = ("overall", "video", "audio", "sync", "text")


def audit(
    records: Iterable[Record],
    families: Mapping[str, str] | None = None,
    ceilings: Mapping[str, Mapping[str, float]] | None = None,
) -> dict[str, Any]:
    """Numbers that tell whether a set can be trained on.

    families: record id -> family of the mixture. ceilings: record id -> score of the untouched source per aspect.

    Returns counts by split and family; per aspect the number, mean and std of labels, the share of every level word,
    and the share of labels whose soft target is not the max-entropy one; `sides`: share of clips with faults of picture
    and sound, of one only, of none; `mirrored`: correlation of picture and sound labels (near 0 or the set teaches the
    halo); `alone`: per kind the mean label of its aspect at levels 1-5, relative to the source's ceiling, over clips
    where it is the only fault of that aspect and fills the clip; `not_monotone`: kinds for which that does not fall
    from each level to the next.
    """
    records = list(records)
    labels: dict[str, list[tuple[float, float]]] = defaultdict(list)
    pairs = []
    alone: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    sides: Counter[str] = Counter()
    for r in records:
        for aspect, label in r.labels.items():
            labels[aspect].append((label.mean, label.std or 0.0))
        touched = {d.modality for d in r.distortions}
        both = {"video", "audio"} & touched
        sides["both" if len(both) == 2 else next(iter(both), "neither")] += 1
        if "video" in r.labels and "audio" in r.labels:
            pairs.append((r.labels["video"].mean, r.labels["audio"].mean))
        for d in r.distortions:
            same = [x for x in r.distortions if x.modality == d.modality]
            if len(same) == 1 and r.end is not None and d.start <= 0.05 and d.end >= r.end - 0.05:
                ceiling = (ceilings or {}).get(r.id, {}).get(d.modality, CLEAN)
                alone[d.kind][d.level].append(mos_of(quality(r.labels[d.modality].mean) / quality(ceiling)))
    curves = {k: {lv: sum(v) / len(v) for lv, v in sorted(by.items())} for k, by in sorted(alone.items())}
    n = len(records)
    return {
        "clips": n,
        "splits": dict(Counter(r.split or "none" for r in records)),
        "families": dict(Counter((families or {}).get(r.id, "unknown") for r in records)),
        "sides": {k: round(v / n, 4) for k, v in sides.items()} if n else {},
        "groups": len({r.group for r in records}),
        "aspects": {a: _aspect(labels[a]) for a in ASPECTS if labels[a]},
        "mirrored": _correlation(pairs),
        "alone": {k: {str(lv): round(m, 3) for lv, m in by.items()} for k, by in curves.items()},
        "not_monotone": [k for k, by in curves.items() if _not_falling(list(by.values()))],
    }


def dose_faults() -> list[str]:
    """Kinds of the registry whose dose does not fall strictly from level to level (there should be none)."""
    from data_recipes.distortions import kinds
    from data_recipes.doses import dose

    return [k.kind for k in kinds() if any(dose(k.kind, v) <= dose(k.kind, v + 1) for v in range(1, 5))]


def _aspect(values: list[tuple[float, float]]) -> dict[str, Any]:
    n = len(values)
    means = [m for m, _ in values]
    mean = sum(means) / n
    words = Counter(word(m) for m in means)
    fallback = sum(target_kind(m, s) != "maxent" for m, s in values)
    return {
        "n": n,
        "mean": round(mean, 3),
        "std": round((sum((m - mean) ** 2 for m in means) / n) ** 0.5, 3),
        "levels": {w: round(words[w] / n, 4) for w in WORDS},
        "fallback": round(fallback / n, 4),
    }


def _correlation(pairs: list[tuple[float, float]]) -> float | None:
    if len(pairs) < 3:
        return None
    import numpy as np

    a, b = np.array(pairs).T
    return None if a.std() == 0 or b.std() == 0 else round(float(np.corrcoef(a, b)[0, 1]), 3)


def _not_falling(values: list[float]) -> bool:
    return any(later >= earlier for earlier, later in pairwise(values))


def as_text(numbers: Mapping[str, Any]) -> str:
    """The audit for people, a few lines."""
    lines = [
        f"{numbers['clips']} clips, {numbers['groups']} groups; splits {numbers['splits']}",
        f"families {numbers['families']}",
        f"faults by side {numbers['sides']}; correlation of picture and sound labels {numbers['mirrored']}",
    ]
    for aspect, a in numbers["aspects"].items():
        shares = " ".join(f"{w} {share:.0%}" for w, share in a["levels"].items())
        lines.append(
            f"{aspect:8s} n {a['n']:5d}  mean {a['mean']:.2f}  std {a['std']:.2f}  {shares}  "
            f"not max-entropy {a['fallback']:.1%}"
        )
    rising = numbers["not_monotone"]
    lines.append("labels fall with the level for every kind" if not rising else f"NOT falling with the level: {rising}")
    return "\n".join(lines)
