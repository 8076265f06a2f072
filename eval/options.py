"""Multiple choice without generation: every option of every question of a clip is one branch of a single forward pass.

What an option is worth ("logprob", `decisive`):
- Options without letters are answers that a model is taught word for word ("severe", "from 1 to 2 s"): the value is the
  log-probability of the whole answer, the sum over its tokens with the closing one. This is `acc` of
  lm-evaluation-harness (lm_eval/api/task.py), and the only value whose exponentials are probabilities.
- Lettered options ("B. noise"): the letter alone decides, as in MMLU (Hendrycks et al., ICLR 2021). What follows it is
  copied from the question, and a rare name would cost an option for nothing.
"mean" is the mean over all tokens of the answer instead, as GPT-3 was measured (Brown et al., NeurIPS 2020, section
2.4); `acc_norm` of lm-evaluation-harness is its kin, which divides by the length in characters. It suits models that
were never taught the answers, and favours long options whose ends follow from their beginnings.

Branches never see each other, so the order of options does not matter.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from string import ascii_uppercase
from typing import Any, Literal

import torch

from mllm_avqa.model.backbones.base import Backbone
from mllm_avqa.model.prompting import Branch
from mllm_avqa.model.rows import EncodedBranch, EncodedSegment, collate, pack
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.records import Question, Record

CLOSED = 8  # a task with at most this many different answers offers all of them, others a draw of `DRAWN`
DRAWN = 4
Rule = Literal["logprob", "mean"]
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
    rule: Rule = "logprob",
) -> list[list[float]]:
    """Value (natural log, fp32) of every option of every choice, one forward for all choices of the clip."""
    branches: list[EncodedBranch] = []
    answers: list[list[int]] = []
    for c in choices:
        own = [backbone.encode_branch(Branch(c.aspect, c.question, "", o)) for o in c.options]
        branches += own
        answers += decisive([b.ids[b.stem_end + 1 :] for b in own], c.lettered, rule)
    row = pack(segments, branches, media, isolate)
    device = next(backbone.model.parameters()).device
    batch = on_device(collate([row], backbone.tokenizer.pad_token_id), device)
    values: list[float] = []
    with torch.inference_mode():
        hidden = backbone.hidden(batch).last_hidden_state[0]
        for start, b, answer in zip(row.starts, row.branches, answers, strict=True):
            at = start + b.stem_end
            values.append(answer_value(backbone.head()(hidden[at : at + len(answer)]), answer, rule))
    out, i = [], 0
    for c in choices:
        out.append(values[i : i + len(c.options)])
        i += len(c.options)
    return out


def decisive(answers: Sequence[list[int]], lettered: bool, rule: Rule) -> list[list[int]]:
    """The tokens of every option's answer that its value is taken from.

    Of lettered options these are the first ones that tell all options apart: the letter, whatever stands before it or
    is joined to it by the tokenizer.
    """
    if rule == "mean" or not lettered:
        return list(answers)
    longest = max(map(len, answers))
    apart = (k for k in range(1, longest) if len({tuple(a[:k]) for a in answers}) == len(answers))
    first = next(apart, longest)
    return [a[:first] for a in answers]


def answer_value(logits: torch.Tensor, answer: Sequence[int], rule: Rule) -> float:
    """Sum, or mean, of the log-probabilities of these tokens; logits [tokens, vocabulary] predict them in turn."""
    log_probs = torch.log_softmax(logits.float(), -1)
    own = log_probs.gather(1, torch.tensor(answer, device=logits.device)[:, None])
    return float(own.mean() if rule == "mean" else own.sum())


def on_device(x: Any, device: torch.device) -> Any:
    return {k: on_device(v, device) for k, v in x.items()} if isinstance(x, dict) else x.to(device)


def best(values: Sequence[float]) -> int:
    """Index of the most probable option; the first of equals."""
    return max(range(len(values)), key=lambda i: values[i])
