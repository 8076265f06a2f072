"""Scores of one window under many texts: picture, sound and their facts are encoded once."""

from __future__ import annotations

import torch

from eval.held_out import Judge, Scores
from mllm_avqa.model.prompting import aspect_branch
from mllm_avqa.model.rows import collate, pack
from mllm_avqa.model.scoring import distribution, level_logits, on_device
from mllm_avqa.windows import Prepared


class FixedClip:
    """Holds everything before the text segment, which is the last one, in the key-value cache.

    Tokens of a row never look ahead, so what is held does not depend on the texts, and the scores are those of
    `Judge.windows` up to rounding.
    """

    def __init__(self, judge: Judge, window: Prepared, language: str) -> None:
        from transformers import DynamicCache

        self.judge, self.language = judge, language
        segments, media, _ = judge.encode(window, language)
        assert segments[-1].name == "text"
        held = pack(segments[:-1], [], media, judge.rater.card.isolate)
        self.held = held.ids
        self.cache = DynamicCache()
        backbone = judge.rater.backbone
        batch = on_device(collate([held], backbone.tokenizer.pad_token_id), backbone)
        with torch.inference_mode():
            backbone.hidden(batch, cache=self.cache)

    def scores(self, window: Prepared) -> Scores:
        """Scores of the same window with other texts. Raises ValueError for a window that differs in more."""
        rater, k = self.judge.rater, len(self.held)
        backbone = rater.backbone
        segments, _, aspects = self.judge.encode(window, self.language)
        branches = [backbone.encode_branch(aspect_branch(a, self.language)) for a in aspects]
        row = pack(segments, branches, isolate=rater.card.isolate)
        if not torch.equal(row.ids[:k], self.held):
            raise ValueError("the window differs from the held one in more than its texts")
        batch = {
            "input_ids": row.ids[None, k:],
            "position_ids": row.positions[:, None, k:],
            "attention_mask": {"full_attention": row.visible[None, None, k:]},
        }
        with torch.inference_mode():
            hidden = backbone.hidden(on_device(batch, backbone), cache=self.cache).last_hidden_state[0]
            self.cache.crop(k - len(row.ids))  # a negative count drops that many from the end
            at = [start + b.stem_end - k for start, b in zip(row.starts, row.branches, strict=True)]
            log_probs, log_mass = level_logits(hidden[at], backbone.head(), rater.corridor.level_ids)
        return {
            b.aspect: distribution(lp.cpu(), float(m))
            for b, lp, m in zip(row.branches, log_probs, log_mass, strict=True)
        }
