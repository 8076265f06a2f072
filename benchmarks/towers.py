"""Epochs with the outputs of frozen towers kept on disk (`tower_cache`): the second against the first."""

from __future__ import annotations

import shutil

from benchmarks import training
from benchmarks.base import Measured, Options, Ratio
from benchmarks.training import StepCost
from mllm_avqa.rater import resolve_checkpoint

QUESTIONS, BATCH = 5, 2
MODEL = "transformers.models.qwen2_5_omni.modeling_qwen2_5_omni"
# All that a known clip could be spared: its towers (with projectors, which are computed all the same) and their inputs
SPANS = (
    f"{MODEL}:Qwen2_5OmniVisionEncoder.forward",
    f"{MODEL}:Qwen2_5OmniAudioEncoder.forward",
    "mllm_avqa.model.backbones.qwen_omni:QwenOmni.media_tensors",
)


def run(settings: Options) -> Measured:
    checkpoint = resolve_checkpoint(settings.checkpoint).resolve()
    with training.workplace(settings) as place:
        kept = place.folder / "kept-towers"
        stage = training.stage(place, "lora", QUESTIONS, epochs=2) | {
            "steps": 2 * (place.clips // BATCH),
            "batch": BATCH,
            "dropout": {"facts": 0.0, "views": 0.0, "context": 0.0},
            "lora": {},
        }
        start = {"init": str(checkpoint), "views": {}}
        plain = training.written(place, "towers-plain", stage, **start)
        cached = training.written(place, "towers-cached", stage, **start, tower_cache=str(kept))
        first: list[StepCost] = []
        second: list[StepCost] = []
        without: list[StepCost] = []
        half = place.clips // BATCH
        for _ in range(settings.repeats):
            shutil.rmtree(kept, ignore_errors=True)
            ticks = training.train(place, cached)
            first.append(training.between(ticks, 1, half))
            second.append(training.between(ticks, half, 2 * half))
            without.append(training.between(training.train(place, plain, SPANS), half, 2 * half))
    return report(first, second, without)


def report(first: list[StepCost], second: list[StepCost], without: list[StepCost]) -> Measured:
    a, b, c = (training.middle([x.cpu_per_row for x in costs]) for costs in (first, second, without))
    shares = {name: training.middle([x.spans[name] / x.cpu for x in without]) for name in without[0].spans}
    bound = 1 / (1 - sum(shares.values()))
    told = ", ".join(f"{name} {share:.1%}" for name, share in shares.items())
    ours, peer, none = (f"{x:.3f} s" for x in (b, a, c))
    rows = [
        Ratio("CPU per clip, second epoch / first", ours, peer, a / b, ">= 1.3"),
        Ratio("CPU per clip, second epoch / without a cache", ours, none, c / b),
        Ratio("bound: steps without towers, projectors and their inputs", f"{c / bound:.3f} s", none, bound),
    ]
    notes = [
        "`python -m train run CONFIG` with `tower_cache: FOLDER`: `init` is the checkpoint, an adapter on its language "
        f"model is trained in bf16 autocast, towers and projectors are frozen; {BATCH} clips a step, {QUESTIONS} "
        f"questions a clip, facts shown ({without[0].load} a clip); one thread.",
        f"First epoch, but for its first step: computed and written; second: read. Medians of {len(first)} runs.",
        f"Shares of CPU time without a cache: {told}.",
    ]
    return Measured("Tower cache", rows, notes)
