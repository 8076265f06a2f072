"""Trainings that are repeated: a run per split of the records, or per dataset, each tested on what it never saw.

`--folds all` is the field's protocol: ten content-separated 80/20 splits (`data_recipes split`), a training each, and
the median SRCC of the test sides (VSFA, Li, Jiang, Jiang, ACM MM 2019). `--cross` trains on every dataset alone and
tests on all of them. A run that is finished is not made again.
"""

from __future__ import annotations

import json
import logging
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import torch

from mllm_avqa.model.scoring import level_token_ids
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.files import whole_file
from mllm_avqa.schema.records import Record, read_records
from train import cache, ranks
from train.config import Config, RecordFile
from train.data import Clips
from train.held_out import Validation
from train.objective import Objective
from train.run import run
from train.start import reopened

log = logging.getLogger(__name__)
Found = dict[str, dict[str, float]]  # by aspect: srcc and n


def run_folds(config: Config, wanted: str, workers: int = 1) -> dict[str, Any]:
    """Train and test splits `wanted` ("all", or numbers with commas); OUTPUT/folds.json and .md hold the table.

    Raises ConfigError for records without folds, and for a number that is none.
    """
    count = min(len(r.folds) for s in config.sources for r in read_records(s.records))
    if not count:
        files = ", ".join(str(s.records) for s in config.sources)
        raise ConfigError(f"{files}: not every record has folds; `python -m data_recipes split FILE -o OUT` deals ten")
    asked = range(count) if wanted == "all" else _numbers(wanted, count)
    tested: dict[str, Found] = {}
    for k in asked:
        own = config.model_copy(update={"fold": k, "output": config.output / f"fold{k}"})
        last = run(own, workers)
        tested[str(k)] = _tested(own, last, config.sources, k, workers)
        log.info("fold %d: %s", k, tested[str(k)])
    result = {"folds": tested, "median": _summary(list(tested.values()))}
    return _kept(config.output / "folds", result, _fold_table(result))


def run_cross(config: Config, workers: int = 1) -> dict[str, Any]:
    """Train on every dataset of the config alone, test on the test split of each; OUTPUT/cross.json and .md.

    Raises ConfigError for fewer than two datasets.
    """
    if len(config.sources) < 2:
        raise ConfigError("--cross needs two `datasets` and more: --set 'datasets=[{records: A}, {records: B}]'")
    names = _names(config.sources)
    tested: dict[str, dict[str, Found]] = {}
    for name, source in zip(names, config.sources, strict=True):
        own = config.model_copy(update={"records": None, "datasets": [source], "output": config.output / f"on-{name}"})
        last = run(own, workers)
        tested[name] = {n: _tested(own, last, [s], None, workers) for n, s in zip(names, config.sources, strict=True)}
        log.info("trained on %s: %s", name, tested[name])
    return _kept(config.output / "cross", {"cross": tested}, _cross_table(tested))


def _numbers(wanted: str, count: int) -> list[int]:
    given = [int(n) if n.strip().isdigit() else -1 for n in wanted.split(",")]
    if not all(0 <= n < count for n in given):
        raise ConfigError(f"--folds {wanted}: give all, or numbers from 0 to {count - 1} with commas between")
    return given


def _names(sources: list[RecordFile]) -> list[str]:
    """Short and different: the files' own names, with their folders where those repeat."""
    stems = [s.records.stem for s in sources]
    return [n if stems.count(n) == 1 else f"{s.records.parent.name}-{n}" for n, s in zip(stems, sources, strict=True)]


def _tested(config: Config, checkpoint: Path, sources: list[RecordFile], fold: int | None, workers: int) -> Found:
    """SRCC on the test sides of the sources."""
    backbone, card = reopened(checkpoint)
    records: list[Record] = []
    paths: dict[str, Path] = {}
    for s in sources:
        side = [r for r in read_records(s.records) if (r.split if fold is None else r.folds[fold]) == "test"]
        folder = s.records.parent
        build = partial(cache.build, side, folder, folder / "cache", card.views)
        made, errors = ranks.first(partial(build, workers=workers))
        for name, why in errors.items():
            log.warning("%s cannot be tested: %s", name, why)
        records, paths = records + side, paths | made
    clips = Clips(records, paths)
    validation = Validation(backbone, card, clips, config.languages[0], config.stages[-1].batch)
    levels = level_token_ids(backbone, card.aspects, card.level_words)
    if torch.cuda.is_available():
        backbone.model.to("cuda")
    found: Found = validation.score(Objective(backbone, levels, config.stages[-1].weights))
    return found


def _summary(tested: list[Found]) -> dict[str, dict[str, float]]:
    """Median and quartiles of SRCC per aspect, over the splits that have one."""
    out: dict[str, dict[str, float]] = {}
    for aspect in dict.fromkeys(a for f in tested for a in f):
        values = [f[aspect]["srcc"] for f in tested if aspect in f]
        low, high = (quantiles(values, n=4)[k] for k in (0, 2)) if len(values) > 1 else (values[0], values[0])
        out[aspect] = {
            "srcc": round(median(values), 4), "low": round(low, 4), "high": round(high, 4), "splits": len(values),
        }  # fmt: skip
    return out


def _fold_table(result: dict[str, Any]) -> str:
    folds: dict[str, Found] = result["folds"]
    lines = ["| aspect | median SRCC [quartiles] | splits | " + " | ".join(folds) + " |"]
    lines.append("|---|---|---:|" + "---:|" * len(folds))
    for aspect, s in result["median"].items():
        each = [f"{f[aspect]['srcc']:.3f}" if aspect in f else "–" for f in folds.values()]
        spread = f"{s['srcc']:.3f} [{s['low']:.3f}, {s['high']:.3f}]"
        lines.append(f"| {aspect} | {spread} | {s['splits']:.0f} | {' | '.join(each)} |")
    return "\n".join(lines)


def _cross_table(tested: dict[str, dict[str, Found]]) -> str:
    names = list(tested)
    lines = ["| aspect | trained on | " + " | ".join(f"tested on {n}" for n in names) + " |"]
    lines.append("|---|---|" + "---:|" * len(names))
    for aspect in dict.fromkeys(a for row in tested.values() for f in row.values() for a in f):
        for name, row in tested.items():
            each = [f"{f[aspect]['srcc']:.3f} ({f[aspect]['n']:.0f})" if aspect in f else "–" for f in row.values()]
            lines.append(f"| {aspect} | {name} | {' | '.join(each)} |")
    return "\n".join(lines)


def _kept(place: Path, result: dict[str, Any], table: str) -> dict[str, Any]:
    if ranks.rank() == 0:
        for ending, text in ((".json", json.dumps(result, indent=1)), (".md", table)):
            with whole_file(place.with_suffix(ending)) as part:
                part.write_text(text + "\n", encoding="utf-8")
    return result | {"table": table}
