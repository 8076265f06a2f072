"""Agreement with people on sets they rated, every checkpoint beside baselines that learnt nothing more than it did."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import yaml
from pydantic import Field

from eval import baselines, frozen
from eval.board.bench import Bench
from eval.board.run import SuiteCommand
from eval.measuring import measured
from eval.samples import select
from eval.stats import Number, agreement
from eval.studies.features import matrix
from eval.studies.tools import TOOLS, measure_all, open_tools
from eval.study import FEWER, Context, Heading, Line, Loading, Predicted, argument, option
from eval.writing import write_text
from mllm_avqa.media import MediaReader
from mllm_avqa.model.prompting import SEES
from mllm_avqa.schema.clip import DecodeSpec
from mllm_avqa.schema.errors import AvqaError
from mllm_avqa.schema.rating import ASPECTS
from mllm_avqa.schema.records import Record, read_records

log = logging.getLogger(__name__)
PUBLISHED = Path(__file__).parent.parent / "published.yaml"
ON_FROZEN = "ridge on frozen EfficientNet-Lite0 (cross-validated)"


class People(Predicted, Loading):
    """SRCC per set with 95 % intervals, beside forests on the same facts, tools, and what others published.

    Sets with an official test split are measured on it, the others whole. Writes OUTPUT/leaderboard.html, .md, .json.
    """

    command: ClassVar[str] = "people"
    kind: ClassVar[str] = "people"
    shown: ClassVar[Heading] = Heading("With people", headline=("", "", "SRCC"))

    sets: tuple[Path, ...] = argument("Record files of sets that people rated (`data_recipes convert`).")
    checkpoint: tuple[str, ...] = option(("nano",), "Checkpoint; may be repeated.", place="command")
    output: Path = option(
        Path("runs/people"), "Folder for the page and what is kept.", "--output", "-o", place="command"
    )
    clips: int | None = option(None, FEWER, "--limit", ge=1)
    tool: tuple[str, ...] = option((), f"Baseline beside it: {', '.join(TOOLS)}; may be repeated.")
    forest: bool = option(True, "Forests on the measured facts, cross-validated by content.", "--forest/--no-forest")
    frozen: bool = option(False, "A ridge on frozen features of the picture, cross-validated by content.")
    context: Context = option("none", "Text to look for.")
    draws: int = Field(default=1000, ge=100)

    def main(self) -> int:
        """As a suite of one task, so that what was rated is kept and every line can be repeated."""
        own = self.model_dump(mode="json", include={"clips", "tool", "forest", "frozen", "context", "draws"})
        task = {"kind": self.kind, "name": "people", "sets": [str(p.resolve()) for p in self.sets], **own}
        suite = self.output / "people.yaml"
        write_text(suite, yaml.safe_dump({"name": "people", "tasks": [task]}, sort_keys=False))
        loading = {name: getattr(self, name) for name in Loading.model_fields}
        return SuiteCommand(
            suite=suite, checkpoints=self.checkpoint, output=self.output, as_json=self.as_json, **loading
        ).main()

    def files(self) -> list[Path]:
        return list(self.sets)

    def chosen(self, bench: Bench) -> Iterator[tuple[Path, list[Record]]]:
        for path in self.sets:
            records = list(read_records(path))
            split = "test" if any(r.split == "test" for r in records) else "all"
            for name in dict.fromkeys(r.dataset for r in records):
                own = [r for r in records if r.dataset == name]
                yield path, select(own, split, bench.at_most(self.clips), str(path))

    def lines(self, bench: Bench) -> Iterator[Line]:
        for path, records in self.chosen(bench):
            scores = bench.predict(self, records, path.parent)["full"]
            for aspect in _labelled(records):
                given = {r.id: scores[r.id][aspect].score for r in records if aspect in scores.get(r.id, {})}
                yield self._line(records, aspect, given, bench.who, bench.command(self), baseline=False)

    def alone(self, bench: Bench) -> Iterator[Line]:
        for path, records in self.chosen(bench):
            command = bench.command(self)
            for who, aspect, given in self._baselines(bench, path, records):
                yield self._line(records, aspect, given, who, command)
            for aspect in _labelled(records):
                for p in _published().get(records[0].dataset, {}).get(aspect, []):
                    bench.notes.append(f"{records[0].dataset}: {p['who']} is quoted, not measured here: {p['source']}")
                    values = {"SRCC": Number(value=p["srcc"])}
                    what = f"{records[0].dataset}, {aspect}"
                    yield Line(what=what, who=f"published: {p['who']}", values=values, n=0, baseline=True)

    def _baselines(
        self, bench: Bench, path: Path, records: list[Record]
    ) -> Iterator[tuple[str, str, dict[str, float]]]:
        """Name, aspect and numbers by record id of everything that can be run here."""
        base = path.parent
        aspects = _labelled(records)
        if self.forest:
            facts, failed = measured(records, base, bench.settings.kept / "facts", context=self.context)
            bench.lost |= failed
            for aspect in aspects:
                rows = [r for r in records if aspect in r.labels and r.id in facts]
                names = sorted({m.name for r in rows for m in facts[r.id] if m.modality in SEES[aspect]})
                x = matrix(rows, facts, names)
                yield baselines.ON_FACTS, aspect, _cross(rows, aspect, x, baselines.forest)
        tools = [t for t in self.tool if TOOLS[t].aspect in aspects]
        if tools:
            key = ["tools", tools, bench.samples.keys(records, base, "none")]
            found = bench.remember(key, lambda: _tools(records, base, tools), model=False)
            bench.lost |= found["failed"]
            for t in tools:
                sign = -1.0 if TOOLS[t].falls else 1.0
                yield t, TOOLS[t].aspect, {i: sign * n[t] for i, n in found["numbers"].items() if t in n}
        if self.frozen and "video" in aspects:
            key = ["frozen", bench.samples.keys(records, base, "none")]
            found = bench.remember(key, lambda: _features(records, base), model=False)
            bench.lost |= found["failed"]
            rows = [r for r in records if r.id in found["features"]]
            x = np.array([found["features"][r.id] for r in rows])
            yield ON_FROZEN, "video", _cross(rows, "video", x, frozen.ridge)

    def _line(
        self,
        records: Sequence[Record],
        aspect: str,
        given: dict[str, float],
        who: str,
        command: str,
        *,
        baseline: bool = True,
    ) -> Line:
        labelled = [r for r in records if aspect in r.labels]
        rated = [r for r in labelled if np.isfinite(given.get(r.id, np.nan))]
        found = agreement(
            np.array([given[r.id] for r in rated]),
            np.array([r.labels[aspect].mean_five for r in rated]),
            groups=[r.group for r in rated],
            total=len(labelled),
            draws=self.draws,
        )
        values = {"SRCC": found.srcc, "PLCC": found.plcc_mapped}
        what = f"{records[0].dataset}, {aspect}"
        return Line(what=what, who=who, values=values, n=found.n, of=found.m, baseline=baseline, command=command)


def _labelled(records: Sequence[Record]) -> list[str]:
    return [a for a in ASPECTS if any(a in r.labels for r in records)]


def _cross(rows: Sequence[Record], aspect: str, x: np.ndarray, how: Any) -> dict[str, float]:
    """By record id; nothing where there are too few clips to learn from."""
    guess = baselines.crossed(rows, aspect, x, how)
    return {r.id: float(g) for r, g in zip(rows, guess, strict=True) if np.isfinite(g)}


def _tools(records: Sequence[Record], base: Path, names: Sequence[str]) -> dict[str, Any]:
    numbers, failed = measure_all(records, base, open_tools(names))
    return {"numbers": numbers, "failed": failed}


def _features(records: Sequence[Record], base: Path) -> dict[str, Any]:
    features = frozen.opened()
    found: dict[str, list[float]] = {}
    failed: dict[str, str] = {}
    with MediaReader() as reader:
        for r in records:
            try:
                clip = reader.read_clip(base / r.media, DecodeSpec(start=r.start or 0.0, audio=False))
                found[r.id] = [round(float(v), 5) for v in features(clip)]
            except (AvqaError, ValueError) as e:
                failed[r.id] = str(e).replace(f"{base}/", "")
    return {"features": found, "failed": failed}


@cache
def _published() -> dict[str, Any]:
    return yaml.safe_load(PUBLISHED.read_text(encoding="utf-8")) or {}
