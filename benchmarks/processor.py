"""What a processor is fast at: adapters merged or apart, precision, torch's attention or plain products."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.ao.quantization import quantize_dynamic

from benchmarks.base import Measured, Options, Ratio, medians
from mllm_avqa.corridor import Corridor, Encoded
from mllm_avqa.media import MediaReader
from mllm_avqa.model.backbones import attention, load_backbone
from mllm_avqa.model.backbones.lora import lora_config
from mllm_avqa.model.checkpoint import fast_bfloat16, resolve_checkpoint
from mllm_avqa.schema.card import Card
from mllm_avqa.windows import file_windows


def run(settings: Options) -> Measured:
    """Of `--checkpoint`, or of the same with a fresh adapter of rank 16 where it has none."""
    if settings.threads:
        torch.set_num_threads(settings.threads)
    directory = resolve_checkpoint(settings.checkpoint)
    card = Card.load(directory)
    reader = MediaReader()
    try:
        window = next(file_windows(str(settings.clip), reader, card.views, context="none"))
    finally:
        reader.close()
    with tempfile.TemporaryDirectory() as folder:
        adapter, told = _adapter(directory, card, Path(folder))
        calls: dict[str, Callable[[], Any]] = {}
        scores: dict[str, Any] = {}
        for name, kind, merged, plain in (
            ("apart", torch.float32, False, False),
            ("float32", torch.float32, True, False),
            ("bfloat16", torch.bfloat16, True, True),
            ("bfloat16, torch's attention", torch.bfloat16, True, False),
            ("int8", torch.float32, True, False),
        ):
            backbone = load_backbone(adapter, told, kind, merged=merged)
            if name == "int8":
                quantize_dynamic(backbone.model, {torch.nn.Linear}, torch.qint8, inplace=True)
            corridor = Corridor(backbone.model.eval() and backbone, told)
            calls[name] = _scoring(corridor, corridor.encode(window, card.languages[0]), plain)
            scores[name] = [{a: d.score for a, d in found.items()} for found in calls[name]()]
        cost = medians(calls, settings.repeats)
    whole = cost["float32"]

    def against(what: str, name: str, peer: str) -> Ratio:
        return Ratio(what, f"{cost[name]}", f"{cost[peer]}", cost[name].cpu / cost[peer].cpu)

    return Measured(
        f"What the processor is fast at ({card.name})",
        [
            against("adapter merged / beside the weights, float32, CPU", "float32", "apart"),
            against("bfloat16 / float32, merged, CPU", "bfloat16", "float32"),
            against("int8, dynamic / float32, merged, CPU", "int8", "float32"),
            against("plain attention / torch's, bfloat16, CPU", "bfloat16", "bfloat16, torch's attention"),
        ],
        [
            f"All aspects of one window, {torch.get_num_threads()} threads; medians of {settings.repeats} interleaved "
            f"runs. The processor multiplies bfloat16: {'yes' if fast_bfloat16('cpu') else 'no'}. "
            f"A score in float32: {whole.cpu:.2f} s CPU.",
            "Largest change of an aspect's score from float32: "
            + ", ".join(f"{name} {_moved(scores['float32'], scores[name]):.3f}" for name in ("bfloat16", "int8")),
        ],
    )


def _moved(ours: list[dict[str, float]], theirs: list[dict[str, float]]) -> float:
    return max(abs(a[k] - b[k]) for a, b in zip(ours, theirs, strict=True) for k in a)


def _scoring(corridor: Corridor, encoded: Encoded, plain: bool) -> Callable[[], Any]:
    def call() -> Any:
        most = attention.MOST_BYTES
        attention.MOST_BYTES = most if plain else -1
        try:
            return corridor.score([encoded])
        finally:
            attention.MOST_BYTES = most

    return call


def _adapter(directory: Path, card: Card, folder: Path) -> tuple[Path, Card]:
    if (directory / "adapter_config.json").is_file():
        return directory, card
    from peft import get_peft_model

    backbone: Any = load_backbone(directory, card)
    get_peft_model(backbone.model, lora_config(backbone, 16, 32)).save_pretrained(folder)
    base = card.base_model if card.base_model is not None else str(directory.resolve())
    told = card.model_copy(update={"base_model": base, "training": {"fresh": {}}})
    told.save(folder)
    return folder, told
