"""Whoever scores a clip: a checkpoint, a chat server that takes videos, or a table of scores made elsewhere."""

from __future__ import annotations

import base64
import mimetypes
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mllm_avqa.model.endpoint import Endpoint, EndpointUnavailable, Reply
from mllm_avqa.model.prompting import load_prompts
from mllm_avqa.rater import Rater
from mllm_avqa.schema.errors import AvqaError, ConfigError, OutputError
from mllm_avqa.schema.levels import WORDS
from mllm_avqa.schema.names import ASPECTS

POINTS = dict(zip(WORDS, (5.0, 4.0, 3.0, 2.0, 1.0), strict=True))
MOST_BYTES = 20_000_000  # of a clip that is sent to a server


@dataclass(frozen=True)
class Given:
    """Scores of a clip by aspect, 1-5; widths of their 90 % intervals, where the judge tells them."""

    scores: dict[str, float]
    widths: dict[str, float] = field(default_factory=dict)


Judge = Callable[[Path, str | None], Given]  # a clip, and a text that comes with it. Raises AvqaError


def checkpoint(rater: Rater) -> Judge:
    def judge(path: Path, text: str | None) -> Given:
        told = rater.rate(path, user_text=text, explain=False).scores
        return Given(
            {a: d.score for a, d in told.items() if d is not None},
            {a: d.interval.high - d.interval.low for a, d in told.items() if d is not None and d.interval is not None},
        )

    return judge


def server(endpoint: Endpoint, aspects: tuple[str, ...] = ("overall", "video", "audio")) -> Judge:
    """Asks for one level word an aspect; where the server tells log-probabilities, the mean over the five levels."""
    words = load_prompts("rating", "en")
    asked = {a: words["aspects"][a]["question"] for a in aspects}

    def judge(path: Path, text: str | None) -> Given:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise ConfigError(f"{path.name}: {size} bytes, at most {MOST_BYTES} are sent to a server")
        kind = mimetypes.guess_type(path.name)[0] or "video/mp4"
        url = f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
        clip = {"type": "video_url", "video_url": {"url": url}}
        before = f"Text that comes with the clip: {text}" if text else ""
        scores: dict[str, float] = {}
        for aspect, question in asked.items():
            user: list[dict[str, Any]] = [clip, {"type": "text", "text": question}]
            found = _points(endpoint.ask(f"Answer with one word: {', '.join(WORDS)}.", user, top=20, before=before))
            if found is not None:
                scores[aspect] = found
        if not scores:
            raise EndpointUnavailable(f"{endpoint.url}: no answer to {path.name} holds one of {', '.join(WORDS)}")
        return Given(scores)

    return judge


def _points(reply: Reply) -> float | None:
    """The score of an answer: by the likelihood of the levels where it stands, or by the first level word in it."""
    for tops in reply.tops:
        levels = {w: p for token, p in tops.items() if (w := token.strip().lower()) in POINTS}
        if len(levels) >= 2:
            p = np.exp(np.array([*levels.values()]) - max(levels.values()))
            return float((p * [POINTS[w] for w in levels]).sum() / p.sum())
    said = (reply.text or "").lower().replace(".", " ").replace(",", " ").split()
    return next((POINTS[w] for w in said if w in POINTS), None)


def ratings(rows: Mapping[str, Mapping[str, Any]], base: Path, model: str = "") -> Judge:
    """Scores that are there already, by path; a clip with a text, or one that was made for the exam, has none.

    model: its columns are ASPECT_MODEL, as `features` writes them for each of its regressions.
    """
    column = {a: f"{a}_{model}" if model else a for a in ASPECTS}
    known = {str((base / path).resolve()): row for path, row in rows.items()}

    def judge(path: Path, text: str | None) -> Given:
        row = None if text is not None else known.get(str(path.resolve()))
        if row is None:
            raise OutputError(f"{path.name}: no row in the file of ratings")
        return Given({a: float(row[c]) for a, c in column.items() if row.get(c) not in (None, "")})

    return judge


def score_of(judge: Judge, path: Path, failed: dict[str, str], text: str | None = None) -> Given | None:
    """What the judge gives, or None and a note of why not."""
    try:
        return judge(path, text)
    except AvqaError as e:
        failed[path.name] = str(e)
        return None
