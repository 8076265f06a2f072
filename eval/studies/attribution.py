"""What a checkpoint's scores rest on: held-out clips rated with every set of their inputs, one row per share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import typer
from pydantic import BaseModel, ConfigDict

from eval.board.bench import Bench
from eval.importance import Importance, Removal, importance, importance_markdown, removals, removals_markdown
from eval.samples import chosen
from eval.stats import Number
from eval.study import FEWER, Heading, Language, Line, Recorded, Report, command_line, option, save
from mllm_avqa.rater import Rater
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.rating import ASPECTS
from mllm_avqa.schema.records import Record

if TYPE_CHECKING:
    from eval.held_out import HeldOut

By = Literal["dataset", "group", "fault", "modality"]
CLASSES: dict[By, Callable[[Record], str]] = {
    "dataset": lambda r: r.dataset,
    "group": lambda r: r.group,
    "fault": lambda r: r.distortions[0].kind if r.distortions else "none",  # what a recipe lists first
    "modality": lambda r: "+".join(sorted({d.modality for d in r.distortions})) or "none",  # of the faults
}
WEIGHT, LEFT, LOST = "weight by {level}, {of}", "SRCC without it", "change of SRCC without it"


class AttributionStudy(Recorded):
    """Shapley shares of modalities and inputs per content class, and scores and SRCC with each of them taken away.

    Exits with 1 when clips could not be rated; they are left out and named.
    """

    command: ClassVar[str] = "attribution"
    kind: ClassVar[str] = "attribution"
    shown: ClassVar[Heading] = Heading(
        title="What scores rest on: Shapley shares in points, and what is lost without each input",
        headline=(WEIGHT.format(level="input", of="all clips"), "picture", "overall"),
        plain=frozenset(ASPECTS),
    )

    by: By = option(
        "dataset", "Content class: dataset, content group, first fault, or the modalities that have faults."
    )
    clips: int | None = option(None, FEWER, "--limit", ge=1)
    lang: tuple[Language, ...] = option(
        (), "Language of the prompts; default: the checkpoint's first.", place="command", max_length=1
    )
    budget: int = option(256, "Sets of inputs scored per clip; where there are more, shares are estimates.", ge=4)
    draws: int = option(1000, "Draws of the bootstrap.", ge=100)
    output: Path | None = option(
        None, "OUT.json: everything, with a row per clip and share.", "--output", "-o", place="command"
    )

    def run(self) -> Attributed:
        """Attribute the clips of a split and sum them up, for all of them and by class.

        Raises ConfigError for records without such a split, CheckpointError for the checkpoint.
        """
        from eval.held_out import chunks

        records = chosen(self.records, self.split, self.clips)
        failed: dict[str, str] = {}
        rows: list[dict[str, Any]] = []
        with self.opened() as rater:
            language = self.lang[0] if self.lang else rater.card.languages[0]
            for chunk in chunks(records, self.records.parent, rater, self.chunk, failed):
                rows += attribution_rows(chunk, rater, language, self.budget)
                rater.corridor.forget()
        if not rows:
            why = next(iter(failed.values()))
            raise ConfigError(f"{self.records}: none of {len(records)} clips could be rated: {why}")
        classes = {r.id: CLASSES[self.by](r) for r in records}
        for row in rows:
            row["class"] = classes[row["id"]]
        return Attributed(
            checkpoint=rater.card.name,
            weights=rater.weights,
            language=language,
            records={"file": self.records.name, "split": self.split, "clips": len({r["id"] for r in rows})},
            by=self.by,
            sampled=len({r["id"] for r in rows if r["error"] is not None}),
            importance=importance(rows, self.draws),
            removed=removals(rows, self.draws),
            failed=failed,
            rows=rows,
        )

    def report(self, found: Attributed) -> Report:
        if self.output is not None:
            save(self.output, found.model_dump_json(indent=1))
            typer.echo(f"wrote {len(found.rows)} rows to {self.output}", err=True)
        return Report(markdown(found), found.model_dump_json(indent=1, exclude={"rows"}), failed=found.failed)

    def lines(self, bench: Bench) -> Iterator[Line]:
        own = self.on(bench)
        found = bench.measured(own, lambda s: s.run().model_dump(mode="json", exclude={"rows"}))
        if found["sampled"]:
            bench.notes.append(f"{bench.who}: shares of single inputs are estimates for {found['sampled']} clips")
        for line in (*_weights(found["importance"], bench.who), *_losses(found["removed"], bench.who)):
            yield line.model_copy(update={"command": command_line(own)})


class Attributed(BaseModel):
    model_config = ConfigDict(extra="forbid")

    checkpoint: str
    weights: str
    language: str
    records: dict[str, object]
    by: str
    sampled: int  # clips whose shares of single inputs are estimates
    importance: list[Importance]
    removed: list[Removal]
    failed: dict[str, str]
    rows: list[dict[str, Any]]


def attribution_rows(clips: Sequence[HeldOut], rater: Rater, language: str, budget: int = 256) -> list[dict[str, Any]]:
    """One row per clip, aspect and player, for the modalities (`level` "modality") and single inputs ("input").

    share, error: Shapley share in points and its standard error (None when exact); full, empty, without: the aspect's
    score of everything, of nothing, and of everything but this player; label: on 1-5, None where there is none.
    """
    from eval.held_out import labels_of
    from mllm_avqa.model.attribution import attribute

    rows = []
    for clip in clips:
        found = attribute(
            clip.windows,
            lambda windows: rater.corridor.score_windows(windows, language),
            rater.corridor.pooled,
            budget=budget,
        )
        labels = labels_of(clip.record)
        for level, by_aspect in (("modality", found.modalities), ("input", found.inputs)):
            for aspect, s in by_aspect.items():
                for player, share in s.shares.items():
                    rows.append(
                        {
                            "id": clip.record.id,
                            "group": clip.record.group,
                            "aspect": aspect,
                            "level": level,
                            "player": player,
                            "share": share,
                            "error": s.errors.get(player),
                            "full": s.full,
                            "empty": s.empty,
                            "without": s.without[player],
                            "label": labels.get(aspect),
                        }
                    )
    return rows


# ---- tables ---------------------------------------------------------------------------------------------------------


def markdown(found: Attributed) -> str:
    """Importance by class, and what is lost without every modality and input."""
    clips = found.records["clips"]
    text = (
        f"{clips} clips of split `{found.records['split']}` of `{found.records['file']}`, {found.checkpoint}, prompts "
        f"in `{found.language}`. Mean absolute Shapley share in points of the 1-5 scale among the clips that have the "
        "modality or input (their number in brackets), its 95 % interval over redrawn contents, and its percentage of "
        "all that was weighed."
    )
    if found.sampled:
        text += f" Shares of single inputs are estimates for {found.sampled} clips."
    return "\n\n".join(
        [
            "## Modality importance",
            text,
            importance_markdown(found.importance),
            "## Taken away",
            "Everything else kept. Means are over the clips that have it, SRCC over all labelled clips; in brackets "
            "the change against everything given, with its paired interval.",
            removals_markdown(found.removed),
        ]
    )


def _weights(rows: list[dict[str, Any]], who: str) -> Iterator[Line]:
    """Mean absolute shares, in points of 1-5; single inputs of all clips only."""
    classes = list(dict.fromkeys(r["of"] for r in rows))
    if len(classes) == 2:  # all clips, and the one class that holds them all
        classes = classes[:1]
    for of in classes:
        for level in ("modality", "input") if of == "all" else ("modality",):
            own = [r for r in rows if (r["of"], r["level"]) == (of, level)]
            table = WEIGHT.format(level=level, of=f"{of} clips" if of == "all" else of)
            for player in dict.fromkeys(r["player"] for r in own):
                cells = {r["aspect"]: r for r in own if r["player"] == player}
                values = {a: Number.model_validate(r["weight"]) for a, r in cells.items()}
                yield Line(what=player, who=who, values=values, n=max(r["n"] for r in cells.values()), table=table)


def _losses(rows: list[dict[str, Any]], who: str) -> Iterator[Line]:
    everything = {r["aspect"]: r for r in rows}
    given = {a: Number.model_validate(r["srcc"]) for a, r in everything.items()}
    if given:
        n = max(r["labelled"] for r in everything.values())
        yield Line(what="(everything given)", who=who, values=given, n=n, table=LEFT)
    for table, statistic in ((LEFT, "srcc_without"), (LOST, "srcc_change")):
        for level, player in dict.fromkeys((r["level"], r["player"]) for r in rows):
            cells = {r["aspect"]: r for r in rows if (r["level"], r["player"]) == (level, player)}
            values = {a: Number.model_validate(r[statistic]) for a, r in cells.items()}
            n = max(r["labelled"] for r in cells.values())
            yield Line(what=f"{player} ({level})", who=who, values=values, n=n, table=table)
