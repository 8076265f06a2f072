"""`python -m train run --dry-run`: what a config would do, without reading a clip or a weight."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mllm_avqa.evidence import FACTS
from mllm_avqa.model.backbones import family
from mllm_avqa.model.backbones.base import Backbone
from mllm_avqa.model.prompting import Branch, Trusted, aspect_branch, prefix_segments
from mllm_avqa.model.scoring import level_token_ids
from mllm_avqa.model.views import Views
from mllm_avqa.schema.card import CARD_FILE, Card, ViewSpec
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.levels import WORDS
from mllm_avqa.schema.measurement import Measurement
from mllm_avqa.schema.records import Record
from train.config import PARTS, Config, Stage, load_config
from train.parts import counts, select
from train.reward import rewardable
from train.sources import SplitRecords, mixture_of, read_sources, shares, tasks, unheld
from train.start import Below, below, carded, check_adapter, fresh, rebased, skeleton

SAMPLE = 200  # records whose questions are measured
BYTES_PER_TOKEN = 3.5  # of UTF-8 text, where no tokenizer is at hand
FRAME = 10  # control tokens around a question, besides its text


def dry_run(config: Config, gpus: int = 1, folder: Path | None = None) -> dict[str, Any]:
    """Data mixture, trained parameters, tokens, steps and memory of every stage.

    folder: of the config; an `init` that is not there yet is looked for among the outputs of the configs in it, and
    their start is counted with. Raises what the run itself would raise for its records, its start, its adapter, its
    level words and its parts.
    """
    named = config.init
    config = planned(config, sorted(folder.glob("*.yaml")) if folder is not None else [])
    sources = read_sources(config)
    train = [r for s in sources for r in s.train]
    missing = [r.media for s in sources for r in s.train if not (s.folder / r.media).is_file()]
    setup = _setup(config, gpus)
    out: dict[str, Any] = {
        "name": config.name,
        "starts_from": str(named or "random weights"),
        "counted_with": str(config.init or "random weights"),
        "output": str(config.output),
        "training_clips": len(train),
        "held_out_clips": sum(len(s.held_out) for s in sources),
        **({"to_know": lacking} if (lacking := unheld(sources)) else {}),
        "missing_media": len(missing),
        "datasets": [{**s.dataset.model_dump(mode="json"), "questions": tasks(s.train)} for s in sources],
        "gpus": setup.gpus,
        "zero": setup.zero,
        "stages": [],
    }
    held: set[str] = set()  # parts of the adapter that an earlier stage leaves behind
    for stage in config.stages:
        # A fresh skeleton for each: an adapter on the meta device is as cheap to put on as to keep
        backbone, tokenizer, card = _open(config, train)
        low = {p for p in PARTS if getattr(stage.plan, p).tune == "lora"}
        if stage.adapter == "continue" and held and low - held:
            raise ConfigError(f"stage {stage.name}: the adapter of the stage before holds no {', '.join(low - held)}")
        held = low
        select(backbone, stage.model_copy(update={"adapter": "continue"}))
        out["stages"].append(_stage(config, stage, sources, backbone, tokenizer, card, setup))
        out["level_words"] = "single tokens" if tokenizer is not None else "not checked: no tokenizer at hand"
    return out


def planned(config: Config, paths: list[Path]) -> Config:
    """`config` with the start of the config among `paths` that will make its `init`, where that is not there yet."""
    if config.init is None or (config.init / CARD_FILE).is_file():
        return config
    for path in paths:
        try:
            before = load_config(path)
        except ConfigError:  # what several stages share is no config of its own
            continue
        if config.init in [before.output / s.name for s in before.stages]:
            first = planned(before, [p for p in paths if p != path])
            return config.model_copy(update={k: getattr(first, k) for k in ("init", "base", "build")})
    return config


def _setup(config: Config, gpus: int) -> Setup:
    zero, half = 0, False
    if config.deepspeed is not None:
        if not config.deepspeed.is_file():
            raise ConfigError(f"deepspeed: {config.deepspeed} does not exist")
        given = json.loads(config.deepspeed.read_text(encoding="utf-8"))
        zero = int(given.get("zero_optimization", {}).get("stage", 0))
        enabled = given.get("bf16", {}).get("enabled", False)
        half = config.bf16 if enabled == "auto" else bool(enabled)
    return Setup(gpus, zero, half, config.gradient_checkpointing)


def _open(config: Config, train: list[Record]) -> tuple[Backbone, Any, Card]:
    """The start of the run on the meta device, checked: its tokenizer, its level words, its adapter."""
    if config.init is None:
        model, tokenizer, card = fresh(config, train)
        return family(card.family).bare(model.to("meta"), tokenizer, card), tokenizer, card
    with TemporaryDirectory() as scratch:
        start = config.init
        if config.base is not None:
            start = Path(scratch)
            rebased(config, start)
        card = Card.load(start)
        backbone, tokenizer = skeleton(start, card)
        check_adapter(start, card)
    card = carded(config, card)
    if tokenizer is not None:
        level_token_ids(backbone, card.aspects, card.level_words)
    return backbone, tokenizer, card


def _stage(
    config: Config,
    stage: Stage,
    sources: list[SplitRecords],
    backbone: Backbone,
    tokenizer: Any,
    card: Card,
    setup: Setup,
) -> dict[str, Any]:
    views = stage.views.over(card.views)
    size = counts(backbone)
    train = [r for s in sources for r in s.train]
    mixed = shares(stage, sources)
    for row, s in zip(mixed, sources, strict=True):
        mixture = mixture_of(stage, s.dataset)
        row["questions_a_row"] = mixture.model_dump(exclude_defaults=True)
    row_tokens = tokens(stage, train, backbone, tokenizer, card, views)
    rows = stage.batch * stage.accumulate * setup.gpus
    answers = row_tokens.pop("answer")
    length = sum(row_tokens.values())
    batch = {k: v * stage.batch for k, v in {**row_tokens, "row": length}.items()}
    trained = {p: size[p]["trained"] for p in PARTS}
    text = backbone.model.config.text_config
    # What lies behind a trained part keeps its activations; the language model lies behind everything.
    kept = {"llm": True, "vision": trained["vision"] > 0, "audio": trained["audio"] > 0}
    how = below(config, stage, sum(s["all"] for s in size.values()) * 2)
    frozen = _frozen_bytes(how, sum(s["all"] for s in size.values()), text)
    estimate = footprint(
        sum(s["all"] for s in size.values()),
        sum(trained.values()),
        stacks(backbone.model.config, batch, kept),
        stage.batch * answers * text.vocab_size,
        stage.batch * length**2,
        setup,
        frozen,
    )
    total = sum(row["usable"] for row in mixed)
    return {
        "name": stage.name,
        "mixture": mixed,
        "parameters": {p: {**size[p], "tune": getattr(stage.plan, p).tune} for p in PARTS}
        | {"trained": sum(trained.values()), "all": sum(s["all"] for s in size.values())},
        "learning_rates": {p: getattr(stage.plan, p).lr or stage.lr for p in PARTS if trained[p]},
        "views": views.model_dump(exclude={"patch", "audio_rate"}),
        **({"reward": stage.reward.model_dump()} if stage.reward is not None else {}),
        "tokens_per_row": row_tokens | {"all": length},
        "rows_per_step": rows,
        "tokens_per_step": rows * length,
        "steps": stage.steps,
        "epochs": round(stage.steps * rows / total, 2),
        "under_8_processes": _under(8, stage, total),
        "frozen_weights": _told(frozen, setup),
        "memory_per_gpu_gib": estimate.gib(),
    }


def _frozen_bytes(how: Below, parameters: int, text: Any) -> float:
    """Of a frozen parameter, on average: 4 bits are for linear layers of the language model, experts left out."""
    if not how.four_bit:
        return how.bytes
    heads = text.num_attention_heads
    head = getattr(text, "head_dim", None) or text.hidden_size // heads
    layer = 2 * text.hidden_size * head * (heads + text.num_key_value_heads)
    if not getattr(text, "num_experts", 0):
        layer += 3 * text.hidden_size * text.intermediate_size
    share = text.num_hidden_layers * layer / parameters
    return share * how.bytes + (1 - share) * how.dtype.itemsize


def _told(frozen: float, setup: Setup) -> str:
    """How frozen weights lie on a GPU: `bf16` of DeepSpeed narrows them, whatever `base_dtype` they are read in."""
    if setup.half and frozen > 2:
        return f"2 bytes a parameter: read with {frozen:.3g}, made bf16 by DeepSpeed"
    return f"{frozen:.3g} bytes a parameter"


def _under(processes: int, stage: Stage, clips: int) -> dict[str, float]:
    """What the stage means with more processes: nothing of it is changed for them, so this says what to set.

    The rate that goes with larger batches of AdamW grows with their square root (arXiv 2205.10287).
    """
    rows = stage.batch * stage.accumulate * processes
    return {
        "rows_per_step": rows,
        "learning_rate": stage.lr,
        "steps": stage.steps,
        "epochs": round(stage.steps * rows / clips, 2),
        "steps_for_the_epochs_of_one": math.ceil(stage.steps / processes),
        "learning_rate_by_square_root": round(stage.lr * math.sqrt(processes), 7),
    }


def tokens(
    stage: Stage, records: list[Record], backbone: Backbone, tokenizer: Any, card: Card, views: ViewSpec
) -> dict[str, int]:
    """Tokens of a full row by kind: "visual", "sound", "text", and "answer" (those of the text that are learnt).

    Exact for the media of a clip that fills its window and budgets; the text is the mean over a sample of the records,
    with every fact measured and harmless.
    """
    pairs = -(-views.segments * views.frames_per_segment // 2)
    rows, columns = views.fragment_grid
    visual = pairs * (views.global_pixels // views.patch**2 + rows * columns)
    sound = backbone.sound_tokens(int(views.window_seconds * 100))
    if stage.practice:  # facts alone
        visual = sound = 0

    def count(text: str) -> int:
        if tokenizer is None:
            return math.ceil(len(text.encode()) / BYTES_PER_TOKEN)
        return len(tokenizer(text, add_special_tokens=False).input_ids)

    facts = [Measurement(name=n, modality=f.modality, value=0.0, unit="") for n, f in FACTS.items()]
    language = card.languages[0]
    segments = prefix_segments(Views(None, None, None), facts, None, language, card.facts)
    text = sum(count(p.text) for s in segments for p in s.parts if isinstance(p, Trusted)) + FRAME
    asked: list[tuple[float, int, int]] = []  # how often, tokens, of them learnt
    sample = records[:: max(1, len(records) // SAMPLE)]
    m, how = stage.mixture, stage.reward
    for r in sample:
        own = [q for q in r.questions if q.language == language]
        told = [(m.stage1, [q for q in own if q.stage == 1]), (m.stage3, [q for q in own if q.stage == 3])]
        if how is not None:  # an answer is counted with the length of the record's own
            told = [(how.questions, rewardable(r, language, {}) * how.samples)]
        for often, these in told:
            for q in these:
                times = min(often * (how.samples if how is not None else 1), len(these)) / len(these)
                asked.append((times, count(q.question) + count(q.answer) + FRAME, count(q.answer) + 1))
        for aspect in r.labels:
            b: Branch = aspect_branch(aspect, language, level=WORDS[0])
            asked.append(
                (min(m.stage2, 1.0) if how is None else 1.0, count(b.question) + count(b.stem + b.answer) + FRAME, 2)
            )
    behind = sum(t * n for t, n, _ in asked) / max(1, len(sample))
    learnt = sum(t * n for t, _, n in asked) / max(1, len(sample))
    return {"visual": visual, "sound": sound, "text": text + round(behind), "answer": math.ceil(learnt)}


GIB = 2**30


@dataclass(frozen=True)
class Setup:
    """What of the set-up decides about memory."""

    gpus: int = 1
    zero: int = 0  # ZeRO level, 0 = plain data parallelism
    half: bool = False  # weights and gradients in bf16 with an fp32 master copy (DeepSpeed's bf16), else all in fp32
    checkpointing: bool = False


@dataclass(frozen=True)
class Stack:
    """A stack of transformer layers and the positions that run through it."""

    layers: int
    width: int
    inner: int  # of the feed-forward layer, summed over the experts a token goes to
    attention: int  # heads x head size of the queries
    shared: int  # the same of keys, values
    positions: int  # of a micro-batch
    kept: bool  # a gradient passes: activations stay until the backward pass


@dataclass(frozen=True)
class Footprint:
    """Bytes on one GPU."""

    weights: float
    gradients: float
    optimizer: float
    activations: float

    @property
    def total(self) -> float:
        return self.weights + self.gradients + self.optimizer + self.activations

    def gib(self) -> dict[str, float]:
        parts = {k: getattr(self, k) for k in ("weights", "gradients", "optimizer", "activations", "total")}
        return {k: round(v / GIB, 3 if v < GIB else 1) for k, v in parts.items()}


def footprint(
    parameters: int,
    trained: int,
    stacks: list[Stack],
    logits: int,
    mask: int,
    setup: Setup = Setup(),
    frozen: float = 4,
) -> Footprint:
    """Estimate for P parameters of which T are trained, on N GPUs with ZeRO level z (arXiv 1910.02054, section 3).

    weights    T x 4 bytes (2 with `half`) and P - T times `frozen` bytes, divided by N for z = 3
    gradients  T x 4 bytes (2 with `half`), divided by N for z >= 2
    optimizer  T x 8 bytes: AdamW's two moments in fp32 (12 with `half`: the master copy), divided by N for z >= 1
    activations of one micro-batch under bf16 autocast:
      a layer keeps, per position, 24 width + 4 attention + 4 shared + 8 inner bytes (residual stream and norms in
      fp32; projections and the four tensors of a gated feed-forward layer in bf16; attention scores are never stored);
      with checkpointing a stack keeps 4 x width bytes per position and layer, and all of one layer at a time
      (arXiv 2205.05198); a stack no gradient passes keeps one layer's working set;
      + 12 bytes per answer logit (fp32 logits, their softmax and its gradient) + 3 bytes per entry of the row mask.

    logits: answer positions x vocabulary; mask: rows x length^2. Not counted: the allocator's fragmentation, CUDA's own
    0.5-1 GiB, ZeRO's communication buffers (about 1 GiB), and, with z = 3, the one layer that is gathered at a time.
    """
    n = max(1, setup.gpus)
    weight, gradient, moments = (2, 2, 12) if setup.half else (4, 4, 8)
    kept = [_kept(s, setup.checkpointing) for s in stacks]
    return Footprint(
        weights=(trained * weight + (parameters - trained) * min(frozen, weight)) / (n if setup.zero >= 3 else 1),
        gradients=trained * gradient / (n if setup.zero >= 2 else 1),
        optimizer=trained * moments / (n if setup.zero >= 1 else 1),
        activations=sum(kept) + 12 * logits + 3 * mask,
    )


def _kept(s: Stack, checkpointing: bool) -> float:
    layer = s.positions * (24 * s.width + 4 * s.attention + 4 * s.shared + 8 * s.inner)
    if not s.kept:
        return layer
    return s.layers * s.positions * 4 * s.width + layer if checkpointing else s.layers * layer


def stacks(config: Any, tokens: dict[str, int], kept: dict[str, bool]) -> list[Stack]:
    """The stacks of a thinker's config. tokens: of a micro-batch, by "row", "visual" and "sound"; kept: by part."""
    text, vision, sound = config.text_config, config.vision_config, config.audio_config
    heads = text.num_attention_heads
    head = getattr(text, "head_dim", None) or text.hidden_size // heads
    experts = getattr(text, "num_experts_per_tok", None)
    # tower positions in a visual token: patches of a merged pair of frames (Qwen), or of two frames (VideoLLaMA2)
    merge = vision.spatial_merge_size**2 if hasattr(vision, "spatial_merge_size") else 8
    wide = vision.hidden_size
    heard = _first(sound, "d_model", "hidden_size")
    return [
        Stack(
            layers=text.num_hidden_layers,
            width=text.hidden_size,
            inner=text.moe_intermediate_size * experts if experts else text.intermediate_size,
            attention=heads * head,
            shared=text.num_key_value_heads * head,
            positions=tokens["row"],
            kept=kept["llm"],
        ),
        Stack(
            layers=_first(vision, "depth", "num_hidden_layers"),
            width=wide,
            inner=vision.intermediate_size,
            attention=wide,
            shared=wide,
            positions=tokens["visual"] * merge,
            kept=kept["vision"],
        ),
        Stack(
            layers=_first(sound, "encoder_layers", "num_hidden_layers"),
            width=heard,
            inner=_first(sound, "encoder_ffn_dim", "intermediate_size"),
            attention=heard,
            shared=heard,
            positions=tokens["sound"] * 2,  # two tower positions are pooled into one token
            kept=kept["audio"],
        ),
    ]


def _first(config: Any, *names: str) -> int:
    return int(next(getattr(config, n) for n in names if hasattr(config, n)))
