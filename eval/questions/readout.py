"""Answers read from log-probabilities behind one encoded prefix: the clip is encoded once, a question once, and every
option is a few tokens more, or none where its letter decides. Values are those of eval/options.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch

from eval.options import Rule, answer_value, decisive
from eval.questions.wording import Asked
from mllm_avqa.model.prompting import Branch
from mllm_avqa.model.scoring import EncodedClip, on_device
from mllm_avqa.schema.errors import CheckpointError

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
    clip: EncodedClip, asked: Sequence[Asked], budget: int = BUDGET, rule: Rule = "logprob"
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


def _block(clip: EncodedClip, a: Asked, rule: Rule) -> _Block:
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
