"""Answers read from log-probabilities: as branches of one forward, or behind an encoded prefix.

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

option is a few tokens more, or none where its letter decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from string import ascii_uppercase
from typing import Literal

import torch

from eval.questions.task import AskedItem
from mllm_avqa.model.backbones.base import Backbone
from mllm_avqa.model.prompting import Branch
from mllm_avqa.model.rows import EncodedBranch, EncodedSegment, collate, pack
from mllm_avqa.model.scoring import EncodedClip, on_device
from mllm_avqa.schema.errors import CheckpointError, ConfigError
from mllm_avqa.schema.records import Question, Record

CLOSED = 8  # a task with at most this many different answers offers all of them, others a draw of `DRAWN`
DRAWN = 4
Rule = Literal["logprob", "mean"]
LETTER = re.compile(r"\(?([A-Z])[.．、:：)）]")


@dataclass(frozen=True)
class Readout:
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


def choice(q: Question, pool: dict[tuple[str, str], list[str]], seed: str) -> Readout | None:
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
    return Readout(q.task, q.aspect or "overall", q.question, tuple(options), options.index(q.answer))


def option_scores(
    backbone: Backbone,
    segments: list[EncodedSegment],
    media: dict[str, torch.Tensor],
    choices: Sequence[Readout],
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
    batch = on_device(collate([row], backbone.tokenizer.pad_token_id), backbone)
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


def best(values: Sequence[float]) -> int:
    """Index of the most probable option; the first of equals."""
    return max(range(len(values)), key=lambda i: values[i])


BUDGET = 2048  # tokens of questions in one forward


@dataclass
class _Block:
    """One question and its options as tokens; options see the question and themselves, never another option."""

    aspect: str
    question: list[int]
    answers: list[list[int]]
    starts: list[int] = field(default_factory=list)  # of each answer's tokens in the block

    def __post_init__(self) -> None:
        at = len(self.question)
        for a in self.answers:
            self.starts.append(at)
            at += len(a) - 1  # the last token is only predicted
        self.length = at


def option_values(
    clip: EncodedClip, asked: Sequence[AskedItem], budget: int = BUDGET, rule: Rule = "logprob"
) -> list[list[float]]:
    """Natural-log values (fp32) of every option of every question, by place. The clip's cache is left as it was."""
    blocks = [_block(clip, a, rule) for a in asked]
    out: list[list[float]] = []
    for part in _parts(blocks, budget):
        out += _forward(clip, part, rule)
    return out


def word_logits(clip: EncodedClip, branch: Branch, words: Sequence[str]) -> list[float]:
    """Raw logits (fp32) of single words right after the stem of a branch, before any softmax.

    Raises CheckpointError for a word that is not one token there.
    """
    b = clip.backbone
    bare = b.encode_branch(branch)
    ids = []
    for w in words:
        full = b.encode_branch(Branch(branch.aspect, branch.question, branch.stem, f" {w}", branch.quoted)).ids
        token = full[bare.stem_end + 1]
        if full[: bare.stem_end + 1] != bare.ids or b.tokenizer.decode([token]) != f" {w}":
            raise CheckpointError(f"{w!r} is not one token after {branch.stem!r}: the score needs it (--checkpoint)")
        ids.append(token)
    hidden = _behind(clip, [_Block(branch.aspect, bare.ids, [])])
    with torch.inference_mode():
        logits = b.head()(hidden[-1]).float()
    return [float(logits[i]) for i in ids]


def _block(clip: EncodedClip, a: AskedItem, rule: Rule) -> _Block:
    b = clip.backbone
    question = b.encode_branch(Branch(a.aspect, a.text, quoted=True)).ids
    answers = [b.encode_branch(Branch(a.aspect, a.text, "", o, quoted=True)).ids[len(question) :] for o in a.answers]
    return _Block(a.aspect, question, decisive(answers, a.lettered, rule))


def _parts(blocks: Sequence[_Block], budget: int) -> Iterator[list[_Block]]:
    part: list[_Block] = []
    for block in blocks:
        if part and sum(x.length for x in part) + block.length > budget:
            yield part
            part = []
        part.append(block)
    if part:
        yield part


def _forward(clip: EncodedClip, blocks: Sequence[_Block], rule: Rule) -> list[list[float]]:
    hidden = _behind(clip, blocks)
    head = clip.backbone.head()
    out: list[list[float]] = []
    offset = 0
    with torch.inference_mode():
        for block in blocks:
            values = []
            last = offset + len(block.question) - 1
            for start, answer in zip(block.starts, block.answers, strict=True):
                at = [last, *range(offset + start, offset + start + len(answer) - 1)]
                values.append(answer_value(head(hidden[at]), answer, rule))
            out.append(values)
            offset += block.length
    return out


def _behind(clip: EncodedClip, blocks: Sequence[_Block]) -> torch.Tensor:
    """Hidden states [tokens, D] of blocks behind the cached prefix; a block sees nothing of another."""
    n, prefix = sum(b.length for b in blocks), clip.row.prefix_length
    ids = torch.zeros(n, dtype=torch.long)
    positions = torch.zeros(n, dtype=torch.long)
    mask = torch.zeros(n, prefix + n, dtype=torch.bool)
    offset = 0
    for b in blocks:
        q, base = len(b.question), clip.row.next_position[b.aspect]
        mask[offset : offset + b.length, :prefix] = clip.row.visible_from[b.aspect]
        spans = [(0, b.question, 0), *((s, a[:-1], q) for s, a in zip(b.starts, b.answers, strict=True))]
        for start, tokens, behind in spans:
            a, z = offset + start, offset + start + len(tokens)
            ids[a:z] = torch.tensor(tokens, dtype=torch.long)
            positions[a:z] = torch.arange(len(tokens)) + base + behind
            mask[a:z, prefix + a : prefix + z] = torch.ones(z - a, z - a, dtype=torch.bool).tril()
            mask[a:z, prefix + offset : prefix + offset + behind] = True
        offset += b.length
    batch = {
        "input_ids": ids[None],
        "position_ids": positions.expand(3, 1, -1),
        "attention_mask": {"full_attention": mask[None, None]},
    }
    with torch.inference_mode():
        hidden: torch.Tensor = clip.backbone.hidden(
            on_device(batch, clip.backbone), cache=clip.cache
        ).last_hidden_state[0]
    clip.cache.crop(-n)
    return hidden
