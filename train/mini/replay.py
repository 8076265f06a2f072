"""The base's own answers to general questions, asked again while it learns to rate, so that it keeps its language.

`replay.jsonl` was written by the base itself, behind the system prompt of this project (`python -m train.mini replay`).
"""

from __future__ import annotations

import json
import random
import re
from functools import cache
from pathlib import Path
from typing import Any

import torch

from mllm_avqa.model.backbones.base import Backbone
from mllm_avqa.model.prompting import CHAT, Branch, Segment, Trusted, load_prompts
from mllm_avqa.schema.files import whole_file
from train.questions import Sample

ANSWERS = Path(__file__).parent / "replay.jsonl"
QUESTIONS = Path(__file__).parent / "replay.txt"
TOKENS = 56  # of an answer at most; it ends with its last whole sentence


@cache
def answers() -> tuple[dict[str, str], ...]:
    """{"question", "answer"} each."""
    return tuple(json.loads(line) for line in ANSWERS.read_text(encoding="utf-8").splitlines())


def replayed(items: list[dict[str, Any]], rng: random.Random) -> list[Sample]:
    """A row for each item, which lends its name alone: no clip is shown, one general question asked."""
    drawn = (rng.choice(answers()) for _ in items)
    return [
        Sample(i["record"], i["window"], [_branch(d["question"], d["answer"])], "en", only=("system",))
        for i, d in zip(items, drawn, strict=True)
    ]


def _branch(question: str, answer: str = "") -> Branch:
    return Branch(CHAT, question, "", answer, quoted=True)


@torch.no_grad()
def write(backbone: Backbone, batch: int = 16) -> int:
    """Greedy answers of an untrained base to `QUESTIONS`, cut after their last whole sentence. Returns how many."""
    system = backbone.encode_segment(Segment("system", (Trusted(load_prompts("rating", "en")["system"]),)), {}).ids
    asked = [q for q in QUESTIONS.read_text(encoding="utf-8").splitlines() if q and not q.startswith("#")]
    lines = []
    for k in range(0, len(asked), batch):
        some = asked[k : k + batch]
        rows = [[*system, *backbone.encode_branch(_branch(q)).ids] for q in some]
        longest = max(map(len, rows))
        pads = [longest - len(r) for r in rows]
        tokens = backbone.tokenizer
        ids = torch.tensor([[tokens.pad_token_id] * p + r for p, r in zip(pads, rows, strict=True)])
        mask = torch.tensor([[0] * p + [1] * len(r) for p, r in zip(pads, rows, strict=True)])
        found = backbone.model.generate(
            input_ids=ids, attention_mask=mask, max_new_tokens=TOKENS, do_sample=False, eos_token_id=backbone.end_id,
            pad_token_id=tokens.pad_token_id, repetition_penalty=1.1,
        )  # fmt: skip
        for question, row in zip(some, found, strict=True):
            text = tokens.decode(row[longest:], skip_special_tokens=True).strip()
            whole = re.sub(r"\s+\d+\.$", "", text[: max(text.rfind(e) for e in ".!?") + 1])  # a list cut at a number
            if whole:
                lines.append(json.dumps({"question": question, "answer": whole}, ensure_ascii=False))
    with whole_file(ANSWERS) as part:
        part.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return len(lines)
