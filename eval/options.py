"""Multiple choice without generation: every option of every question of a clip is one branch of a single forward pass.

An option's value is the mean log-probability of its answer tokens, closing token included (length-normalised, so that a
long option is not punished for its length). Branches never see each other, so the order of options does not matter.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from string import ascii_uppercase
from typing import Any

import torch

from mllm_avqa.backbones.base import Backbone
from mllm_avqa.errors import ConfigError
from mllm_avqa.prompting import Branch
from mllm_avqa.records import Question, Record
from mllm_avqa.rows import EncodedBranch, EncodedSegment, collate, pack

CLOSED = 8  # a task with at most this many different answers offers all of them, others a draw of `DRAWN`
DRAWN = 4
LETTER = re.compile(r"\(?([A-Z])[.．、:：)）]")


@dataclass(frozen=True)
class Choice:
    """A question with everything that is offered as its answer."""

    task: str
    aspect: str
    question: str
    options: tuple[str, ...]
    right: int  # index in options

    @property
    def lettered(self) -> bool:
        """Whether the options carry the letters of their places ("A. blur", "B. noise")."""
        letters = [LETTER.match(o) for o in self.options]
        return all(m is not None and m[1] == a for m, a in zip(letters, ascii_uppercase, strict=False))


def answer_pool(records: Sequence[Record], stage: int = 1) -> dict[tuple[str, str], list[str]]:
    """Every answer that occurs, sorted, by (task, language), for questions that come without options."""
    pool: dict[tuple[str, str], set[str]] = {}
    for r in records:
        for q in r.questions:
            if q.stage == stage and not q.options:
                pool.setdefault((q.task, q.language), set()).add(q.answer)
    return {k: sorted(v) for k, v in pool.items()}


def choice(q: Question, pool: dict[tuple[str, str], list[str]], seed: str) -> Choice | None:
    """A question as a choice; None when nothing but the right answer is known. Equal seeds give equal draws.

    Raises ConfigError when the answer is not among the question's own options.
    """
    if q.options:
        options = list(q.options)
    else:
        options = pool.get((q.task, q.language), [])
        if len(options) > CLOSED:
            others = [o for o in options if o != q.answer]
            options = sorted([q.answer, *Random(seed).sample(others, DRAWN - 1)])
    if q.answer not in options:
        raise ConfigError(f"question {q.question!r}: the answer {q.answer!r} is not among its options {options}")
    if len(options) < 2:
        return None
    return Choice(q.task, q.aspect or "overall", q.question, tuple(options), options.index(q.answer))


def option_scores(
    backbone: Backbone,
    segments: list[EncodedSegment],
    media: dict[str, torch.Tensor],
    choices: Sequence[Choice],
    isolate: bool,
) -> list[list[float]]:
    """Mean log-probability (natural, fp32) of every option's answer tokens, one forward for all choices of the clip."""
    branches: list[EncodedBranch] = []
    for c in choices:
        branches += [backbone.encode_branch(Branch(c.aspect, c.question, "", o)) for o in c.options]
    row = pack(segments, branches, media, isolate)
    device = next(backbone.model.parameters()).device
    batch = on_device(collate([row], backbone.tokenizer.pad_token_id), device)
    values: list[float] = []
    with torch.inference_mode():
        hidden = backbone.hidden(batch).last_hidden_state[0]
        for start, b in zip(row.starts, row.branches, strict=True):
            at = torch.arange(start + b.stem_end, start + len(b.ids) - 1, device=hidden.device)
            wanted = torch.tensor(b.ids[b.stem_end + 1 :], device=hidden.device)
            log_probs = torch.log_softmax(backbone.head()(hidden[at]).float(), -1)
            values.append(float(log_probs.gather(1, wanted[:, None]).mean()))
    out, i = [], 0
    for c in choices:
        out.append(values[i : i + len(c.options)])
        i += len(c.options)
    return out


def on_device(x: Any, device: torch.device) -> Any:
    return {k: on_device(v, device) for k, v in x.items()} if isinstance(x, dict) else x.to(device)


def best(values: Sequence[float]) -> int:
    """Index of the most probable option; the first of equals."""
    return max(range(len(values)), key=lambda i: values[i])
