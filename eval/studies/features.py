"""Regressions on measured signal facts, per aspect: the classical baseline that every model must beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import typer
from pydantic import BaseModel, ConfigDict

from eval.joining import record_entry
from eval.measuring import Facts, from_ratings, measured
from eval.stats import Agreement, agreement, content_parts, content_splits
from eval.study import Report, Study, argument, option
from eval.writing import signed, table, write_csv
from mllm_avqa.model.prompting import SEES
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.rating import ASPECTS
from mllm_avqa.schema.records import Record, read_records

SEED = 0
LEAST_CLIPS = 20  # of a training side
FOLDS = 3  # content-separated ones that choose between the settings of a regression
NAMED = 5  # facts named per aspect
SVR_GRID: dict[str, list[Any]] = {"svr__C": [1.0, 3.0, 10.0]}
FOREST_GRID: dict[str, list[Any]] = {"randomforestregressor__min_samples_leaf": [2, 5]}
GAPS = 8  # facts named in the note on missing values


class Features(Study):
    """Support vectors and random forest on measured signal facts, per aspect: what every model must beat.

    Exits with 1 when clips could not be measured; they count as missing.
    """

    command: ClassVar[str] = "features"

    records: Path = argument("Record file (.jsonl) with splits 'train' and SPLIT.")
    split: str = option("test", "Split to measure on.")
    output: Path | None = option(None, "OUT.csv: predictions, a column ASPECT_MODEL each.", "--output", "-o")
    ratings: Path | None = option(None, "Take the facts from this file of `mllm-avqa score --full` (.jsonl).")
    cache: Path | None = option(None, "Folder of measured facts; default: RECORDS without its ending + '.facts'.")
    workers: int = option(1, "Processes that decode and measure.", ge=1)
    context: Literal["none", "fast"] = option("fast", "Text to look for.")
    draws: int = option(1000, "Draws of the bootstrap.", ge=100)

    def run(self) -> Baselines:
        """Raises ConfigError when a side is empty or shares no aspect with the other."""
        records = [r for r in read_records(self.records) if r.split in ("train", self.split)]
        if self.ratings is not None:
            facts, failed = from_ratings(records, self.ratings)
        else:
            folder = self.cache or self.records.with_suffix(".facts")
            base = self.records.parent
            facts, failed = measured(records, base, folder, context=self.context, workers=self.workers)
        found = regress(records, facts, failed, self.split, self.records.name, self.draws)
        if self.output is not None:
            rows = write_predictions(self.output, records, found.predictions)
            typer.echo(f"wrote {rows} clips to {self.output}", err=True)
        return found

    def report(self, found: Baselines) -> Report:
        numbers = found.study
        return Report(markdown(numbers), numbers.model_dump_json(indent=2), numbers.notes, numbers.failed)


class FeatureResult(BaseModel):
    """One regression of one aspect on the test split."""

    model_config = ConfigDict(extra="forbid")

    model: str
    aspect: str
    train: int
    facts: int  # facts that had a value in training
    chosen: dict[str, float]
    agreement: Agreement
    important: dict[str, float] = {}  # impurity decrease; only a forest has them


class Regressions(BaseModel):
    model_config = ConfigDict(extra="forbid")

    records: str
    split: str
    results: list[FeatureResult]
    missing: dict[str, float]  # fact -> share of training clips without a value, where there are any
    never: list[str]  # facts without a value in training: no regression has them
    failed: dict[str, str]  # clip -> why nothing was measured
    notes: list[str] = []


@dataclass
class Baselines:
    """The numbers, and predictions[record id][aspect_model]."""

    study: Regressions
    predictions: dict[str, dict[str, float]]


def matrix(records: Sequence[Record], facts: Facts, names: Sequence[str]) -> np.ndarray:
    """Values of the named facts, float64 [records, names]; NaN where a clip has none."""
    column = {n: k for k, n in enumerate(names)}
    out = np.full((len(records), len(names)), np.nan)
    for row, r in enumerate(records):
        for m in facts[r.id]:
            if m.value is not None and m.name in column:
                out[row, column[m.name]] = m.value
    return out


def _regressions() -> dict[str, tuple[Any, dict[str, list[Any]]]]:
    """Name -> (estimator, settings to choose from).

    A missing value becomes the training median, and a column that says so: a fact that cannot be measured (no sound, no
    speech, a still picture) is itself a fact.
    """
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVR

    def filled() -> Any:  # a rare fact may have no value at all inside a fold; it is 0 there and says nothing
        return SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)

    forest = RandomForestRegressor(100, max_features=1 / 3, random_state=SEED)
    return {
        "svr": (make_pipeline(filled(), StandardScaler(), SVR(epsilon=0.1)), SVR_GRID),
        "forest": (make_pipeline(filled(), forest), FOREST_GRID),
    }


def fit(model: str, x: np.ndarray, y: np.ndarray, groups: Sequence[str]) -> Any:
    """A regression of "svr" or "forest" with the settings that content-separated parts of the training side prefer."""
    from sklearn.model_selection import GridSearchCV

    estimator, grid = _regressions()[model]
    folds = [(a, b) for a, b in content_splits(groups, FOLDS) if len(a) and len(b)]
    if not folds:  # one content: nothing to choose settings by
        return estimator.fit(x, y)
    return GridSearchCV(estimator, grid, cv=folds, scoring="neg_mean_squared_error").fit(x, y)


def regress(
    records: Sequence[Record], facts: Facts, failed: dict[str, str], split: str, file: str, draws: int = 1000
) -> Baselines:
    """Fit on split "train", measure on `split`. A clip without facts is missing from both and counted by name.

    Raises ConfigError when a side is empty or shares no aspect with the other.
    """
    train, test = ([r for r in records if r.split == s] for s in ("train", split))
    for s, side in (("train", train), (split, test)):
        if not any(r.id in facts for r in side):
            there = ", ".join(sorted({r.split or "none" for r in records})) or "no records at all"
            raise ConfigError(f"no clip of split {s!r} with measured facts (--split); there are: {there}")
    shared = _contents(train) & _contents(test)
    notes = [f"{len(shared)} contents are in the training split as well: {', '.join(sorted(shared)[:5])}"] * bool(
        shared
    )
    results: list[FeatureResult] = []
    predictions: dict[str, dict[str, float]] = {r.id: {} for r in test}
    used: set[str] = set()
    gaps: dict[str, float] = {}
    for aspect in ASPECTS:
        a = [r for r in train if aspect in r.labels and r.id in facts]
        b = [r for r in test if aspect in r.labels and r.id in facts]
        if len(a) < LEAST_CLIPS or len(_contents(a)) < FOLDS or not b:
            notes.append(f"{aspect}: {len(a)} training clips, {len(b)} test clips: no regression")
            continue
        names = _names(a, facts, aspect)
        x = matrix(a, facts, names)
        known = np.isfinite(x).any(axis=0)
        names, x = [n for n, k in zip(names, known, strict=True) if k], x[:, known]
        used |= set(names)
        gaps |= {n: s for n, s in zip(names, np.isnan(x).mean(axis=0).tolist(), strict=True) if s > 0}
        total = sum(aspect in r.labels for r in test)
        for model in _regressions():
            result, guesses = _one(model, aspect, names, x, a, b, facts, total, draws)
            results.append(result)
            for r, g in zip(b, guesses, strict=True):
                predictions[r.id][f"{aspect}_{model}"] = float(g)
    if not results:
        raise ConfigError(f"{file}: {'; '.join(notes)}")
    seen = {m.name for r in train for m in facts.get(r.id, [])}
    found = Regressions(
        records=file,
        split=split,
        results=results,
        missing={n: round(s, 4) for n, s in sorted(gaps.items(), key=lambda i: -i[1])},
        never=sorted(seen - used),
        failed=failed,
        notes=notes,
    )
    return Baselines(found, predictions)


def _one(
    model: str,
    aspect: str,
    names: list[str],
    x: np.ndarray,
    train: list[Record],
    test: list[Record],
    facts: Facts,
    total: int,
    draws: int,
) -> tuple[FeatureResult, np.ndarray]:
    y, truth = (np.array([record_entry(r).values[aspect] for r in side]) for side in (train, test))
    fitted = fit(model, x, y, [r.group for r in train])
    guess = np.clip(fitted.predict(matrix(test, facts, names)), 1.0, 5.0)
    result = FeatureResult(
        model=model,
        aspect=aspect,
        train=len(train),
        facts=len(names),
        chosen={k.split("__")[1]: v for k, v in fitted.best_params_.items()},
        agreement=agreement(guess, truth, groups=[r.group for r in test], total=total, draws=draws),
    )
    if model == "forest":
        steps = fitted.best_estimator_
        weights = dict(zip(steps[0].get_feature_names_out(names), steps[-1].feature_importances_, strict=True))
        top = sorted(weights.items(), key=lambda i: -i[1])[:NAMED]
        result.important = {n.replace("missingindicator_", "missing "): round(float(w), 4) for n, w in top}
    return result, guess


def _names(records: Sequence[Record], facts: Facts, aspect: str) -> list[str]:
    """Facts that the model may look at for this aspect, so that both judge from the same side of the clip."""
    return sorted({m.name for r in records for m in facts[r.id] if m.modality in SEES[aspect]})


def _contents(records: Sequence[Record]) -> set[str]:
    return {p for g in content_parts([r.group for r in records]) for p in g}


def write_predictions(path: Path, records: Sequence[Record], predictions: dict[str, dict[str, float]]) -> int:
    """CSV of the test clips: id, path, a column ASPECT_MODEL per regression. Their number; raises OutputError."""
    columns = list(dict.fromkeys(c for p in predictions.values() for c in p))
    rows = [r for r in records if r.id in predictions]
    cells = ([f"{predictions[r.id][c]:.4f}" if c in predictions[r.id] else "" for c in columns] for r in rows)
    write_csv(path, ["id", "path", *columns], ([r.id, r.media, *c] for r, c in zip(rows, cells, strict=True)))
    return len(rows)


def markdown(found: Regressions) -> str:
    """Agreement of every regression, what it rests on, and which facts had to be filled in."""
    rows = []
    for r in found.results:
        a = r.agreement
        chosen = ", ".join(f"{k} {v:g}" for k, v in r.chosen.items())
        numbers = [signed(a.srcc, interval=True), *(signed(x) for x in (a.krcc, a.plcc, a.plcc_mapped, a.rmse))]
        rows.append([f"{r.aspect}, {r.model}", *numbers, f"{a.n} of {a.m}", str(a.groups), str(r.train), chosen])
    head = ["aspect, model", "SRCC", "KRCC", "PLCC raw", "PLCC", "RMSE", "n", "contents", "trained on", "chosen"]
    important = [
        [r.aspect, ", ".join(f"{n} {w:.2f}" for n, w in r.important.items())] for r in found.results if r.important
    ]
    parts = [
        table(head, rows),
        "Trained on split `train`, settings chosen on content-separated parts of it. PLCC and RMSE after the mapping "
        "of every evaluation; 95 % intervals are bootstrapped over contents.",
        table(["aspect", "facts the forest rests on"], important),
    ]
    if found.missing:
        gaps = ", ".join(f"{n} {100 * s:.0f} %" for n, s in list(found.missing.items())[:GAPS])
        more = f" and {len(found.missing) - GAPS} more" if len(found.missing) > GAPS else ""
        parts.append(f"Filled with the training median and marked as missing: {gaps}{more} of the training clips.")
    return "\n\n".join(parts)
