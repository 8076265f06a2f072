"""Qwen2.5-Omni thinker (arXiv 2503.20215): nano, 3B and 7B are the same code with another card.

Whole-frame view, fragments and sound are separate items (`use_audio_in_video=False`); frames are never resized by the
processor; positions are always passed, `rope_deltas` is never used.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from mllm_avqa.card import Card
from mllm_avqa.errors import CheckpointError
from mllm_avqa.prompting import Branch, Media, Quoted, Segment
from mllm_avqa.rows import EncodedBranch, EncodedSegment
from mllm_avqa.views import Views

SPECIAL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>",
    "<|IMAGE|>", "<|VIDEO|>", "<|vision_bos|>", "<|vision_eos|>",
)  # fmt: skip


class Qwen25Omni:
    lora_targets = r".*language_model\.layers\.\d+\.(self_attn\.(q|k|v|o)_proj|mlp\.(gate|up|down)_proj)"
    projectors = ("visual.merger", "audio_tower.proj")
    towers = ("visual.", "audio_tower.")
    frozen = ("audio_tower.audio_bos_eos_token",)  # unused by the thinker, so it never gets a gradient

    def __init__(self, model: Any, tokenizer: Any, video_processor: Any, feature_extractor: Any) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.video_processor = video_processor
        self.feature_extractor = feature_extractor
        self.ids = {t: tokenizer.convert_tokens_to_ids(t) for t in SPECIAL}
        self.special = set(self.ids.values()) | set(tokenizer.all_special_ids)

    @classmethod
    def load(cls, directory: Path, card: Card, dtype: torch.dtype) -> Qwen25Omni:
        from transformers import Qwen2_5OmniThinkerForConditionalGeneration

        try:
            base = cls._base(directory, card)
            model: Any = Qwen2_5OmniThinkerForConditionalGeneration.from_pretrained(
                base, revision=cls._revision(card), dtype=dtype
            )
            if card.base_model is not None:
                from peft import PeftModel

                model = PeftModel.from_pretrained(model, str(directory))
            return cls(model, *cls.processors(base, card))
        except (OSError, ValueError) as e:
            raise CheckpointError(f"cannot load {card.name} from {directory}: {e} (--checkpoint)") from e

    @staticmethod
    def _base(directory: Path, card: Card) -> str:
        """Where the full weights are: here, or (for an adapter) a folder relative to here, or a hub name."""
        if card.base_model is None:
            return str(directory)
        beside = directory / card.base_model
        return str(beside) if beside.is_dir() else card.base_model

    @staticmethod
    def _revision(card: Card) -> str:
        return card.revision if card.base_model and card.revision else "main"

    @staticmethod
    def processors(base: str, card: Card) -> tuple[Any, Any, Any]:
        from transformers import AutoTokenizer, Qwen2VLVideoProcessor, WhisperFeatureExtractor

        revision = Qwen25Omni._revision(card)
        return (
            AutoTokenizer.from_pretrained(base, revision=revision),
            Qwen2VLVideoProcessor(cap_pixels_per_frame=False),  # frames come in their final size
            WhisperFeatureExtractor(
                feature_size=128, chunk_length=int(np.ceil(card.views.window_seconds)), return_attention_mask=True
            ),
        )

    @property
    def core(self) -> Any:
        """The thinker itself, below any PEFT wrapper."""
        return self.model.get_base_model() if hasattr(self.model, "peft_config") else self.model

    # ---- text -------------------------------------------------------------------------------------------------

    def text_ids(self, text: str, quoted: bool = False) -> list[int]:
        """Token ids of plain text. Special tokens are never parsed, whoever wrote it: ours are added by id."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids
        if quoted and self.special.intersection(ids):  # a tokenizer that ignores the flag must not be trusted
            raise CheckpointError("the tokenizer turned quoted text into control tokens: it cannot be used safely")
        return ids

    def encode_segment(self, segment: Segment, media: dict[str, torch.Tensor]) -> EncodedSegment:
        i = self.ids
        ids: list[int] = []
        if segment.name == "system":
            ids += [i["<|im_start|>"], *self.text_ids("system\n")]
        grids: list[torch.Tensor] = []
        lengths: list[torch.Tensor] = []
        for part in segment.parts:
            if isinstance(part, Media):
                if part.view == "sound":
                    mel = media["feature_attention_mask"].sum(-1)
                    lengths.append(mel)
                    count = int(self.core.model.audio_tower._get_feat_extract_output_lengths(mel)[1])
                    ids += [i["<|audio_bos|>"], *[i["<|AUDIO|>"]] * count, i["<|audio_eos|>"]]
                else:
                    grid = media["video_grid_thw"][0 if part.view == "whole" else 1]
                    grids.append(grid)
                    count = int(grid.prod()) // self.core.model.visual.spatial_merge_size**2
                    ids += [i["<|vision_bos|>"], *[i["<|VIDEO|>"]] * count, i["<|vision_eos|>"]]
            else:
                ids += self.text_ids(part.text, isinstance(part, Quoted))
        if segment.name == "system":
            ids += [i["<|im_end|>"], *self.text_ids("\n"), i["<|im_start|>"], *self.text_ids("user\n")]
        elif segment.name in ("video", "audio", "sync", "text"):
            ids += self.text_ids("\n")
        return EncodedSegment(segment.name, ids, self._positions(ids, grids, lengths, media))

    def _positions(
        self, ids: list[int], grids: list[torch.Tensor], lengths: list[torch.Tensor], media: dict[str, torch.Tensor]
    ) -> torch.Tensor:
        if not grids:  # text and sound count one by one
            return torch.arange(len(ids)).expand(3, -1)
        row = torch.tensor([ids])
        positions, _ = self.core.model.get_rope_index(
            row,
            None,
            torch.stack(grids),
            torch.ones_like(row),
            False,
            torch.cat(lengths) if lengths else None,
            media["video_second_per_grid"][: len(grids)],
        )
        return positions[:, 0]

    def encode_branch(self, branch: Branch) -> EncodedBranch:
        i = self.ids
        ids = self.text_ids(branch.question, branch.quoted)
        ids += [i["<|im_end|>"], *self.text_ids("\n"), i["<|im_start|>"], *self.text_ids("assistant\n")]
        ids += self.text_ids(branch.stem)
        stem_end = len(ids) - 1
        if branch.answer:
            ids += [*self.text_ids(branch.answer), i["<|im_end|>"]]
        return EncodedBranch(branch.aspect, ids, stem_end, level=bool(branch.stem))

    @property
    def end_id(self) -> int:
        return int(self.ids["<|im_end|>"])

    # ---- media ------------------------------------------------------------------------------------------------

    def media_tensors(self, views: Views) -> dict[str, torch.Tensor]:
        """pixel_values_videos [patches, 1176], video_grid_thw [2, 3], input_features [1, 128, mel frames] ..."""
        out: dict[str, torch.Tensor] = {}
        if views.whole is not None and views.fragments is not None:
            parts = [
                self.video_processor(
                    videos=[torch.from_numpy(np.ascontiguousarray(v.transpose(0, 3, 1, 2)))],
                    do_resize=False,  # the class default would upscale small frames and destroy quality evidence
                    do_sample_frames=False,
                    return_tensors="pt",
                )
                for v in (views.whole, views.fragments)
            ]
            out["pixel_values_videos"] = torch.cat([p["pixel_values_videos"] for p in parts])
            out["video_grid_thw"] = torch.cat([p["video_grid_thw"] for p in parts])
            out["video_second_per_grid"] = torch.full((2,), views.seconds_per_pair)
        if views.sound is not None:
            mel = self.feature_extractor(
                views.sound, sampling_rate=16000, padding=False, truncation=False, return_tensors="pt"
            )
            out["input_features"] = mel["input_features"].float()
            out["feature_attention_mask"] = torch.ones(1, out["input_features"].shape[-1], dtype=torch.long)
        return out

    # ---- model ------------------------------------------------------------------------------------------------

    def hidden(self, batch: dict[str, Any], cache: Any = None) -> Any:
        return self.core.model(**batch, past_key_values=cache, use_cache=cache is not None)

    def head(self) -> torch.nn.Module:
        module: torch.nn.Module = self.core.lm_head
        return module
