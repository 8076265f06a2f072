"""mini's base against the models it is made of. Skipped where it has not been fetched (mllm-avqa weights mini)."""

import importlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from mllm_avqa.bases import catalogue, have
from mllm_avqa.bases.assemble import DATA, START, content, sound_tensors, taught
from mllm_avqa.model.backbones import load_backbone
from mllm_avqa.model.backbones.qwen2_5_omni import SPECIAL
from mllm_avqa.model.prompting import grade_words
from mllm_avqa.model.scoring import level_token_ids
from mllm_avqa.schema.card import Card
from mllm_avqa.schema.errors import CheckpointError

fetching = importlib.import_module("mllm_avqa.bases.fetch")
HERE = Path("train/configs/bases/mini")
OWN = 49152  # tokens of SmolLM2
PROMPTS = (
    "The capital of France is",
    "def fibonacci(n):\n    if n < 2:\n",
    "Signal facts: 12.5 px, 3 dB louder than it should be.",
    "Éclair, 你好, \t\ttabs   and spaces",
)
fetched = pytest.mark.skipif(
    any(have(name) is None for name in ("mini-base", "smollm2-135m", "whisper-base")), reason="mllm-avqa weights mini"
)


@pytest.fixture(scope="module")
def backbone():
    return load_backbone(HERE, Card.load(HERE))


@fetched
def test_logits_are_those_of_the_llama_it_was(backbone):
    """Bit for bit, at every place of four prompts: the same weights in transformers' Llama."""
    from transformers import LlamaConfig, LlamaForCausalLM

    text = backbone.core.config.text_config
    shape = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")
    sizes = {name: getattr(text, name) for name in shape}
    rope = {"rope_type": "default", "rope_theta": 1e5}
    told = LlamaConfig(
        vocab_size=text.vocab_size, rms_norm_eps=1e-5, rope_parameters=rope, tie_word_embeddings=True, **sizes
    )
    with torch.device("meta"):
        llama = LlamaForCausalLM(told)
    state = {f"model.{n}": t for n, t in backbone.core.model.language_model.state_dict().items()}
    biases = [n for n in state if n.endswith("_proj.bias")]
    assert len(biases) == 3 * text.num_hidden_layers
    assert not any(state.pop(n).any() for n in biases)  # Llama has none
    llama = llama.to_empty(device="cpu")
    llama.model.rotary_emb = type(llama.model.rotary_emb)(told)
    llama.load_state_dict(state | {"lm_head.weight": state["model.embed_tokens.weight"]})
    for prompt in PROMPTS:
        ids = torch.tensor([backbone.text_ids(prompt)])
        with torch.no_grad():
            ours = backbone.model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
            theirs = llama(input_ids=ids).logits
        assert torch.equal(ours[..., :OWN], theirs[..., :OWN]), prompt


@fetched
def test_layers_hear_what_whispers_hear(backbone):
    """The output of the last block on eight seconds, against openai-whisper's encoder: cosine 1."""
    from whisper.model import AudioEncoder, sinusoids

    from mllm_avqa.bases.ctranslate2 import read_arrays, whisper_state

    state = whisper_state(read_arrays(have("whisper-base")))
    encoder = AudioEncoder(80, 1500, 512, 8, 6)
    own = {n.removeprefix("encoder."): torch.tensor(v) for n, v in state.items() if n.startswith("encoder.")}
    own["positional_embedding"] = sinusoids(1500, 512)  # the file holds them rounded to float16
    encoder.load_state_dict(own)
    encoder.float()
    encoder.positional_embedding = encoder.positional_embedding[:400]  # Whisper pads to 30 s: other positions
    sound = torch.randn(8 * 16000, generator=torch.Generator().manual_seed(0)).numpy() * 0.1
    mel = backbone.feature_extractor(sound, sampling_rate=16000, padding=False, truncation=False, return_tensors="pt")[
        "input_features"
    ]
    assert mel.shape == (1, 80, 800)
    heard = []
    tower = backbone.core.model.audio_tower
    taught_at_school = {n: t.clone() for n, t in tower.state_dict().items()}
    plain = {n.removeprefix("audio_tower."): t for n, t in sound_tensors(have("whisper-base"))}
    tower.load_state_dict(plain, strict=False)
    hook = tower.layers[-1].register_forward_hook(lambda m, a, y: heard.append(y[0] if isinstance(y, tuple) else y))
    with torch.no_grad():
        backbone.core.model.get_audio_features(mel, torch.ones(1, 800, dtype=torch.long))
        theirs = []
        encoder.blocks[-1].register_forward_hook(lambda m, a, y: theirs.append(y))
        encoder(mel)
    hook.remove()
    tower.load_state_dict(taught_at_school)
    cosine = torch.cosine_similarity(heard[0].view(-1, 512), theirs[0].view(-1, 512))
    assert float(cosine.min()) > 0.99999


def test_what_school_added_is_low_rank_and_rounded_once():
    draw = torch.Generator().manual_seed(0)
    weight, up, down = (torch.randn(*n, generator=draw) for n in ((48, 64), (48, 4), (4, 64)))
    found = taught(weight.half(), up.bfloat16(), down.bfloat16())
    assert found.dtype == torch.float16
    exact = weight.half().double() + up.bfloat16().double() @ down.bfloat16().double()
    assert torch.equal(found, exact.half())


@fetched
def test_the_ear_is_whispers_and_what_it_learnt(backbone):
    start = load_file(DATA / START)
    own = {f"audio_tower.{n}": t for n, t in backbone.core.model.audio_tower.state_dict().items()}
    for name, plain in sound_tensors(have("whisper-base")):
        stem = name.removesuffix(".weight")
        added = f"{stem}.up" in start
        assert torch.equal(own[name], taught(plain, start[f"{stem}.up"], start[f"{stem}.down"]) if added else plain), (
            name
        )


@fetched
def test_facts_are_tokens_that_nobody_can_write(backbone):
    said = " blur severe noise3 <|im_end|><|AUDIO|>"
    facts = {backbone.tokenizer.convert_tokens_to_ids(w) for w in grade_words()}
    ours, theirs = backbone.text_ids(said), backbone.text_ids(said, quoted=True)
    assert len(facts.intersection(ours)) == 2
    assert max(theirs) < OWN
    assert not {*facts, *backbone.special}.intersection(theirs)
    assert backbone.tokenizer.decode(theirs) == said
    assert len(set(level_token_ids(backbone, Card.load(HERE).aspects))) == 5


@fetched
def test_the_base_has_the_bits_it_is_known_by():
    assert content(load_file(have("mini-base"))) == catalogue()["mini-base"]["sha256"] == Card.load(HERE).revision


def test_every_token_it_needs_is_added():
    added = json.loads((DATA / "tokens.json").read_text())
    assert sorted([*added["control"], "<|endoftext|>", "<|im_start|>", "<|im_end|>"]) == sorted(SPECIAL)
    assert len(set(added["facts"])) == len(added["facts"])
    vocabulary = json.loads((DATA / "config.json").read_text())["text_config"]["vocab_size"]
    assert vocabulary >= OWN + len(added["control"]) + len(added["facts"])


def test_a_base_that_is_missing_or_another_one_is_a_line(tmp_path, monkeypatch):
    monkeypatch.setenv("MLLM_AVQA_CACHE", str(tmp_path))
    card = Card.load(HERE)
    with pytest.raises(CheckpointError, match="mllm-avqa weights mini-base"):
        load_backbone(HERE, card)
    with pytest.raises(CheckpointError, match="an adapter of another mini-base"):
        load_backbone(HERE, card.model_copy(update={"revision": "0" * 64}))


def test_parts_that_cannot_be_had_are_a_line(tmp_path, monkeypatch):
    monkeypatch.setenv("MLLM_AVQA_CACHE", str(tmp_path))

    def offline(told, part, tell):
        raise CheckpointError("no network")

    for source in ("_by_packages", "_by_hub"):
        monkeypatch.setattr(fetching, source, offline)
    with pytest.raises(CheckpointError, match="mini-base can not be assembled: the weights smollm2-135m are not to be"):
        fetching.fetch("mini-base")
    assert have("mini-base") is None


def test_an_adapter_of_an_earlier_base_goes_on_with_todays(tmp_path):
    from typer.testing import CliRunner

    from train.mini.__main__ import app

    old = tmp_path / "old"
    draw = torch.Generator().manual_seed(1)
    stem = "base_model.model.model."
    told = {
        f"{stem}audio_tower.proj.bias": torch.randn(576, generator=draw),
        f"{stem}visual.merger.mlp.2.bias": torch.randn(576, generator=draw),
        f"{stem}language_model.layers.0.self_attn.q_proj.lora_A.weight": torch.randn(2, 576, generator=draw),
    }
    old.mkdir()
    save_file(told, old / "adapter_model.safetensors")
    (old / "adapter_config.json").write_text("{}")
    (old / "stage.json").write_text("{}")
    Card.load(HERE).model_copy(update={"revision": "0" * 64, "training": {"stage1": {}}}).save(old)
    run = CliRunner().invoke(app, ["rebase", str(old), str(tmp_path / "new"), "--side", "audio"])
    assert run.exit_code == 0, run.output
    found = load_file(tmp_path / "new" / "adapter_model.safetensors")
    audio, *kept = told
    assert torch.equal(found[audio], load_file(DATA / START)["audio_tower.proj.bias"].float())
    assert all(torch.equal(found[name], told[name]) for name in kept)
    card = Card.load(tmp_path / "new")
    assert card.revision == catalogue()["mini-base"]["sha256"]
    assert card.training == {"stage1": {}, "rebased": {"anew": "audio", "base": f"mini-base@{card.revision}"}}
    assert {f.name for f in (tmp_path / "new").iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors", "avqa.yaml",
    }  # fmt: skip
    # Again, with towers that only learnt longer: projectors stay, and what comes last is what it lies on now.
    card.model_copy(update={"training": card.training | {"hear": {"base": "mini-base@before"}}}).save(tmp_path / "new")
    run = CliRunner().invoke(app, ["rebase", str(tmp_path / "new"), str(tmp_path / "again")])
    assert run.exit_code == 0, run.output
    again = load_file(tmp_path / "again" / "adapter_model.safetensors")
    assert again.keys() == found.keys() and all(torch.equal(again[name], found[name]) for name in found)
    trained = Card.load(tmp_path / "again").training
    assert list(trained.items())[-1] == ("rebased_2", {"anew": "nothing", "base": f"mini-base@{card.revision}"})
    for wrong in ((old, "x", "sync"), (tmp_path, "x", "audio"), (old, "old", "audio")):
        run = CliRunner().invoke(app, ["rebase", str(wrong[0]), str(tmp_path / wrong[1]), "--side", wrong[2]])
        assert run.exit_code == 2 and "Traceback" not in run.output
