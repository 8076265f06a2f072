"""--dry-run says what the run will do: real parameter counts, token counts and memory, and the same refusals."""

import json
from pathlib import Path

import pytest
import torch

from mllm_avqa.evidence import FACTS
from mllm_avqa.model.backbones import load_backbone
from mllm_avqa.model.backbones.lora import lora_config
from mllm_avqa.model.prompting import aspect_branch
from mllm_avqa.model.rows import pack
from mllm_avqa.model.scoring import encode_prefix
from mllm_avqa.model.views import Views
from mllm_avqa.schema.card import Card, ViewSpec
from mllm_avqa.schema.errors import CheckpointError, ConfigError
from mllm_avqa.schema.measurement import Measurement
from mllm_avqa.schema.records import Label, Record, write_records
from train.config import PARTS, Config, Size, load_config
from train.dry_run import Setup, Stack, dry_run, footprint
from train.nano.tiny import build
from train.saving import save
from train.start import check_adapter, weights_sample

BASES = Path(__file__).parent.parent.parent / "train" / "configs" / "bases"
LOW = {"llm": "lora", "vision": "frozen", "audio": "frozen", "projectors": "full"}


def config(tmp_path, init, tunes=None, **more):
    path = tmp_path / "r.jsonl"
    labels = {a: Label(mean=3.0) for a in ("overall", "video", "audio")}
    rows = [
        Record(id=str(k), media=f"{k}.mp4", dataset="d", group=str(k), split="train", labels=labels) for k in range(4)
    ]
    write_records(path, rows)
    tunes = tunes or dict.fromkeys(PARTS, "full")
    stage = {"name": "s", "steps": 10, "batch": 2, "accumulate": 3, "mixture": {"stage2": 1}}
    stage["parts"] = {k: {"tune": t} for k, t in tunes.items()}
    given = {"name": "x", "records": path, "output": tmp_path / "o", "init": init, "languages": ["en"], **more}
    return Config.model_validate({**given, "stages": [stage]})


def test_counts_are_those_of_the_real_model(tiny_dir, tmp_path):
    report = dry_run(config(tmp_path, tiny_dir), gpus=2)
    (stage,) = report["stages"]
    model = load_backbone(tiny_dir, Card.load(tiny_dir), torch.float32).model
    real = sum(p.numel() for p in model.parameters())
    assert stage["parameters"]["all"] == real
    unused = model.model.audio_tower.audio_bos_eos_token.weight.numel()
    assert stage["parameters"]["trained"] == real - unused
    assert (stage["rows_per_step"], stage["steps"], stage["epochs"]) == (12, 10, 30.0)
    assert report["missing_media"] == 4
    assert report["level_words"] == "single tokens"


def test_fixed_memory_is_what_adamw_really_holds(tiny_dir):
    """Reference run: bytes of weights, gradients and optimizer state after one step, against the formula."""
    model = load_backbone(tiny_dir, Card.load(tiny_dir), torch.float32).model.model.language_model
    optimizer = torch.optim.AdamW(model.parameters())
    model(input_ids=torch.tensor([[1, 2]])).last_hidden_state.sum().backward()
    optimizer.step()
    n = sum(p.numel() for p in model.parameters())
    told = footprint(n, n, [], 0, 0)
    assert told.weights == sum(p.numel() * p.element_size() for p in model.parameters())
    assert told.gradients == sum(p.grad.numel() * p.grad.element_size() for p in model.parameters())
    state = sum(s[k].numel() * 4 for s in optimizer.state.values() for k in ("exp_avg", "exp_avg_sq"))
    assert told.optimizer == state


def test_zero_levels_divide_what_they_divide():
    """Published: ZeRO, arXiv 1910.02054, figure 1: 7.5 B parameters, 64 GPUs, 120 / 31.4 / 16.6 / 1.9 GB."""
    n = 7_500_000_000
    got = [footprint(n, n, [], 0, 0, Setup(64, zero, half=True)).total / 1e9 for zero in range(4)]
    assert got == pytest.approx([120, 31.4, 16.6, 1.9], abs=0.06)


def test_activations():
    stack = Stack(layers=10, width=8, inner=16, attention=8, shared=4, positions=5, kept=True)
    layer = 5 * (24 * 8 + 4 * 8 + 4 * 4 + 8 * 16)
    assert footprint(0, 0, [stack], 2, 3).activations == 10 * layer + 24 + 9
    assert footprint(0, 0, [stack], 0, 0, Setup(checkpointing=True)).activations == layer + 10 * 5 * 4 * 8


def test_tokens_of_a_full_row(tiny_dir, tiny, tmp_path):
    """Against a row packed from a clip that fills its window: media exactly, text within 5 %."""
    import numpy as np

    card = Card.load(tiny_dir)
    (stage,) = dry_run(config(tmp_path, tiny_dir))["stages"]
    v = card.views
    n, side = v.segments * v.frames_per_segment, v.patch
    rows, cols = v.fragment_grid
    views = Views(
        np.zeros((n, 2 * side, v.global_pixels // side // (2 * side) * side, 3), np.uint8),
        np.zeros((n, rows * side, cols * side, 3), np.uint8),
        np.zeros(int(v.window_seconds * 16000), np.float32),
    )
    facts = [Measurement(name=k, modality=f.modality, value=0.0, unit="") for k, f in FACTS.items()]
    segments, media = encode_prefix(tiny, views, facts, None, "en")
    asked = [tiny.encode_branch(aspect_branch(a, "en", level="good")) for a in ("overall", "video", "audio")]
    ids = pack(segments, asked, media).ids
    told = stage["tokens_per_row"]
    assert told["visual"] == int((ids == tiny.ids["<|VIDEO|>"]).sum())
    assert told["sound"] == int((ids == tiny.ids["<|AUDIO|>"]).sum())
    assert told["all"] == pytest.approx(len(ids), rel=0.05)


@pytest.mark.parametrize(
    ("base", "billions", "low_rank"),
    [
        (
            "qwen2.5-omni-3b",
            4.7035,
            29_933_568,
        ),
        ("qwen2.5-omni-7b", 8.9318, 40_370_176),
        ("qwen3-omni-30b-a3b", 31.7192, 13_369_344),  # attention only
        ("videollama2.1-7b-av", 8.5266, 40_370_176),  # the language model has the widths of Qwen2.5 7B
    ],
)
def test_sizes_of_the_large_bases_without_their_weights(tmp_path, base, billions, low_rank):
    """Analytic: LoRA is layers x rank 16 x (in + out) of q, k, v, o, gate, up, down."""
    (stage,) = dry_run(config(tmp_path, BASES / base, LOW, gradient_checkpointing=True))["stages"]
    sizes = stage["parameters"]
    assert (sizes["all"] - low_rank) / 1e9 == pytest.approx(billions, abs=1e-3)
    assert sizes["llm"]["trained"] == low_rank
    assert sizes["vision"]["trained"] == sizes["audio"]["trained"] == 0
    memory = stage["memory_per_gpu_gib"]
    frozen = sizes["all"] - sizes["trained"]  # in bf16: nothing writes to it
    assert memory["weights"] == pytest.approx((frozen * 2 + sizes["trained"] * 4) / 2**30, abs=0.1)


def test_the_deepspeed_file_decides_zero_and_precision(tiny_dir, tmp_path):
    (tmp_path / "z.json").write_text(json.dumps({"bf16": {"enabled": "auto"}, "zero_optimization": {"stage": 3}}))
    report = dry_run(config(tmp_path, tiny_dir, deepspeed=tmp_path / "z.json"), gpus=4)
    assert (report["zero"], report["gpus"]) == (3, 4)
    wide = dry_run(config(tmp_path, tiny_dir, LOW, deepspeed=tmp_path / "z.json", bf16=True, base_dtype="float32"))
    assert wide["stages"][0]["frozen_weights"] == "2 bytes a parameter: read with 4, made bf16 by DeepSpeed"
    alone = dry_run(config(tmp_path, tiny_dir, LOW, bf16=True, base_dtype="float32"))
    assert alone["stages"][0]["frozen_weights"] == "4 bytes a parameter"
    with pytest.raises(ConfigError, match=r"gone\.json does not exist"):
        dry_run(config(tmp_path, tiny_dir, deepspeed=tmp_path / "gone.json"))


def test_level_words_of_several_tokens_are_refused(tmp_path):
    model, tokenizer = build(["a b c"], Size(vocab=300, llm=(64, 1), vision=(64, 1), audio=(64, 1), heads=2))
    save(model, tokenizer, Card(name="x", family="qwen2_5_omni"), tmp_path / "c")
    with pytest.raises(CheckpointError, match="not a single token"):
        dry_run(config(tmp_path, tmp_path / "c"))


def test_nothing_to_train_is_refused(tiny_dir, tmp_path):
    with pytest.raises(ConfigError, match="trains no parameter"):
        dry_run(config(tmp_path, tiny_dir, dict.fromkeys(PARTS, "frozen")))


def test_another_base_for_full_weights_is_refused(tiny_dir, tmp_path):
    with pytest.raises(ConfigError, match="can not be put on another base model"):
        dry_run(config(tmp_path, tiny_dir, base="a/b@c"))
    with pytest.raises(ConfigError, match="neither a folder nor a hub name"):
        dry_run(config(tmp_path, BASES / "qwen2.5-omni-3b", base="Qwen/Qwen2.5-Omni-3B"))


def test_a_local_copy_of_the_base_takes_its_place(tiny_dir, tmp_path):
    """A card that names hub weights, with a folder in their stead: as the run itself does it."""
    from train.run import reopened
    from train.start import start_of

    named = Card.load(tiny_dir).model_copy(update={"base_model": "a/b", "revision": "c" * 40})
    (tmp_path / "named").mkdir()
    named.save(tmp_path / "named")
    given = config(tmp_path, tmp_path / "named", base=str(tiny_dir))
    (stage,) = dry_run(given)["stages"]
    assert not (tmp_path / "o").exists()  # a dry run leaves nothing behind
    backbone, _ = reopened(start_of(given, []))
    assert stage["parameters"]["all"] == sum(p.numel() for p in backbone.model.parameters())


def test_a_stage_whose_start_is_not_there_yet_is_counted_from_the_start_of_the_one_before(tiny_dir, tmp_path):
    import yaml

    given = config(tmp_path, tiny_dir)
    outputs = []
    for n, start in ((1, tiny_dir), (2, tmp_path / "o" / "s1"), (3, tmp_path / "o" / "s2")):
        data = given.model_dump(mode="json", exclude_defaults=True)
        data["init"], data["stages"][0]["name"] = str(start), f"s{n}"
        (tmp_path / f"stage{n}.yaml").write_text(yaml.safe_dump(data))
        outputs.append(load_config(tmp_path / f"stage{n}.yaml"))
    (tmp_path / "common.yaml").write_text("name: shared by all, no config\n")
    first, _, third = (dry_run(c, folder=tmp_path) for c in outputs)
    assert third["starts_from"] == str(tmp_path / "o" / "s2")
    assert third["counted_with"] == first["counted_with"] == str(tiny_dir)
    assert third["stages"][0]["parameters"] == first["stages"][0]["parameters"]
    with pytest.raises(CheckpointError, match=r"s2 has no avqa\.yaml"):
        dry_run(outputs[2])


def test_an_adapter_of_another_base_is_refused(tiny_dir, tmp_path):
    from peft import get_peft_model

    card = Card.load(tiny_dir)
    backbone = load_backbone(tiny_dir, card, torch.float32)
    get_peft_model(backbone.model, lora_config(backbone, 2, 4)).save_pretrained(tmp_path / "a")

    def on(base, known):
        training = {"s": {"base": known} if known else {}}
        c = card.model_copy(update={"base_model": str(base), "training": training})
        c.save(tmp_path / "a")
        return c

    known = weights_sample(tiny_dir, card)
    check_adapter(tmp_path / "a", on(tiny_dir, known))
    corpus = [" ".join(card.level_words)] * 9
    same = Size(vocab=900, llm=(64, 2), vision=(64, 2), audio=(64, 1), heads=2)
    for name, size, message in (
        ("same shape", same, "adapter of other weights"),
        ("wider", same.model_copy(update={"llm": (96, 2)}), "down_proj is 96 x 256 in .*, lora_A is 2 x 160"),
        ("lower", same.model_copy(update={"llm": (64, 1)}), "does not exist"),
    ):
        model, tokenizer = build(corpus, size, seed=1)
        save(model, tokenizer, Card(name="x", family="qwen2_5_omni", views=ViewSpec()), tmp_path / name)
        wrong = on(tmp_path / name, known if name == "same shape" else None)
        with pytest.raises(CheckpointError, match=message):
            check_adapter(tmp_path / "a", wrong)
