"""The stage that learns from rewards: questions are asked, the model writes several answers, the record judges them.

Answers to a question are written side by side behind one prefix, and learnt behind it as well. They are written when
the step is taken, by the weights of that moment and from a seed of step and clips alone: a resumed run writes what the
unbroken one would have.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch

from mllm_avqa.model.backbones.base import Backbone
from mllm_avqa.model.prompting import Branch, aspect_branch
from mllm_avqa.model.rows import EncodedBranch, PackedRow, behind, collate
from mllm_avqa.model.scoring import on_device
from mllm_avqa.schema.levels import word
from mllm_avqa.schema.records import Question, Record
from train import ranks
from train.config import Reward
from train.data import Collator, asked, contents, hash_group, make_row
from train.losses import Target, moments
from train.questions import Sample
from train.ranks import Fillers
from train.reward import reward, rewardable, weights
from train.trainer import RatingTrainer

SCORED = ("inputs", "recall", "answer_at", "level_at")  # of a batch: all that scores take
UNKNOWN = Target(0.0, 0.0, [0.0] * 5)  # until the start has scored the row


@dataclass
class Draft:
    """A row that waits for its answers: score questions and, behind them, `questions`."""

    record: Record
    row: PackedRow
    questions: list[Question]

    @property
    def scored(self) -> int:
        return len(self.row.branches) - len(self.questions)

    @property
    def ends(self) -> list[int]:
        """Where each branch ends: the place that is answered next."""
        return [start + b.stem_end for start, b in zip(self.row.starts, self.row.branches, strict=True)]


class DraftCollator(Collator):
    """Rows with every score question, and some of the questions whose answers are rewarded."""

    def __init__(self, *args: Any, how: Reward) -> None:
        super().__init__(*args)
        self.how = how

    def __call__(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        samples, rng = self.drawn(items)
        drafts = [self._draft(s, rng) for s in samples]
        levels = [
            (k, at, hash_group(d.record.dataset, self.card.aspects.index(b.aspect)), UNKNOWN)
            for k, d in enumerate(drafts)
            for at, b in zip(d.ends, d.row.branches[: d.scored], strict=False)
        ]
        inputs = collate([d.row for d in drafts], self.backbone.tokenizer.pad_token_id)
        return {"inputs": inputs, **asked([], levels), "drafts": drafts}

    def _draft(self, s: Sample, rng: random.Random) -> Draft:
        pool = rewardable(s.record, s.language, s.window.missing)
        questions = rng.sample(pool, min(self.how.questions, len(pool)))
        branches = [aspect_branch(a, s.language) for a in self.card.aspects if a not in s.window.missing]
        branches += [Branch(str(q.aspect), q.question) for q in questions]
        return Draft(s.record, make_row(self.backbone, replace(s, questions=branches), self.card), questions)


@torch.no_grad()
def write(
    backbone: Backbone, inputs: dict[str, Any], last: torch.Tensor, how: Reward, generator: torch.Generator | None
) -> list[list[list[int]]]:
    """Answers behind collated rows, by row and place; the end token is the last of one that came to its end.

    last [B, S]: columns of the questions' last tokens, one for each answer. The rows are encoded once, and each new
    token sees what its question saw, and its own answer. Without a generator the likeliest token is taken.
    """
    from transformers import DynamicCache

    cache = DynamicCache()
    rows = torch.arange(len(last), device=last.device)[:, None]
    state = backbone.hidden(inputs, cache=cache).last_hidden_state[rows, last]  # [B, S, D]
    sees = inputs["attention_mask"]["full_attention"][:, 0][rows, last]  # [B, S, T]
    position = inputs["position_ids"][:, rows, last]  # [3, B, S]
    itself = torch.eye(last.shape[1], dtype=torch.bool, device=last.device).expand(len(last), -1, -1)
    added = backbone.tokenizer.added_tokens_decoder.items()
    never = [i for i, t in added if t.special and i != backbone.end_id]  # places of media would have to be filled
    told: list[torch.Tensor] = []
    going = torch.ones_like(last, dtype=torch.bool)
    while len(told) < how.tokens and bool(going.any()):
        if told:
            sees = torch.cat([sees, itself], -1)
            position = position + 1
            mask = {"full_attention": sees[:, None]}
            batch = {"input_ids": told[-1], "position_ids": position, "attention_mask": mask}
            state = backbone.hidden(batch, cache=cache).last_hidden_state
        logits = backbone.head()(state).float()
        logits[..., never] = float("-inf")
        if generator is None:
            token = logits.argmax(-1)
        else:
            chances = torch.softmax(logits / how.temperature, -1).flatten(0, 1).cpu()
            token = torch.multinomial(chances, 1, generator=generator).view(last.shape).to(last.device)
        told.append(token.masked_fill(~going, backbone.end_id))
        going &= token != backbone.end_id
    found: list[list[list[int]]] = torch.stack(told, -1).tolist()
    return [[_to_end(ids, backbone.end_id) for ids in row] for row in found]


def _to_end(ids: list[int], end: int) -> list[int]:
    return ids[: ids.index(end) + 1] if end in ids else ids


class Start:
    """The trained weights as they were when the stage began: what scores are held to."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.model = model
        self.kept = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}

    @contextmanager
    def worn(self) -> Iterator[None]:
        """In here the model has them."""
        now = {n: p.data for n, p in self.model.named_parameters() if n in self.kept}
        try:
            for n, p in self.model.named_parameters():
                if n in now:
                    p.data = self.kept[n].to(p.device, p.dtype)
            yield
        finally:
            for n, p in self.model.named_parameters():
                if n in now:
                    p.data = now[n]


class RewardTrainer(RatingTrainer):
    """Every step writes answers to its rows' questions, weighs them, and learns the rows with those that count."""

    def __init__(self, *args: Any, fillers: Fillers, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        assert self.stage.reward is not None
        self.how = self.stage.reward
        self.fillers = fillers
        self.start = Start(self.trained.net)
        self._rewards: list[float] = []  # since the last log

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        return super().compute_loss(model, self._answered(dict(inputs)), *args, **kwargs)

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        if "loss" in logs:
            found = [r for part in ranks.gathered(self._rewards) for r in part]
            if found:
                logs["reward"] = round(sum(found) / len(found), 4)
            self._rewards = []
        super().log(logs, *args, **kwargs)

    def _answered(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """The batch with its answers, what each counts for, and the start's scores as targets."""
        drafts: list[Draft] = inputs.pop("drafts", [])
        objective, backbone, about = self.trained, self.trained.backbone, inputs["about"]
        objective.eval()
        towers, recall = objective.towers, inputs.get("recall")
        with torch.no_grad(), self.accelerator.autocast():
            with self.start.worn():
                log_probs = objective(**{k: inputs[k] for k in SCORED if k in inputs})["log_probs"].float()
            with towers.around(recall) if towers is not None and recall else nullcontext():
                answers = self._write(inputs["inputs"], drafts, about["ids"])
        objective.train()
        mean, variance = moments(log_probs)
        held = {"level_target": log_probs.exp(), "level_mean": mean, "level_std": variance.sqrt()}
        words = iter([word(float(m)) for m in mean])
        rows: list[PackedRow] = []
        said: list[tuple[int, int, int]] = []
        counts: list[float] = []
        for k, (d, groups) in enumerate(zip(drafts, answers, strict=True)):
            levels = {b.aspect: next(words) for b in d.row.branches[: d.scored]}
            chosen = self._weighed(d, groups, levels)
            rows.append(row := behind(d.row, d.row.branches[: d.scored] + [b for b, _ in chosen]))
            for start, (b, weight) in zip(row.starts[d.scored :], chosen, strict=True):
                said += [(k, start + at, b.ids[at + 1]) for at in range(b.stem_end, len(b.ids) - 1)]
                counts += [weight] * (len(b.ids) - 1 - b.stem_end)
        if not rows:
            return inputs
        batch: dict[str, Any] = {"inputs": collate(rows, self.fillers.pad), **asked(said, [])}
        if ranks.world() > 1:
            batch["inputs"] = self.fillers.fill(batch["inputs"])
        batch |= {"answer_weight": torch.tensor(counts)}
        out = inputs | {k: v for k, v in on_device(batch, backbone).items() if not k.startswith("level_")} | held
        return out | {"about": about | contents(out, self.fillers.pad)}

    def _write(self, inputs: dict[str, Any], drafts: list[Draft], ids: list[str]) -> list[list[list[list[int]]]]:
        """By draft and question, the group of its answers."""
        n = self.how.samples
        ends = [d.ends[d.scored :] for d in drafts]
        most = max(map(len, ends), default=0)
        if not most:
            return [[] for _ in drafts]
        backbone = self.trained.backbone
        last = torch.tensor([[c for c in e + [0] * (most - len(e)) for _ in range(n)] for e in ends])
        name = f"{self.args.seed}/{self.state.global_step}/{'/'.join(ids)}"
        generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
        told = write(backbone, inputs, on_device(last, backbone), self.how, generator)
        return [[row[k * n : (k + 1) * n] for k in range(len(e))] for row, e in zip(told, ends, strict=True)]

    def _weighed(
        self, d: Draft, groups: list[list[list[int]]], levels: dict[str, str]
    ) -> list[tuple[EncodedBranch, float]]:
        """The answers of a row that are learnt, each behind its question, and how much they count."""
        backbone = self.trained.backbone
        out: list[tuple[EncodedBranch, float]] = []
        for q, b, group in zip(d.questions, d.row.branches[d.scored :], groups, strict=True):
            texts = [backbone.tokenizer.decode(ids, skip_special_tokens=True).strip() for ids in group]
            rewards = [
                reward(t, ids[-1] == backbone.end_id, q, d.record, levels) for t, ids in zip(texts, group, strict=True)
            ]
            self._rewards += rewards
            for ids, w in zip(group, weights(rewards, self.how.method), strict=True):
                if w:
                    out.append((EncodedBranch(b.aspect, b.ids + ids, b.stem_end), w))
        return out
