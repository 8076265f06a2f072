"""What the Qwen-Omni families share: text, segments, positions and media of a row around a thinker of transformers.

Whole-frame view, fragments and sound are separate items (`use_audio_in_video=False`); frames are never resized by the
processor; positions are always passed, `rope_deltas` is never used.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import torch

from mllm_avqa.model.backbones.base import Keepable
from mllm_avqa.model.backbones.loading import LoadOptions, load_weights
from mllm_avqa.model.energies import with_energies
from mllm_avqa.model.prompting import Branch, Media, Quoted, Segment
from mllm_avqa.model.rows import EncodedBranch, EncodedSegment
from mllm_avqa.model.views import Views
from mllm_avqa.model.weights import locate
from mllm_avqa.schema.card import CARD_FILE, Card, Pixels
from mllm_avqa.schema.errors import CheckpointError

SAMPLE_RATE = 16000  # Hz, of both families' sound towers


class MediaTokens(NamedTuple):
    """Placeholders of one sound or video token, and what stands around them."""

    sound: str
    sound_start: str
    sound_end: str
    video: str
    video_start: str
    video_end: str


class QwenOmni(ABC):
    """A family names its model class, tokens and processor settings, and says how many tokens a sound has."""

    control: ClassVar[tuple[str, ...]]  # control tokens
    marks: ClassVar[MediaTokens]
    video_settings: ClassVar[dict[str, Any]]  # of Qwen2VLVideoProcessor, where they differ from its defaults
    towers: tuple[str, ...] = ("visual.", "audio_tower.")
    frozen: tuple[str, ...] = ()
    projectors: tuple[str, ...]
    lora_targets: str | list[str]
    lora_parameters: tuple[str, ...] = ()

    def __init__(self, model: Any, tokenizer: Any, video_processor: Any, feature_extractor: Any) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.video_processor = video_processor
        self.feature_extractor = feature_extractor
        self.ids = {t: tokenizer.convert_tokens_to_ids(t) for t in self.control}
        self.special = set(self.ids.values()) | set(tokenizer.all_special_ids)
        self.extra: Pixels | None = None  # of a card that shows the tower more channels than colours

    @classmethod
    def load(cls, directory: Path, card: Card, options: LoadOptions) -> Self:
        try:
            model = load_weights(cls.model_class(), directory, card, options)
            backbone = cls(model, *cls.processors(*locate(directory, card), card, model.config))
            backbone.extra = card.pixels if card.pixels is not None and card.pixels.energies else None
        except (OSError, ValueError) as e:
            raise CheckpointError(f"cannot load {card.name} from {directory}: {e} (--checkpoint)") from e
        backbone._check(directory, card)
        return backbone

    @staticmethod
    @abstractmethod
    def model_class() -> Any:
        """The thinker's class (imported only now)."""

    @abstractmethod
    def sound_tokens(self, mel_frames: int) -> int:
        """How many tokens the sound tower makes of this many mel frames (10 ms each)."""

    @staticmethod
    def stock_classes() -> tuple[Any, Any] | None:
        return None

    @classmethod
    def bare(cls, model: Any, tokenizer: Any, card: Card) -> Self:
        return cls(model, tokenizer, None, None)

    def keepable(self) -> dict[str, Keepable]:
        return {}

    @classmethod
    def processors(cls, base: str, revision: str | None, card: Card, config: Any) -> tuple[Any, ...]:
        """Tokenizer, video processor, feature extractor. config: the model's."""
        from transformers import AutoTokenizer, Qwen2VLVideoProcessor, WhisperFeatureExtractor

        video = dict(cls.video_settings)
        if card.pixels is not None:
            video |= {"image_mean": [card.pixels.mean] * 3, "image_std": [card.pixels.std] * 3}
        return (
            AutoTokenizer.from_pretrained(base, revision=revision or "main", trust_remote_code=False),
            Qwen2VLVideoProcessor(cap_pixels_per_frame=False, **video),  # frames come in their final size
            WhisperFeatureExtractor(
                feature_size=config.audio_config.num_mel_bins,
                chunk_length=int(np.ceil(card.views.window_seconds)),
                return_attention_mask=True,
            ),
        )

    def _check(self, directory: Path, card: Card) -> None:
        """Card, tokenizer and model must speak of the same thing: a mismatch would give scores, only wrong ones."""
        config = self.core.config
        vision = config.vision_config
        side = vision.patch_size * vision.spatial_merge_size
        wrong = []
        channels = 4 if card.pixels is not None and card.pixels.energies else 3
        if vision.in_channels != channels:
            wrong.append(f"pixels.energies makes {channels} channels, this model sees {vision.in_channels}")
        if card.views.patch != side:
            wrong.append(f"views.patch is {card.views.patch}, one visual token of this model is {side} pixels wide")
        if card.views.audio_rate != SAMPLE_RATE:
            wrong.append(f"views.audio_rate is {card.views.audio_rate}, this model hears {SAMPLE_RATE} Hz")
        for token, known in ((self.marks.video, config.video_token_id), (self.marks.sound, config.audio_token_id)):
            if self.ids[token] != known:
                wrong.append(f"{token} is token {self.ids[token]} of the tokenizer and {known} of the model")
        if wrong:
            raise CheckpointError(f"{directory / CARD_FILE}: {'; '.join(wrong)} (--checkpoint)")

    @property
    def core(self) -> Any:
        """The thinker itself, below any PEFT wrapper."""
        return self.model.get_base_model() if hasattr(self.model, "peft_config") else self.model

    # ---- text -------------------------------------------------------------------------------------------------

    def text_ids(self, text: str, quoted: bool = False) -> list[int]:
        """Token ids of plain text. Special tokens are never parsed, whoever wrote it: ours are added by id.

        Quoted text is made of learnt tokens alone: who writes " blur severe" must not get the token of that fact.
        """
        if not quoted:
            found: list[int] = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids
            return found
        learnt = self.tokenizer.backend_tokenizer
        text = learnt.normalizer.normalize_str(text) if learnt.normalizer is not None else text
        pieces = learnt.pre_tokenizer.pre_tokenize_str(text)
        ids = [token.id for piece, _ in pieces for token in learnt.model.tokenize(piece)]
        if self.special.intersection(ids):  # a tokenizer that holds them among the learnt ones must not be trusted
            raise CheckpointError("the tokenizer turned quoted text into control tokens: it cannot be used safely")
        return ids

    def encode_segment(self, segment: Segment, media: dict[str, torch.Tensor]) -> EncodedSegment:
        i, t = self.ids, self.marks
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
                    ids += [i[t.sound_start], *[i[t.sound]] * self.sound_tokens(int(mel)), i[t.sound_end]]
                else:
                    grid = media["video_grid_thw"][0 if part.view == "whole" else 1]
                    grids.append(grid)
                    count = int(grid.prod()) // self.core.model.visual.spatial_merge_size**2
                    ids += [i[t.video_start], *[i[t.video]] * count, i[t.video_end]]
            else:
                ids += self.text_ids(part.text, isinstance(part, Quoted))
        if segment.name == "system":
            ids += [i["<|im_end|>"], *self.text_ids("\n"), i["<|im_start|>"], *self.text_ids("user\n")]
        elif segment.name in ("video", "audio", "sync", "text"):
            ids += self.text_ids("\n")
        return EncodedSegment(segment.name, ids, self._positions(ids, grids, lengths, media))

    @property
    def pads(self) -> dict[str, int]:
        return {"video": self.ids[self.marks.video], "audio": self.ids[self.marks.sound]}

    def prompt(self, ids: list[int], media: dict[str, torch.Tensor]) -> EncodedSegment:
        lengths = [media["feature_attention_mask"].sum(-1)] if "feature_attention_mask" in media else []
        return EncodedSegment("system", ids, self._positions(ids, [*media.get("video_grid_thw", [])], lengths, media))

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
        return positions[:, 0].long()  # Qwen3 gives fractions where frame times do not meet its time steps

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
        """pixel_values_videos [patches, 3 * 2 * patch^2], video_grid_thw [2, 3], input_features [1, bands, mel] ..."""
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
            pixels = torch.cat([p["pixel_values_videos"] for p in parts])
            if self.extra is not None:
                pixels = with_energies(pixels, self.extra, self.core.config.vision_config.patch_size)
            out["pixel_values_videos"] = pixels
            out["video_grid_thw"] = torch.cat([p["video_grid_thw"] for p in parts])
            out["video_second_per_grid"] = torch.full((2,), views.seconds_per_pair)
        if views.sound is not None:
            mel = self.feature_extractor(
                views.sound, sampling_rate=SAMPLE_RATE, padding=False, truncation=False, return_tensors="pt"
            )
            out["input_features"] = mel["input_features"].float()
            out["feature_attention_mask"] = torch.ones(1, out["input_features"].shape[-1], dtype=torch.long)
        return out

    # ---- model ------------------------------------------------------------------------------------------------

    def hidden(self, batch: dict[str, Any], cache: Any = None) -> Any:
        return self.core.model(**batch, **{self.cache_name: cache}, use_cache=cache is not None)

    @cached_property
    def cache_name(self) -> str:
        """What `forward` calls its key-value cache: newer versions of transformers have renamed the argument."""
        names = inspect.signature(type(self.core.model).forward).parameters
        return "cache" if "cache" in names else "past_key_values"

    def head(self) -> torch.nn.Module:
        module: torch.nn.Module = self.core.lm_head
        return module
