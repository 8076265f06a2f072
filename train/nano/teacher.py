"""A teacher made of forests: it reads the same facts as the model, and so can label facts that no clip has.

Some thousand clips are few for a language model that starts from random weights: it learns to recognise them. A forest
makes more of few rows. So the forests learn from the clips, and the model learns from the forests, on as many rows as
it likes (soft targets of a stronger model: Hinton et al. 2015, arXiv 1503.02531; extremely randomised trees: Geurts et
al. 2006).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from mllm_avqa.evidence import FACTS
from mllm_avqa.model.prompting import grade
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.levels import soft_target, sos_std
from mllm_avqa.schema.measurement import SEVERITIES, Measurement
from mllm_avqa.schema.records import Record
from train.losses import Target, target

SIDES = ("video", "audio")
REST = ("sync", "text")
FEWEST = 20  # labelled clips of a side; with fewer, sync and text keep their labels


def code(m: Measurement | None) -> float:
    """A fact as the number its grade stands for: digits 0-9, then faint 10 .. severe 14; -1 unmeasured or unsaid."""
    said = grade(m) if m is not None and m.value is not None else ""
    if said in SEVERITIES[1:]:
        return 9.0 + SEVERITIES.index(said)  # type: ignore[arg-type]
    if said == SEVERITIES[0]:  # of a fact that has no digits
        return 0.0
    return float(said) if said.isdigit() else -1.0


def codes(evidence: Sequence[Measurement], names: Sequence[str]) -> list[float]:
    """The named facts, in this order."""
    found = {m.name: m for m in evidence}
    return [code(found.get(name)) for name in names]


def names_of(side: str, evidence: Iterable[Sequence[Measurement]]) -> tuple[str, ...]:
    """The facts of a side: all of the catalogue, then others that were measured (those of captions)."""
    listed = [n for n, f in FACTS.items() if f.modality == side]
    others = {m.name for facts in evidence for m in facts if m.modality == side} - set(listed)
    return (*listed, *sorted(others))


@lru_cache(maxsize=4096)
def _target(mean: float) -> Target:
    std = sos_std(mean)
    return Target(mean, std, soft_target(mean, std).tolist())


def _predict(forest: Any, rows: Sequence[Sequence[float]]) -> np.ndarray:
    """`forest.predict` without the checks and threads that cost more than the trees on a few rows."""
    x = np.asarray(rows, dtype=np.float32)
    return np.asarray(np.mean([tree.tree_.predict(x)[:, 0] for tree in forest.estimators_], axis=0))


class Teacher:
    """fit on records and their evidence; `label` values any facts."""

    def __init__(self, records: Sequence[Record], evidence: Mapping[str, Sequence[Measurement]], seed: int = 0) -> None:
        """Raises ConfigError when picture or sound has fewer than 20 labelled clips, or no clip an overall score."""
        from sklearn.ensemble import ExtraTreesRegressor

        self._forest = {}
        self._names: dict[str, tuple[str, ...]] = {}
        rows: list[list[float]] = []
        whole: list[float] = []
        for side in (*SIDES, *REST):
            known = [r for r in records if side in r.labels and r.id in evidence]
            if len(known) < FEWEST and side in REST:
                continue
            if len(known) < FEWEST:
                raise ConfigError(f"teacher: {len(known)} training clips have a {side} score, at least {FEWEST} needed")
            forest = ExtraTreesRegressor(200, min_samples_leaf=3, max_features=0.4, random_state=seed)
            self._names[side] = names_of(side, (evidence[r.id] for r in known))
            x = [codes(evidence[r.id], self._names[side]) for r in known]
            self._forest[side] = forest.fit(x, [target(r.labels[side]).mean for r in known])
        for r in records:
            if "overall" in r.labels:
                rows.append([target(r.labels[a]).mean if a in r.labels else 0.0 for a in (*SIDES, *REST)])
                whole.append(target(r.labels["overall"]).mean)
        if not rows:
            raise ConfigError("teacher: no training clip has an overall score (`labels` of the records, `teacher`)")
        self._overall = ExtraTreesRegressor(200, min_samples_leaf=2, random_state=seed).fit(rows, whole)

    def label(self, rows: Sequence[tuple[Sequence[Measurement], Mapping[str, Target]]]) -> list[dict[str, Target]]:
        """(facts, labels) of each row -> its labels with the sides' and the overall score made anew from the facts.

        A side none of whose facts is shown keeps its label.
        """
        out = [dict(labels) for _, labels in rows]
        for side, forest in self._forest.items():
            shown = [
                k for k, (facts, labels) in enumerate(rows) if side in labels and any(m.modality == side for m in facts)
            ]
            if shown:
                means = _predict(forest, [codes(rows[k][0], self._names[side]) for k in shown])
                for k, mean in zip(shown, means, strict=True):
                    out[k][side] = _target(round(float(mean), 2))
        whole = [k for k, labels in enumerate(out) if "overall" in labels]
        if whole:
            parts = [[out[k][a].mean if a in out[k] else 0.0 for a in (*SIDES, *REST)] for k in whole]
            for k, mean in zip(whole, _predict(self._overall, parts), strict=True):
                out[k]["overall"] = _target(round(float(mean), 2))
        return out
