"""What a checkpoint's scores rest on: held-out clips rated with every set of their inputs, one row per share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from eval.held_out import HeldOut, Judge, chunks, labels_of, opened
from eval.importance import Importance, Removal, importance, importance_markdown, removals, removals_markdown
from eval.measure import Settings as Chosen
from eval.measure import select
from mllm_avqa.model.attribution import BUDGET, attribute
from mllm_avqa.rater import Rater
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.records import Record, read_records

By = Literal["dataset", "group", "fault", "modality"]
CLASSES: dict[By, Callable[[Record], str]] = {
    "dataset": lambda r: r.dataset,
    "group": lambda r: r.group,
    "fault": lambda r: r.distortions[0].kind if r.distortions else "none",  # what a recipe lists first
    "modality": lambda r: "+".join(sorted({d.modality for d in r.distortions})) or "none",  # of the faults
}


@dataclass(frozen=True)
class Settings:
    """What to take apart. `by`: content classes; `budget`: sets of inputs per clip (`attribution.attribute`)."""

    split: str = "test"
    limit: int | None = None
    language: str | None = None  # None = the first of the card
    context: str = "fast"
    by: By = "dataset"
    budget: int = BUDGET
    chunk: int = 8
    threads: int | None = None
    draws: int = 1000  # of the bootstrap


class AttributionStudy(BaseModel):
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


def attribution_rows(
    clips: Sequence[HeldOut], judge: Judge, language: str, budget: int = BUDGET
) -> list[dict[str, Any]]:
    """One row per clip, aspect and player, for the modalities (`level` "modality") and single inputs ("input").

    share, error: Shapley share in points and its standard error (None when exact); full, empty, without: the aspect's
    score of everything, of nothing, and of everything but this player; label: on 1-5, None where there is none.
    """
    rows = []
    for clip in clips:
        found = attribute(
            clip.windows,
            lambda windows: judge.windows(windows, language),
            judge.corridor.pooled,
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


def study(records_file: Path, checkpoint: str, settings: Settings, *, rater: Rater | None = None) -> AttributionStudy:
    """Attribute the clips of a split and sum them up, for all of them and by class.

    rater: the checkpoint's, open already, with the context of the settings. Raises ConfigError for records without such
    a split, CheckpointError for the checkpoint.
    """
    records = select(list(read_records(records_file)), Chosen(split=settings.split, limit=settings.limit))
    failed: dict[str, str] = {}
    rows: list[dict[str, Any]] = []
    with opened(rater, checkpoint, context=settings.context, threads=settings.threads) as rater:
        language = settings.language or rater.card.languages[0]
        judge = Judge(rater)
        for chunk in chunks(records, records_file.parent, rater, settings.chunk, failed):
            rows += attribution_rows(chunk, judge, language, settings.budget)
            judge.forget()
    if not rows:
        raise ConfigError(f"{records_file}: none of {len(records)} clips could be rated: {next(iter(failed.values()))}")
    classes = {r.id: CLASSES[settings.by](r) for r in records}
    for row in rows:
        row["class"] = classes[row["id"]]
    return AttributionStudy(
        checkpoint=rater.card.name,
        weights=rater.weights,
        language=language,
        records={"file": records_file.name, "split": settings.split, "clips": len({r["id"] for r in rows})},
        by=settings.by,
        sampled=len({r["id"] for r in rows if r["error"] is not None}),
        importance=importance(rows, settings.draws),
        removed=removals(rows, settings.draws),
        failed=failed,
        rows=rows,
    )


def markdown(found: AttributionStudy) -> str:
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
