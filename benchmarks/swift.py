"""Training steps against ms-swift (modelscope/ms-swift, Apache-2.0): CPU seconds per clip and per question.

Clips, questions, checkpoint, batch size, precision and threads are the same; the notes say what differs all the same.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

import yaml

from benchmarks import training
from benchmarks.base import Measured, Options, Ratio, timed
from benchmarks.training import BATCH, EPOCHS, WARM, MachinePlace, StepCost
from data_recipes.formats import export_questions
from data_recipes.formats.peers import Choice
from mllm_avqa.media import MediaReader
from mllm_avqa.schema.card import Card
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.windows import file_windows

QUESTIONS = 5  # of every clip
Tuned = tuple[str, int]  # what is tuned, questions of a clip
KINDS: tuple[Tuned, ...] = (("lora", 1), ("full", 1), ("lora", QUESTIONS))
TITLE = "Training against ms-swift"
INSTALL = "pip install ms-swift==4.6.0 torch==2.15.0 torchvision==0.29.2 qwen-omni-utils decord soundfile av"
VERSIONS = """
from importlib.metadata import version
print(", ".join(f"{p} {version(p)}" for p in ("ms-swift", "transformers", "peft", "torch", "qwen-omni-utils")))
"""
# One video and one sound item a row; 16 frames, as many pixels as our two views have together
ENVIRONMENT = {
    "FPS": "2",
    "VIDEO_MAX_PIXELS": str(training.PIXELS),
    "VIDEO_MIN_PIXELS": "784",
    "USE_AUDIO_IN_VIDEO": "false",
    "ENABLE_AUDIO_OUTPUT": "false",
    "SWIFT_AUDIO_LOAD_BACKEND": "soundfile_pyav",
    "FORCE_QWENVL_VIDEO_READER": "decord",
}
TUNERS = {
    "lora": "--tuner_type lora --lora_rank 8 --lora_alpha 32 --target_modules all-linear",
    "full": "--tuner_type full --freeze_llm false --freeze_vit false --freeze_aligner false",
}
# What it would do otherwise: use a GPU, compute layers twice to save memory, save and evaluate in between
PLAIN = (
    "--torch_dtype float32 --bf16 true --fp16 false --use_cpu true --attn_impl sdpa --gradient_checkpointing false "
    "--learning_rate 1e-4 --gradient_accumulation_steps 1 --dataloader_num_workers 0 --split_dataset_ratio 0 "
    "--save_steps 1000000 --report_to none --check_model false"
)


def run(settings: Options) -> Measured:
    if settings.peer_python is None:
        return skipped("give the interpreter of an environment that has it (--peer-python PATH)")
    python = settings.peer_python.absolute()  # not resolved: the link is what makes an environment of it
    told = versions(python)
    ours: dict[Tuned, list[StepCost]] = {kind: [] for kind in KINDS}
    theirs: dict[Tuned, list[StepCost]] = {kind: [] for kind in KINDS}
    with training.workplace(settings) as place:
        datasets = {n: exported(place, n) for n in (1, QUESTIONS)}
        for _ in range(settings.repeats):
            for tune, n in KINDS:
                config = training.written(place, f"ours-{tune}-{n}", training.stage(place, tune, n))
                ours[tune, n].append(training.after_warm_up(training.train(place, config)))
                theirs[tune, n].append(peer(python, place, datasets[n], tune, n))
        return report(ours, theirs, preparation(place), told, commands(place, datasets[1]))


def skipped(why: str) -> Measured:
    return Measured(TITLE, [], [f"Skipped: ms-swift is not here: {why}.", f"It pins older libraries: `{INSTALL}`."])


def versions(python: Path) -> str:
    """The peer's libraries. Raises ConfigError for an interpreter that cannot be run or lacks one of them."""
    try:
        done = subprocess.run([str(python), "-c", VERSIONS], capture_output=True, text=True, check=False)
    except OSError as e:
        raise ConfigError(f"{python} cannot be run: {e.strerror} (--peer-python)") from e
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:]
        raise ConfigError(f"{python} has no ms-swift: {''.join(last)}; `{INSTALL}` (--peer-python)")
    return done.stdout.strip()


def exported(place: MachinePlace, questions: int) -> Path:
    """The rows of ms-swift: `questions` of every clip, one row each."""
    path, every = place.folder / f"questions-{questions}.jsonl", place.folder / "questions.jsonl"
    export_questions(place.records, every, "ms-swift", Choice(stages=frozenset({1}), language="en"), absolute=True)
    lines = every.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(x for x in lines if int(json.loads(x)["id"].rpartition("/")[2]) < questions), "utf-8")
    return path


def arguments(place: MachinePlace, dataset: Path, tune: str, questions: int) -> list[str]:
    steps = (WARM + EPOCHS) * place.clips * questions // BATCH
    return [
        *("--model", str(place.checkpoint), "--model_type", "qwen2_5_omni", "--dataset", str(dataset)),
        *TUNERS[tune].split(),
        *("--max_steps", str(steps), "--per_device_train_batch_size", str(BATCH)),
        *PLAIN.split(),
        *("--output_dir", str(place.folder / f"swift-{tune}-{questions}")),
    ]


def peer(python: Path, place: MachinePlace, dataset: Path, tune: str, questions: int) -> StepCost:
    """`swift sft` under the clock."""
    ticks = training.clocked(
        [str(python)],
        place,
        f"swift-{tune}-{questions}",
        "swift.cli.sft",
        arguments(place, dataset, tune, questions),
        environment=ENVIRONMENT,
        cwd=place.folder,
    )
    return training.after_warm_up(ticks)


def report(
    ours: Mapping[Tuned, list[StepCost]],
    theirs: Mapping[Tuned, list[StepCost]],
    preparation: float,
    versions: str,
    commands: list[str],
) -> Measured:
    """Rows of a `StepCost` are clips on our side and questions on the peer's. preparation: CPU seconds per clip."""
    mine = {kind: training.middle([c.cpu_per_row for c in costs]) for kind, costs in ours.items()}
    peer = {kind: training.middle([c.cpu_per_row for c in costs]) for kind, costs in theirs.items()}
    lora, full, several = KINDS
    rows = [
        _row("LoRA bf16, CPU per clip with one question", mine[lora], peer[lora], ">= 1.5"),
        _row("full bf16, CPU per clip with one question", mine[full], peer[full], ">= 1.2"),
        _row(f"LoRA bf16, CPU per question at {QUESTIONS} a clip", mine[several] / QUESTIONS, peer[several], ">= 4"),
        _row("LoRA bf16, one epoch that also prepares its clips", mine[lora] + preparation, peer[lora]),
    ]
    loads = [f"{tune}, {n} asked: {ours[tune, n][0].load} / {theirs[tune, n][0].load}" for tune, n in KINDS]
    notes = [f"Peer: {versions}.", f"Ours / peer, a row: {'; '.join(loads)}.", *differences(preparation)]
    return Measured(TITLE, rows, [*notes, f"Medians of {len(ours[lora])} runs of each, in turns.", *commands])


def _row(what: str, ours: float, peer: float, target: str | None = None) -> Ratio:
    return Ratio(what, f"{ours:.3f} s", f"{peer:.3f} s", peer / ours, target)


def differences(preparation: float) -> list[str]:
    return [
        f"{WARM} epoch of warm-up, then {EPOCHS} epochs under one clock for both (`benchmarks/clock.py`): CPU time of "
        "whole steps with all that is in them, reading to optimizer, without start-up and saving. "
        f"{BATCH} rows a step, one thread, bf16 autocast over fp32 weights, AdamW. LoRA: rank 8 on all linear layers "
        "of the language model, everything else frozen; full: everything trained.",
        "Different: ours reads windows that were decoded once, before the first epoch "
        f"({preparation:.3f} CPU seconds a clip, which the last row counts); the peer decodes the file of a row every "
        "time it comes.",
        "Different: ours shows 8 whole frames and 8 of fragments, two items; the peer shows 16 whole frames, one item.",
        f"Different: ours asks {QUESTIONS} questions in one row behind one clip; the peer has a row for each.",
        "Different: ours computes logits at the answers; the peer at every token, and its accuracy at every step. With "
        "this vocabulary of 1,024 that costs less than it would with the 152,064 of Qwen2.5-Omni.",
    ]


def preparation(place: MachinePlace) -> float:
    """CPU seconds that a clip takes to be decoded, measured and cut into views, decoder process included."""
    spec = Card.load(place.checkpoint).views
    clips = sorted((place.folder / "data" / "clips").iterdir())
    with MediaReader() as reader:
        next(file_windows(str(clips[0]), reader, spec))  # warm-up
        return timed(lambda: [next(file_windows(str(c), reader, spec)) for c in clips]).cpu / len(clips)


def commands(place: MachinePlace, dataset: Path) -> list[str]:
    """What both sides run, with $DIR for the folder that `--keep` names."""
    words = [f"{k}={v}" for k, v in (training.ENVIRONMENT | ENVIRONMENT).items()]
    words += ["swift", "sft", *arguments(place, dataset, "lora", 1)]
    theirs = " ".join(words).replace(str(place.folder), "$DIR")
    config = (place.folder / "ours-lora-1.yaml").read_text(encoding="utf-8").replace(str(place.folder), "$DIR")
    shown = yaml.safe_dump(yaml.safe_load(config), default_flow_style=True, sort_keys=False, width=10_000).strip()
    return [
        f"All is made by `python -m benchmarks swift --peer-python PATH --keep $DIR`; the peer needs `{INSTALL}`.",
        f"Ours, LoRA: `python -m train run $DIR/ours-lora-1.yaml`, which says `{shown}`",
        f"Peer, LoRA: `{theirs}`",
        f"Peer, full: instead of its tuner options `{TUNERS['full']}`",
    ]
