"""Is it the same computation? Packed rows against a row for each question, saved checkpoints against their models.

For every backbone family on a tiny model of its production class in fp32, with random weights so large that every part
matters: logits, loss and gradients of two clips with several questions each.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from peft import get_peft_model

from benchmarks.base import Measured, Options, Ratio
from benchmarks.tiny import build
from mllm_avqa.model.backbones import load_backbone
from mllm_avqa.model.backbones.base import Backbone
from mllm_avqa.model.backbones.lora import lora_config
from mllm_avqa.model.prompting import Branch, aspect_branch
from mllm_avqa.model.scoring import level_token_ids
from mllm_avqa.model.views import Views
from mllm_avqa.schema.card import Card, ViewSpec
from mllm_avqa.schema.levels import WORDS
from mllm_avqa.schema.measurement import Measurement
from mllm_avqa.schema.records import Label, Record
from mllm_avqa.schema.text import TextContext, TextItem
from train.cache import CachedWindow
from train.config import Weights
from train.data import Collator
from train.objective import Objective
from train.questions import Sample
from train.saving import save

ALLOWED = 1e-5
FAMILIES = ("qwen2_5_omni", "qwen3_omni", "videollama2")
ASPECTS = ["overall", "video", "audio"]
QUESTIONS = (
    ("video", "What of the picture?", "A. blur"),
    ("audio", "Any noise?", "Yes, some."),
    ("overall", "Why?", "Because of the noise."),
)


def run(settings: Options) -> Measured:
    rows: list[Ratio] = []
    for name in FAMILIES:
        for what, difference in differences(name).items():
            rows.append(Ratio(f"{name}: {what}", f"{difference:.1e}", f"{ALLOWED:.0e}", difference / ALLOWED, "<= 1"))
    return Measured(
        "Parity",
        rows,
        [
            "ours: the largest difference found; peer: what is allowed; ratio: one by the other.",
            f"packed: {len(ASPECTS)} levels and {len(QUESTIONS)} answers behind one encoded clip, two rows in a batch; "
            "separate: each in a row of its own with the clip, twelve in a batch. Gradients: of every weight, as a "
            "share of the largest one.",
        ],
    )


def differences(name: str) -> dict[str, float]:
    """Largest |difference| of a tiny model of a family by what is compared; gradients relative to the largest one."""
    with TemporaryDirectory() as folder:
        backbone, card = tiny(name, Path(folder) / "full")
        packed, separate = batches(backbone, card)
        objective = Objective(backbone, level_token_ids(backbone, ASPECTS), Weights())
        together, apart = outcome(objective, packed), outcome(objective, separate)
        largest = max(float(g.abs().max()) for g in apart.gradients.values())
        gap = max(float((together.gradients[n] - g).abs().max()) for n, g in apart.gradients.items())
        again, _ = opened(Path(folder) / "full")
        return {
            "logits, packed and separate": far(together.logits, apart.logits),
            "loss, packed and separate": abs(together.loss - apart.loss),
            "gradients, packed and separate": gap / largest,
            "logits, model and reloaded": far(together.logits, logits(again, packed)),
            **_adapter(backbone, card, packed, Path(folder)),
        }


def _adapter(backbone: Backbone, card: Card, batch: dict[str, Any], folder: Path) -> dict[str, float]:
    """An adapter with factors that are not zero: reloaded, and merged into the weights."""
    backbone.model = get_peft_model(backbone.model, lora_config(backbone, 4, 8))
    torch.manual_seed(1)
    with torch.no_grad():
        for p in backbone.model.parameters():
            if p.requires_grad:
                p.add_(torch.randn_like(p) * 0.05)
    backbone.model.save_pretrained(folder / "adapter")
    card.model_copy(update={"base_model": str(folder / "full"), "training": {"s": {}}}).save(folder / "adapter")
    trained = logits(backbone, batch)
    again, _ = opened(folder / "adapter")
    reloaded = logits(again, batch)
    again.model = again.model.merge_and_unload()
    return {
        "logits, adapter and reloaded": far(trained, reloaded),
        "logits, adapter and merged": far(trained, logits(again, batch)),
    }


def far(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).abs().max())


@dataclass
class Pass:
    logits: torch.Tensor  # [places that are learnt, vocabulary]
    loss: float
    gradients: dict[str, torch.Tensor]


def outcome(objective: Objective, batch: dict[str, Any]) -> Pass:
    """Of one forward and backward pass."""
    objective.net.zero_grad()
    loss = objective(**batch)["loss"]
    loss.backward()
    gradients = {n: p.grad.clone() for n, p in objective.net.named_parameters() if p.grad is not None}
    return Pass(logits(objective.backbone, batch), float(loss), gradients)


@torch.no_grad()
def logits(backbone: Backbone, batch: dict[str, Any]) -> torch.Tensor:
    at = torch.cat([batch["answer_at"], batch["level_at"]])
    hidden = backbone.hidden(batch["inputs"]).last_hidden_state
    out: torch.Tensor = backbone.head()(hidden[at[:, 0], at[:, 1]])
    return out


def batches(backbone: Backbone, card: Card) -> tuple[dict[str, Any], dict[str, Any]]:
    """The same questions packed behind their clip, and each in a row of its own."""
    facts = [Measurement(name="blur", modality="video", value=3.21, unit="px", severity="strong")]
    context = TextContext(items=[TextItem(origin="subtitle", text="hello", start=0.0, end=1.0)])
    asked = [aspect_branch(a, "en", level=WORDS[0]) for a in ASPECTS] + [Branch(a, q, "", s) for a, q, s in QUESTIONS]
    samples = []
    for k, mean in enumerate((1.5, 4.5)):
        labels = {a: Label(mean=mean) for a in ASPECTS}
        record = Record(id=str(k), media="m.mp4", dataset="d", group=str(k), labels=labels)
        samples.append(Sample(record, CachedWindow(views(card, k), facts, context, {}), asked, "en"))
    single = [Sample(s.record, s.window, [q], "en") for s in samples for q in asked]
    made = []
    for rows in (samples, single):
        collator = Collator(backbone, card, 0, partial(_these, rows))
        made.append(collator([{"record": s.record} for s in samples]))
    return made[0], made[1]


def _these(rows: list[Sample], *_: object) -> list[Sample]:
    """Instead of rows drawn at random (`train.questions.Draw`)."""
    return rows


def views(card: Card, seed: int) -> Views:
    """Random frames in steps of the card's patch, and noise; the two clips differ in size and length."""
    rng, side = np.random.default_rng(seed), card.views.patch
    return Views(
        whole=rng.integers(0, 255, (4, 2 * side, (3 - seed) * side, 3), dtype=np.uint8),
        fragments=rng.integers(0, 255, (4, 2 * side, 2 * side, 3), dtype=np.uint8),
        sound=(rng.standard_normal(int(16000 * (0.7 + 0.3 * seed))) * 0.1).astype(np.float32),
    )


def tiny(name: str, folder: Path) -> tuple[Backbone, Card]:
    """A random-weight model of the family, saved in `folder` and opened from there."""
    model, tokenizer = build(name)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for n, p in model.named_parameters():
            if p.ndim > 1 and "embed" not in n:
                p.copy_(torch.randn(p.shape, generator=generator) * p[0].numel() ** -0.5)
    spec = ViewSpec(patch=32 if name == "qwen3_omni" else 28, global_pixels=64 * 96, fragment_grid=(2, 2))
    save(model, tokenizer, Card(name="tiny", family=name, aspects=ASPECTS, languages=["en"], views=spec), folder)
    return opened(folder)


def opened(folder: Path) -> tuple[Backbone, Card]:
    card = Card.load(folder)
    return load_backbone(folder, card, torch.float32), card
