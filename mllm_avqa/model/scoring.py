"""What a row says: level distributions at the stems, and answers to questions behind a prefix held in the cache.

Scores are read in fp32 with `log_softmax` over the five level tokens at the position right after each stem
(Q-Align, arXiv 2312.17090); the five ids are resolved at that very position and asserted when a checkpoint loads.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mllm_avqa.model.backbones.base import Backbone
from mllm_avqa.model.prompting import LANGUAGES, Branch, FactStyle, aspect_branch, prefix_segments
from mllm_avqa.model.rows import EncodedBranch, EncodedSegment, PackedRow
from mllm_avqa.model.views import Views
from mllm_avqa.schema.errors import CheckpointError
from mllm_avqa.schema.levels import WORDS, mean_std, word
from mllm_avqa.schema.measurement import Measurement
from mllm_avqa.schema.rating import ScoreDistribution
from mllm_avqa.schema.text import TextContext


def level_token_ids(
    backbone: Backbone, aspects: Sequence[str], words: Sequence[str] = WORDS, languages: Sequence[str] = LANGUAGES
) -> list[int]:
    """Ids of the five level words at their real position, order best to worst.

    Raises CheckpointError unless every word is one token there, the same for all stems, and all are distinct.
    """
    seen: set[tuple[int, ...]] = set()
    for language in languages:
        for aspect in aspects:
            bare = backbone.encode_branch(aspect_branch(aspect, language))
            found = []
            for name in words:
                full = backbone.encode_branch(aspect_branch(aspect, language, level=name))
                after = full.ids[bare.stem_end + 1 :]
                if full.ids[: bare.stem_end + 1] != bare.ids or backbone.tokenizer.decode(after[:1]) != f" {name}":
                    raise CheckpointError(
                        f"level word {name!r} is not a single token after the {language} stem of {aspect!r}: "
                        "this tokenizer cannot be scored by level tokens (--checkpoint)"
                    )
                found.append(after[0])
            seen.add(tuple(found))
    ids = sorted(seen)[0]
    if len(seen) != 1 or len(set(ids)) != len(words):
        raise CheckpointError(f"level words {', '.join(words)} do not map to five distinct tokens: {sorted(seen)}")
    return list(ids)


def level_logits(hidden: torch.Tensor, head: torch.nn.Module, ids: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """hidden [..., D] at stem ends -> (closed-set log-probabilities [..., 5], log mass [...]), both fp32."""
    logits = head(hidden).float()
    levels = logits[..., list(ids)]
    log_mass = torch.logsumexp(levels, -1) - torch.logsumexp(logits, -1)
    return torch.log_softmax(levels, -1), log_mass


def distribution(log_probs: torch.Tensor, log_mass: float) -> ScoreDistribution:
    """One aspect's public result from its fp32 closed-set log-probabilities [5]."""
    return summarise(log_probs.double().exp().numpy(), math.exp(log_mass))


def summarise(probs: np.ndarray, mass: float) -> ScoreDistribution:
    """Score, std and level word of level probabilities [5] in the order of `WORDS` (normalised here)."""
    probs = probs / probs.sum()
    mean, std = mean_std(probs)
    return ScoreDistribution(
        score=round(mean, 4),
        std=round(std, 4),
        level=word(mean),
        probs={w: round(float(p), 5) for w, p in zip(WORDS, probs, strict=True)},
        mass=round(mass, 5),
    )


def encode_prefix(
    backbone: Backbone,
    views: Views,
    evidence: list[Measurement],
    context: TextContext | None,
    language: str = "en",
    media: dict[str, torch.Tensor] | None = None,
    style: FactStyle = "values",
) -> tuple[list[EncodedSegment], dict[str, torch.Tensor]]:
    """What every question about a clip stands behind: its segments and its media tensors (made unless given).

    style: how facts are written, `Card.facts`.
    """
    media = backbone.media_tensors(views) if media is None else media
    segments = prefix_segments(views, evidence, context, language, style)
    return [backbone.encode_segment(s, media) for s in segments], media


def on_device(batch: Any, backbone: Backbone) -> Any:
    """A batch, however nested, on the device of the model."""
    if isinstance(batch, dict):
        return {k: on_device(v, backbone) for k, v in batch.items()}
    return batch.to(next(backbone.model.parameters()).device)


@dataclass
class EncodedClip:
    """A clip's prefix held in the key-value cache; questions are answered without encoding it again."""

    backbone: Backbone
    row: PackedRow  # prefix only
    cache: Any

    def generate(self, branch: Branch, max_tokens: int = 160) -> str:
        """Greedy answer to a question. The cache is left as it was."""
        answer = list(self.tokens(branch, max_tokens))
        return (branch.stem + self.backbone.tokenizer.decode(answer, skip_special_tokens=True)).strip()

    def tokens(self, branch: Branch, max_tokens: int = 160) -> Iterator[int]:
        """The answer token by token. The cache is left as it was, also by who stops listening."""
        b = self.backbone
        encoded = b.encode_branch(branch)
        start = self.row.next_position[branch.aspect]
        question = pack_on_prefix(self.row, encoded)
        ids = torch.tensor([encoded.ids])
        added = 0
        mask: Any = {"full_attention": question}
        try:
            for given in range(1, max_tokens + 1):
                n = ids.shape[1]
                position = (torch.arange(n) + start + added).expand(3, 1, -1)
                batch = {"input_ids": ids, "position_ids": position, "attention_mask": mask}
                with torch.inference_mode():
                    out = b.hidden(on_device(batch, b), cache=self.cache)
                    added += n
                    token = int(b.head()(out.last_hidden_state[:, -1]).argmax())
                if token == b.end_id:
                    return
                yield token
                ids = torch.tensor([[token]])
                seen = torch.cat([question[:, :, -1:], torch.ones(1, 1, 1, given, dtype=torch.bool)], -1)
                mask = {"full_attention": seen}
        finally:
            if added:
                self.cache.crop(-added)


def pack_on_prefix(prefix: PackedRow, branch: EncodedBranch) -> torch.Tensor:
    """Attention mask bool [1, 1, branch, prefix + branch] of one branch behind a cached prefix."""
    n = len(branch.ids)
    sees = prefix.visible_from[branch.aspect].expand(n, -1)
    return torch.cat([sees, torch.ones(n, n, dtype=torch.bool).tril()], -1)[None, None]
