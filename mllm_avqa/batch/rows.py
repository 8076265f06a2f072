"""One flat row per clip: the same columns in JSONL, CSV and Parquet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, field_validator

from mllm_avqa.schema.errors import AvqaError
from mllm_avqa.schema.plain import json_text, plain
from mllm_avqa.schema.rating import ASPECTS, Finding, Rating

LONGEST = 100_000  # characters of a cell: readers of CSV refuse more than 131,072


class FlatRow(BaseModel):
    """What a batch writes for one clip. Scores are 1-5, higher is better; a missing value is None and says why."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    path: str  # as it was listed: in the manifest, or on the command line
    file: str  # absolute path, with `user_text` the identity of the row
    user_text: str | None = None  # text given with the clip in the manifest
    content_hash: str = ""  # sha256 of the bytes; empty when the file could not be read
    status: Literal["ok", "error"]
    error_kind: str | None = None  # AvqaError.kind, e.g. "not_media", "timed_out"
    error: str | None = None
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
    overall_level: str | None = None
    video_level: str | None = None
    audio_level: str | None = None
    sync_level: str | None = None
    text_level: str | None = None
    overall_missing: str | None = None  # why there is no score
    video_missing: str | None = None
    audio_missing: str | None = None
    sync_missing: str | None = None
    text_missing: str | None = None
    faults: str | None = None  # measurements of severity moderate and worse, "name (severity)", worst first
    findings: str | None = None  # faults the model holds to be there: "kind (severity, probability, start-end s)"
    warnings: str | None = None
    explanation: str | None = None
    claims_supported: int | None = None
    claims_contradicted: int | None = None
    claims_unverified: int | None = None
    windows: int | None = None  # number of windows scored
    frames_used: int | None = None
    duration: float | None = None  # seconds
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    video_codec: str | None = None
    audio_codec: str | None = None
    sample_rate: int | None = None  # Hz
    channels: int | None = None
    language: str | None = None
    seconds: float | None = None  # wall time spent on the clip
    fingerprint: str = ""  # of the rater and the settings: rows with equal fingerprints are comparable

    @field_validator("*", mode="before")
    @classmethod
    def _readable(cls, value: object) -> object:
        return plain(value)[:LONGEST] if isinstance(value, str) else value


COLUMNS: tuple[str, ...] = tuple(FlatRow.model_fields)
_SERIOUS = ("severe", "strong", "moderate")


def fingerprint_text(parts: Mapping[str, str]) -> str:
    """One line for a fingerprint: `key=value` pairs sorted by key and separated by spaces."""
    return " ".join(f"{k}={v}" for k, v in sorted(parts.items()))


def json_line(cells: Mapping[str, Any]) -> bytes:
    """A row as one line of JSON."""
    return json_text(cells).encode() + b"\n"


def rating_row(
    rating: Rating, *, path: str, file: Path, user_text: str | None, content_hash: str, fingerprint: str
) -> FlatRow:
    """Flatten a rating. `path` is the name the user knows, `file` where it was read from."""
    cells: dict[str, Any] = {}
    for aspect in ASPECTS:
        dist = rating.scores.get(aspect)
        cells[aspect] = dist.score if dist else None
        cells[f"{aspect}_std"] = dist.std if dist else None
        cells[f"{aspect}_level"] = dist.level if dist else None
        cells[f"{aspect}_missing"] = None if dist else rating.missing.get(aspect, "not given by the rater")
    claims = [c.support for c in rating.claims]
    v, a = rating.media.video, rating.media.audio
    return FlatRow(
        path=path,
        file=str(file),
        user_text=user_text,
        content_hash=content_hash,
        status="ok",
        **cells,
        faults=_faults(rating),
        findings="; ".join(map(_finding, rating.findings)) or None,
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
        audio_codec=a.codec if a else None,
        sample_rate=a.sample_rate if a else None,
        channels=a.channels if a else None,
        language=rating.language,
        seconds=rating.seconds.get("total", sum(rating.seconds.values())),
        fingerprint=fingerprint,
    )


def error_row(
    error: AvqaError, *, path: str, file: Path, user_text: str | None, content_hash: str, fingerprint: str
) -> FlatRow:
    """The row of a clip that could not be rated; the next run tries it again."""
    return FlatRow(
        path=path,
        file=str(file),
        user_text=user_text,
        content_hash=content_hash,
        status="error",
        error_kind=error.kind,
        error=str(error),
        fingerprint=fingerprint,
    )


def frames_used(rating: Rating) -> int | None:
    """Number of frames the model saw over all windows, from `inputs["windows"][*]["frame_times"]`; None if not told."""
    windows = rating.inputs.get("windows")
    if not isinstance(windows, list):
        return None
    return sum(len(w.get("frame_times", [])) for w in windows if isinstance(w, dict))


def _faults(rating: Rating) -> str | None:
    worst = [f"{m.name} ({m.severity})" for s in _SERIOUS for m in rating.evidence if m.severity == s]
    return "; ".join(worst) or None


def _finding(f: Finding) -> str:
    sure = f.origin if f.probability is None else f"{f.probability:.2f}"
    return f"{f.kind} ({f.severity}, {sure}{'' if f.span is None else f', {f.span[0]:g}-{f.span[1]:g} s'})"
