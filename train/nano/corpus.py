"""Text a tokenizer is trained on: every prompt, the questions and answers of the records, and plain numbers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from mllm_avqa.evidence import SOURCES
from mllm_avqa.model.prompting import SEES, aspect_branch
from mllm_avqa.schema.levels import WORDS
from mllm_avqa.schema.measurement import SEVERITIES
from mllm_avqa.schema.records import Record


def corpus(records: list[Record], limit: int = 3000) -> Iterator[str]:
    """Strings; level words after every stem come often enough to be single tokens."""
    for _ in range(200):
        for language in ("en", "zh"):
            for aspect in SEES:
                for level in WORDS:
                    b = aspect_branch(aspect, language, level=level)
                    yield f"{b.question}\n{b.stem}{b.answer}"
    for _ in range(100):
        yield "system\nuser\nassistant\n Facts: none: " + ", ".join(SOURCES) + "; " + " ".join(SEVERITIES)
        yield "; ".join(f"{n} {s}" for n in SOURCES for s in SEVERITIES)
        yield " px; dB; LUFS; Hz; kHz; ms; s; fps; % ;"
    for path in sorted((Path(__file__).parents[2] / "prompts").glob("*.yaml")):
        yield from _strings(yaml.safe_load(path.read_text(encoding="utf-8")))
    for r in records[:limit]:
        for q in r.questions:
            yield q.question
            yield q.answer


def _strings(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict):
        for v in node.values():
            yield from _strings(v)
    elif isinstance(node, list):
        for v in node:
            yield from _strings(v)
