"""Descriptions to be judged: written by a checkpoint for the clips of a record file, or read from anybody's file."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from eval.held_out import HeldOut, chunks
from eval.joining import Entry, join, record_entry
from eval.store import SCORING, Json, Log, code, digest
from mllm_avqa.corridor import lowest
from mllm_avqa.model.explain import check_claims
from mllm_avqa.model.prompting import LANGUAGES, load_prompts
from mllm_avqa.model.scoring import summarise
from mllm_avqa.model.truth import reference
from mllm_avqa.rater import Rater
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.rating import ASPECTS, Claim, Rating
from mllm_avqa.schema.records import Record
from mllm_avqa.windows import worst_evidence

log = logging.getLogger(__name__)
CHUNK = 8  # clips decoded ahead
MOST_TOKENS = 240
TEXT_COLUMNS = ("explanation", "description", "text")
_CLAIMS = TypeAdapter(list[Claim])


@dataclass(frozen=True)
class Description:
    """What was said of one clip in one language. status: "answered", "unanswered" (empty), "failed", "missing"."""

    id: str
    language: str
    status: str
    text: str = ""
    scores: dict[str, float] = field(default_factory=dict)  # by aspect, 1-5
    claims: list[Claim] | None = None  # checked against the evidence; None: nobody did
    true_claims: list[Claim] | None = None  # those of the record's own description, checked in the same way
    why: str = ""


@dataclass(frozen=True)
class Texts:
    """Descriptions in the order of the records and languages, who wrote them, and what is to be said about them."""

    descriptions: list[Description]
    source: str
    fingerprint: dict[str, str]
    notes: list[str]


# ---- by a checkpoint ------------------------------------------------------------------------------------------------


def written(
    records: Sequence[Record], base: Path, rater: Rater, languages: Sequence[str], path: Path, *, fresh: bool = False
) -> Texts:
    """The rater's explanation of every clip, as `mllm-avqa rate --explain` gives it; `path` is the log to go on from.

    Raises OutputError for a log of another checkpoint or setting (-o).
    """
    prompts = [dict(load_prompts(n, x)) for n in ("rating", "claims", "questions", "explain") for x in languages]
    run = digest(rater.fingerprint, code(*SCORING, "eval/descriptions/texts.py"), prompts, MOST_TOKENS)
    keys = {
        (r.id, x): digest(r.media, r.start, r.end, r.context.get("user"), r.id, x) for r in records for x in languages
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with Log(path, run, fresh=fresh) as file:
        todo = [r for r in records if any(not file.has(keys[r.id, x]) for x in languages)]
        if len(todo) < len(records):
            log.info("%d of %d clips are in %s already", len(records) - len(todo), len(records), path.name)
        failures: dict[str, str] = {}
        for chunk in chunks(todo, base, rater, CHUNK, failures):
            for clip in chunk:
                for x in (x for x in languages if not file.has(keys[clip.record.id, x])):
                    file.add(keys[clip.record.id, x], _describe(clip, rater, x))
                clip.windows.clear()
            rater.corridor.forget()
        for r in todo:
            if r.id in failures:
                for x in languages:
                    file.add(keys[r.id, x], {"id": r.id, "language": x, "status": "failed", "why": failures[r.id]})
        file.tidy(keys.values())
        found = [_description(file.rows[key]) for key in keys.values()]
    return Texts(found, rater.card.name, rater.fingerprint, [])


def _describe(clip: HeldOut, rater: Rater, language: str) -> Json:
    """Scores and explanation of all windows; the text is about the one that hurts most, as in every rating."""
    encoded = rater.corridor.encode_clip(clip.windows, language)
    first, worst = clip.windows[0], clip.windows[lowest(encoded.window_scores)]
    rating = Rating(
        path=clip.record.media,
        scores={a: encoded.scores.get(a) for a in ASPECTS},
        missing=first.missing,
        evidence=worst_evidence(p.evidence for p in clip.windows),
        media=first.info,
        language=language,
    )
    rater.find(rating, encoded.worst, (worst.start, worst.end))
    rater.explain(rating, encoded.worst, MOST_TOKENS)
    text = rating.explanation or ""
    labelled = {a: summarise(lb.levels(), 1.0) for a, lb in clip.record.labels.items() if a in encoded.scores}
    true = rating.model_copy(update={"scores": {a: labelled.get(a) for a in ASPECTS}})
    return {
        "id": clip.record.id,
        "language": language,
        "status": "answered" if text else "unanswered",
        "text": text,
        "scores": {a: round(s.score, 4) for a, s in encoded.scores.items()},
        "claims": [c.model_dump() for c in rating.claims],
        "true_claims": _claims(reference(clip.record, language) or "", true),
    }


def _claims(text: str, rating: Rating) -> list[Json]:
    return [c.model_dump() for c in check_claims(text, rating, rating.language)]


def _description(row: Json) -> Description:
    known = {k: row[k] for k in ("id", "language", "status", "text", "scores", "why") if k in row}
    claims, true = (_CLAIMS.validate_python(row[k]) if k in row else None for k in ("claims", "true_claims"))
    return Description(**known, claims=claims, true_claims=true)


# ---- by anybody -----------------------------------------------------------------------------------------------------


class _Given(BaseModel):
    """The parts of a prediction row that are used. Others may be there."""

    model_config = ConfigDict(extra="ignore")

    text: str
    language: str | None = None
    scores: dict[str, float]
    claims: list[Claim] | None


def read_texts(path: Path, records: Sequence[Record], language: str) -> Texts:
    """Descriptions of a JSONL file: rows of `mllm-avqa score --explain [--full]`, or id or path with a text.

    The text is in `explanation`, `description` or `text`; scores by aspect may stand in the row or under `scores`. A
    row may name its `language`, else it is `language`. Clips are matched as in `eval.joining`. Raises ConfigError with
    file and line for what is not such a row.
    """
    if not path.is_file():
        raise ConfigError(f"predictions {path} do not exist (FILE)")
    by_language: dict[str, list[tuple[Entry, _Given | None]]] = {}
    for n, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        if line.strip():
            entry, given = _row(line, f"{path}:{n}")
            x = (given.language if given else None) or language
            if x not in LANGUAGES:
                raise ConfigError(f"{path}:{n}: language {x!r} is not one of {', '.join(LANGUAGES)}")
            by_language.setdefault(x, []).append((entry, given))
    if not by_language:
        raise ConfigError(f"{path} holds no descriptions (FILE)")
    out: list[Description] = []
    notes: list[str] = []
    for x, rows in by_language.items():
        texts = {id(e): g for e, g in rows}
        joined = join([e for e, _ in rows], [record_entry(r) for r in records])
        if not any(e for _, e in joined.pairs):
            raise ConfigError(f"{path}: no row belongs to a clip of the records, by id, path or name (--records)")
        notes += joined.notes
        if joined.unused:
            notes.append(f"{len(joined.unused)} descriptions belong to no clip of the records")
        for r, (_, e) in zip(records, joined.pairs, strict=True):
            out.append(_of(r, x, e, texts.get(id(e))))
    return Texts(out, path.name, {}, notes)


def _of(record: Record, language: str, entry: Entry | None, given: _Given | None) -> Description:
    if entry is None:
        return Description(record.id, language, "missing", why="no description")
    if given is None:
        return Description(record.id, language, "failed", why=entry.error or "")
    status = "answered" if given.text.strip() else "unanswered"
    return Description(record.id, language, status, given.text.strip(), given.scores, given.claims)


def _row(line: str, where: str) -> tuple[Entry, _Given | None]:
    try:
        row: Any = json.loads(line)
    except json.JSONDecodeError as e:
        raise ConfigError(f"{where}: not JSON: {e.msg}") from e
    if not isinstance(row, dict):
        raise ConfigError(f"{where}: not an object")
    names = [str(row[c]) for c in ("path", "file", "media") if row.get(c)]
    entry = Entry(str(row["id"]) if row.get("id") is not None else None, names, {})
    if row.get("status") == "error":
        entry.error = f"{row.get('error_kind')}: {row.get('error')}"
        return entry, None
    rating: Any = row["rating"] if isinstance(row.get("rating"), dict) else row
    column = next((c for c in TEXT_COLUMNS if c in rating), None)
    if column is None or not (entry.id or names):
        raise ConfigError(
            f"{where}: needs id, path, file or media, and one of {', '.join(TEXT_COLUMNS)}; there are: {', '.join(row)}"
        )
    scores = rating["scores"] if isinstance(rating.get("scores"), dict) else row
    numbers = {a: s["score"] if isinstance(s, dict) else s for a in ASPECTS if (s := scores.get(a)) is not None}
    try:
        given = _Given(
            text=rating[column] or "",
            language=rating.get("language"),
            scores={a: s for a, s in numbers.items() if not isinstance(s, str)},
            claims=rating["claims"] if rating.get("claims") else None,
        )
    except ValidationError as e:
        first = e.errors()[0]
        raise ConfigError(f"{where}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from e
    return entry, given
