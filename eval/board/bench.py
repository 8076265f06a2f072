"""`Bench`: what a task kind gets. Predictions and results of one checkpoint, made once and kept by content."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from eval.samples import Checkpoint, Samples, identify, write_labels
from eval.store import SCORING, Log, Shelf, code, digest
from eval.study import Loading, Predicted, Rated, Recorded, Study, argument, option, shell
from eval.writing import told, write_text
from mllm_avqa.schema.errors import AvqaError, ConfigError
from mllm_avqa.schema.rating import ScoreDistribution
from mllm_avqa.schema.records import Record, read_records

if TYPE_CHECKING:
    from eval.held_out import HeldOut
    from mllm_avqa.rater import Rater

log = logging.getLogger(__name__)
R = TypeVar("R", bound="Recorded")
ScoresById = dict[str, dict[str, ScoreDistribution]]  # by record id and aspect


class SuiteRun(Loading):
    """Of a run of a suite. `limit`: clips or items per task, evenly spread; `chunk`: clips held in memory at once."""

    suite: Path = argument("Tasks, e.g. eval/suites/nano.yaml.", metavar="SUITE.yaml")
    checkpoints: tuple[str, ...] = argument(
        "'nano', directories, or a pattern with {fold} of one per split (kind splits).", metavar="CHECKPOINT..."
    )
    output: Path = option(..., "Folder for the page, its data and what repeats it.", "--output", "-o")
    only: tuple[str, ...] = option((), "Name of a task; may be repeated.")
    limit: int | None = option(None, "At most this many clips or items a task.", ge=1)
    cache: Path | None = option(None, "Folder of kept predictions; default: OUTPUT/cache.")
    chunk: int = option(8, "Clips held in memory at once.", ge=1)
    fresh: bool = option(False, "Rate everything again.")
    as_json: bool = option(False, "Print everything as JSON instead of tables.", "--json")

    @property
    def kept(self) -> Path:
        """Folder of the cache."""
        return self.cache or self.output / "cache"


@dataclass
class Stopwatch:
    """Seconds spent in models and in what feeds them; the rest of a run is the suite's own."""

    model: float = 0.0
    _inside: bool = False

    @contextmanager
    def running(self) -> Iterator[None]:
        """Counts its block; a block inside another one is counted with it."""
        if self._inside:
            yield
            return
        begin, self._inside = time.perf_counter(), True
        try:
            yield
        finally:
            self._inside = False
            self.model += time.perf_counter() - begin


@dataclass
class Bench:
    """One checkpoint in one run; use it in a `with` block.

    checkpoint None: what belongs to no checkpoint, or, with `pattern`, a checkpoint per split (`fold`).
    """

    checkpoint: Checkpoint | None
    settings: SuiteRun
    samples: Samples
    clock: Stopwatch
    who: str = ""
    pattern: str = ""  # "runs/mine/fold{fold}"
    lost: dict[str, str] = field(default_factory=dict)  # of the task at hand: clip or item -> why it has no result
    notes: list[str] = field(default_factory=list)  # of the task at hand
    failed: dict[str, str] = field(default_factory=dict)  # of the task at hand: a baseline that has no lines -> why
    _raters: dict[str, Rater] = field(default_factory=dict)
    _folds: dict[int, Bench] = field(default_factory=dict)
    _log: Log | None = None
    _open: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *error: object) -> None:
        self.release()
        self._open.close()

    @property
    def given(self) -> str:
        """The checkpoint as it was typed. Raises ConfigError where there is none."""
        return self._need().given

    @property
    def identity(self) -> str:
        return "" if self.checkpoint is None else self.checkpoint.identity

    def path(self, folder: str, task: Study, ending: str) -> Path:
        """OUT/folder/task.who-ending: a file of this checkpoint and task."""
        name = "".join(f"{x}." for x in (task.name, self.who) if x)
        return self.settings.output / folder / (re.sub(r"[^\w.+-]", "_", name) + ending)

    def command(self, task: Study) -> str:
        """Repeats the task for this checkpoint."""
        s = self.settings
        given = [x for x in (self.pattern or (self.checkpoint and self.checkpoint.given),) if x]
        limit = ["--limit", str(s.limit)] if s.limit is not None else []
        return shell("suite", s.suite, *given, "--only", task.name, *limit, "-o", s.output)

    def at_most(self, clips: int | None) -> int | None:
        """A task's own number of clips, or --limit where that is less."""
        given = [n for n in (clips, self.settings.limit) if n is not None]
        return min(given) if given else None

    def key(self, task: Rated, records: Path, split: str) -> list[object]:
        """What a result on a split of a record file depends on, apart from the checkpoint."""
        found = (r for r in read_records(records) if split in ("all", r.split))
        hashes = self.samples.keys(found, records.parent, task.context)
        return [task.asked(), self.settings.precision, self.samples.file(records), hashes, self.settings.limit]

    # ---- predictions ----------------------------------------------------------------------------------------------

    def predict(
        self, task: Predicted, records: Sequence[Record], base: Path, shown: Sequence[str] = ("full",)
    ) -> dict[str, ScoresById]:
        """ScoresById by way of showing (`conditions.SHOWN`). What is in the cache is not rated again.

        A clip without the modality that a way needs is left out of it; a clip that cannot be rated goes to `lost` and
        is tried again in the next run. Raises CheckpointError for a checkpoint that does not load.
        """
        file = self._cache()
        keys: dict[str, dict[str, str]] = {}
        for r in records:
            try:
                sample = self.samples.key(r, base, task.context)
            except AvqaError as e:
                self.lost[r.id] = f"{e.kind}: {told(e, base, r.media)}"
                continue
            parts = "rating", sample, task.context, task.language, *self.settings.precision
            keys[r.id] = {way: digest(*parts, way) for way in shown}
        todo = [r for r in records if any(not file.has(k) for k in keys.get(r.id, {}).values())]
        log.info("%s, %s: %d of %d clips to rate", task.name, self.who, len(todo), len(records))
        for r, way, row in self._rated(task, todo, base, keys, file) if todo else ():
            file.add(keys[r.id][way], row)
        out: dict[str, ScoresById] = {way: {} for way in shown}
        for name, by_way in keys.items():
            for way, key in by_way.items():
                if file.has(key) and "scores" in file.rows[key]:
                    found = file.rows[key]["scores"]
                    out[way][name] = {a: ScoreDistribution.model_validate(s) for a, s in found.items()}
        return out

    def _rated(
        self, task: Predicted, records: list[Record], base: Path, keys: dict[str, dict[str, str]], file: Log
    ) -> Iterator[tuple[Record, str, dict[str, Any]]]:
        from eval.held_out import NEEDS, SHOWN, chunks, clip_scores

        rater = self.rater(task.context)
        with self.clock.running():
            for chunk in chunks(records, base, rater, self.settings.chunk, self.lost):
                for way in keys[records[0].id]:
                    clips: list[HeldOut] = []
                    for c in (c for c in chunk if not file.has(keys[c.record.id][way])):
                        if NEEDS.get(way) in c.windows[0].missing:
                            yield c.record, way, {"status": "unsupported", "why": f"no {NEEDS[way]}"}
                        else:
                            clips.append(c)
                    for c, scores in zip(clips, clip_scores(rater, clips, task.language, SHOWN[way]), strict=True):
                        yield (
                            c.record,
                            way,
                            {
                                "status": "answered",
                                "id": c.record.id,
                                "shown": way,
                                "scores": {a: s.model_dump(exclude_none=True) for a, s in scores.items()},
                            },
                        )
                rater.corridor.forget()

    def labels(self, task: Study, records: list[Record], base: Path) -> Path:
        """The records that a task measures, as a label file of their own."""
        path = self.settings.output / "labels" / (re.sub(r"[^\w.+-]", "_", task.name) + ".jsonl")
        return write_labels(path, records, base)

    def table(self, task: Study, records: Sequence[Record], scores: ScoresById, way: str = "full") -> Path | None:
        """Predictions as a file for `python -m eval correlate`; None where there are none at all."""
        if not scores:
            return None
        path = self.path("predictions", task, "jsonl" if way == "full" else f"{way}.jsonl")
        rows: list[dict[str, Any]] = []
        for r in records:
            row: dict[str, Any] = {"id": r.id, "path": r.media}
            if r.id in scores:
                rows.append(row | {"status": "ok"} | {a: s.score for a, s in scores[r.id].items()})
            elif way == "full":
                kind, _, why = self.lost.get(r.id, "error: not rated").partition(": ")
                rows.append(row | {"status": "error", "error_kind": kind, "error": why})
        write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        return path

    # ---- whole results --------------------------------------------------------------------------------------------

    def remember(
        self,
        parts: Sequence[object],
        make: Callable[[], dict[str, Any]],
        whole: Callable[[dict[str, Any]], bool] = lambda _: True,
        *,
        model: bool = True,
    ) -> dict[str, Any]:
        """A result that JSON can write, from the cache when `parts` and checkpoint are the same.

        whole: false for a result that something is missing from; it is not kept. model: false where `make` needs none.
        """
        shelf = Shelf(self.settings.kept / "results", code(*SCORING, "eval"), fresh=self.settings.fresh)
        found: dict[str, Any] | None = shelf.get(self.identity, *parts)
        if found is not None:
            return found
        with self.clock.running() if model else nullcontext():
            result = make()
        if whole(result):
            shelf.put(result, self.identity, *parts)
        return result

    def measured(self, made: R, run: Callable[[R], dict[str, Any]], *more: object) -> dict[str, Any]:
        """What `run` gives of a study of record files (as `Rated.on` makes it), with its failures told.

        more: what else the result depends on. A result with failures is not kept.
        """
        key = [*self.key(made, made.records, made.split), *more]
        found = self.remember(key, lambda: run(made.with_rater(self.rater(made.context))), lambda r: not r["failed"])
        self.lost |= found["failed"]
        return found

    # ---- the model ------------------------------------------------------------------------------------------------

    def rater(self, context: str) -> Rater:
        """The checkpoint, loaded when it is first needed; one model serves every context.

        Raises CheckpointError for one that does not load.
        """
        given = self._need().given
        if context not in self._raters:
            with self.clock.running():
                from mllm_avqa.rater import Rater

                one = next(iter(self._raters.values()), None)
                if one is None:
                    made = self.settings.load(given, context)
                else:
                    made = Rater(one.backbone, one.card, one.weights, context=context)
                self._raters[context] = made
        return self._raters[context]

    def release(self) -> None:
        """Give the model's memory back."""
        for rater in self._raters.values():
            rater.close()
        self._raters.clear()
        for bench in self._folds.values():
            bench.release()

    def fold(self, k: int) -> Bench:
        """The checkpoint of split k, or itself where it is the same for all splits. Raises CheckpointError."""
        if not self.pattern:
            return self
        self.release()
        if k not in self._folds:
            one = identify(self.pattern.format(fold=k))
            bench = Bench(one, self.settings, self.samples, self.clock, f"{self.who}.{k}", "", self.lost, self.notes)
            self._folds[k] = self._open.enter_context(bench)
        return self._folds[k]

    def _need(self) -> Checkpoint:
        if self.checkpoint is None:
            raise ConfigError(f"{self.pattern or 'this'} is a checkpoint per split: only tasks of kind splits take it")
        return self.checkpoint

    def _cache(self) -> Log:
        if self._log is None:
            path = self.settings.kept / f"{self.identity}.jsonl"
            self._log = self._open.enter_context(Log(path, self.identity, fresh=self.settings.fresh))
        return self._log
