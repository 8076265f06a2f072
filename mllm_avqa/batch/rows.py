"""One flat row per clip: the same columns in JSONL, CSV and Parquet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from mllm_avqa.evidence.catalogue import ALL_FACTS
from mllm_avqa.schema.errors import AvqaError
from mllm_avqa.schema.plain import json_text, plain
from mllm_avqa.schema.rating import ASPECTS, Finding, Rating

LONGEST = 100_000  # characters of a cell: readers of CSV refuse more than 131,072


class FlatRow(BaseModel):
    """What a batch writes for one clip: these columns, and one for every fact of the evidence catalogue.

    Scores are 1-5, higher is better; a missing value is None and says why. fields.yaml explains every column.
    """

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)
    __pydantic_extra__: dict[str, float | None]  # measured facts by name

    path: str
    file: str
    user_text: str | None = None
    id: str | None = None
    start: float | None = None
    end: float | None = None
    repeat: int | None = None
    content_hash: str = ""
    status: Literal["ok", "error"]
    error_kind: str | None = None
    error: str | None = None
    gate: str | None = None
    overall: float | None = None
    video: float | None = None
    audio: float | None = None
    sync: float | None = None
    text: float | None = None
    overall_std: float | None = None
    video_std: float | None = None
    audio_std: float | None = None
    sync_std: float | None = None
    text_std: float | None = None
    overall_low: float | None = None
    video_low: float | None = None
    audio_low: float | None = None
    sync_low: float | None = None
    text_low: float | None = None
    overall_high: float | None = None
    video_high: float | None = None
    audio_high: float | None = None
    sync_high: float | None = None
    text_high: float | None = None
    overall_level: str | None = None
    video_level: str | None = None
    audio_level: str | None = None
    sync_level: str | None = None
    text_level: str | None = None
    overall_missing: str | None = None
    video_missing: str | None = None
    audio_missing: str | None = None
    sync_missing: str | None = None
    text_missing: str | None = None
    faults: str | None = None
    severities: str | None = None
    findings: str | None = None
    finding_kinds: str | None = None
    finding_sides: str | None = None
    finding_severities: str | None = None
    remedies: str | None = None
    warnings: str | None = None
    explanation: str | None = None
    claims_supported: int | None = None
    claims_contradicted: int | None = None
    claims_unverified: int | None = None
    windows: int | None = None
    frames_used: int | None = None
    duration: float | None = None
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    video_codec: str | None = None
    video_bitrate: int | None = None
    audio_codec: str | None = None
    audio_bitrate: int | None = None
    sample_rate: int | None = None
    channels: int | None = None
    language: str | None = None
    seconds: float | None = None
    fingerprint: str = ""

    @field_validator("*", mode="before")
    @classmethod
    def _readable(cls, value: object) -> object:
        return plain(value)[:LONGEST] if isinstance(value, str) else value

    @model_validator(mode="before")
    @classmethod
    def _facts(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Every row has every fact, in the order of the catalogue, and nothing else."""
        if unknown := given.keys() - set(COLUMNS):
            raise ValueError(f"{min(unknown)!r} is no column of a row")
        own = {name: value for name, value in given.items() if name not in ALL_FACTS}
        return own | {name: given.get(name) for name in ALL_FACTS}


COLUMNS: tuple[str, ...] = (*FlatRow.model_fields, *ALL_FACTS)
_SERIOUS = ("severe", "strong", "moderate")
_ANY = (*_SERIOUS, "slight", "faint")


def fingerprint_text(parts: Mapping[str, str]) -> str:
    """One line for a fingerprint: `key=value` pairs sorted by key and separated by spaces."""
    return " ".join(f"{k}={v}" for k, v in sorted(parts.items()))


def fingerprint_of(rater: Mapping[str, str], settings: Mapping[str, str], explain: bool, full: bool) -> str:
    """Of the rows of a run: the rater, and what else changes a row."""
    parts = {**rater, **settings, "explain": "yes" if explain else "no"}
    if full:
        parts["full"] = "yes"
    return fingerprint_text({k: "_".join(v.split()) for k, v in parts.items()})


def json_line(cells: Mapping[str, Any]) -> bytes:
    """A row as one line of JSON."""
    return json_text(cells).encode() + b"\n"


def rating_row(rating: Rating, *, path: str, file: Path, **given: Any) -> FlatRow:
    """Flatten a rating. `path` is the name the user knows, `file` where it was read from; given: other own cells."""
    cells: dict[str, Any] = {name: m.value for name, m in rating.facts().items() if name in ALL_FACTS}
    for aspect in ASPECTS:
        dist = rating.scores.get(aspect)
        cells[aspect] = dist.score if dist else None
        cells[f"{aspect}_std"] = dist.std if dist else None
        cells[f"{aspect}_low"] = dist.interval.low if dist and dist.interval else None
        cells[f"{aspect}_high"] = dist.interval.high if dist and dist.interval else None
        cells[f"{aspect}_level"] = dist.level if dist else None
        cells[f"{aspect}_missing"] = None if dist else rating.missing.get(aspect, "not given by the rater")
    claims = [c.support for c in rating.claims]
    v, a = rating.media.video, rating.media.audio
    return FlatRow(
        path=path,
        file=str(file),
        status="ok",
        **given,
        **cells,
        faults=_graded(rating, _SERIOUS),
        severities=_graded(rating, _ANY),
        findings="; ".join(map(_finding, rating.findings)) or None,
        finding_kinds="; ".join(f.kind for f in rating.findings) or None,
        finding_sides="; ".join(f.side for f in rating.findings) or None,
        finding_severities="; ".join(f.severity for f in rating.findings) or None,
        remedies="; ".join(f"{r.text} (+{r.gain:.2f})" for r in rating.remedies) or None,
        warnings="; ".join(rating.warnings) or None,
        explanation=rating.explanation,
        claims_supported=claims.count("supported"),
        claims_contradicted=claims.count("contradicted"),
        claims_unverified=claims.count("unverified"),
        windows=len(rating.windows),
        frames_used=frames_used(rating),
        duration=rating.media.duration,
        width=v.width if v else None,
        height=v.height if v else None,
        fps=v.fps if v else None,
        video_codec=v.codec if v else None,
        video_bitrate=v.bitrate if v else None,
        audio_codec=a.codec if a else None,
        audio_bitrate=a.bitrate if a else None,
        sample_rate=a.sample_rate if a else None,
        channels=a.channels if a else None,
        language=rating.language,
        seconds=rating.seconds.get("total", sum(rating.seconds.values())),
    )


def error_row(error: AvqaError, *, path: str, file: Path, **given: Any) -> FlatRow:
    """The row of a clip that could not be rated; the next run tries it again."""
    return FlatRow(path=path, file=str(file), status="error", error_kind=error.kind, error=str(error), **given)


def frames_used(rating: Rating) -> int | None:
    """Number of frames the model saw over all windows, from `inputs["windows"][*]["frame_times"]`; None if not told."""
    windows = rating.inputs.get("windows")
    if not isinstance(windows, list):
        return None
    return sum(len(w.get("frame_times", [])) for w in windows if isinstance(w, dict))


def _graded(rating: Rating, severities: Sequence[str]) -> str | None:
    worst = [f"{m.name} ({m.severity})" for s in severities for m in rating.facts().values() if m.severity == s]
    return "; ".join(worst) or None


def _finding(f: Finding) -> str:
    sure = f.origin if f.probability is None else f"{f.probability:.2f}"
    return f"{f.kind} ({f.severity}, {sure}{'' if f.span is None else f', {f.span[0]:g}-{f.span[1]:g} s'})"
