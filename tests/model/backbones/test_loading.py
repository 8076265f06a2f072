"""Where weights come from and how they are placed: one set of options for every family."""

import re
from pathlib import Path

import pytest
import torch
from qwen3_samples import open_qwen3

from mllm_avqa.bases import catalogue
from mllm_avqa.model.backbones import FAMILIES, attention, family, load_backbone, loading
from mllm_avqa.model.backbones.loading import LoadOptions, check_widths, load_weights, place
from mllm_avqa.model.weights import base_from, kept, locate
from mllm_avqa.schema.card import Card
from mllm_avqa.schema.errors import CheckpointError, ConfigError

BASES = Path(__file__).parents[3] / "train" / "configs" / "bases"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Recorder:
    """Stands for a class of transformers: keeps what it was asked for."""

    @classmethod
    def from_pretrained(cls, base, **arguments):
        return base, arguments


def card(**fields):
    return Card(name="x", family="qwen3_omni", **fields)


def test_full_weights_lie_in_the_checkpoint(tmp_path):
    assert locate(tmp_path, card()) == (str(tmp_path), None)


def test_a_base_is_a_folder_beside_or_a_hub_name_with_its_commit(tmp_path):
    run, start = tmp_path / "run", tmp_path / "start"
    run.mkdir()
    start.mkdir()
    assert Path(locate(run, card(base_model="../start"))[0]).resolve() == start
    assert locate(run, card(base_model=str(start))) == (str(start), None)
    hub = card(base_model="Qwen/Some-Omni", revision=COMMIT)
    assert locate(run, hub) == ("Qwen/Some-Omni", COMMIT)
    with pytest.raises(CheckpointError, match=r"'Qwen/Some-Omni' is no folder beside it.*needs `revision`"):
        locate(run, card(base_model="Qwen/Some-Omni"))


def test_an_adapter_names_local_weights_relative_to_itself_and_hub_weights_as_they_are(tmp_path):
    start, stage = tmp_path / "start", tmp_path / "runs" / "stage"
    start.mkdir()
    assert base_from(start, card(), stage) == "../../start"
    assert base_from(start, card(base_model="Qwen/Some-Omni", revision=COMMIT), stage) == "Qwen/Some-Omni"


def test_the_pinned_commit_and_the_options_reach_transformers(tmp_path):
    hub = card(base_model="Qwen/Some-Omni", revision=COMMIT)
    base, given = load_weights(Recorder, tmp_path, hub, LoadOptions(torch.bfloat16, "auto"))
    assert base == "Qwen/Some-Omni"
    by_processor = attention.NAME  # flash attention takes no mask of packed rows
    assert given == {
        "revision": COMMIT, "dtype": torch.bfloat16, "device_map": "auto", "attn_implementation": by_processor,
        "trust_remote_code": False, "use_safetensors": True,
    }  # fmt: skip


def test_a_trained_card_without_its_adapter_is_refused(tmp_path):
    hub = card(base_model="Qwen/Some-Omni", revision=COMMIT, training={"stage": {}})
    with pytest.raises(CheckpointError, match="holds no adapter"):
        load_weights(Recorder, tmp_path, hub, LoadOptions())


@pytest.mark.parametrize("library", ["bitsandbytes", "accelerate"])
def test_four_bit_without_its_library_says_what_to_install(qwen3_dir, monkeypatch, library):
    monkeypatch.setattr(loading, "find_spec", lambda name: None if name == library else object())
    with pytest.raises(ConfigError, match=rf"4-bit loading needs {library}.*pip install"):
        load_backbone(qwen3_dir, Card.load(qwen3_dir), torch.bfloat16, four_bit=True)


def test_device_map_without_accelerate_says_what_to_install(qwen3_dir, monkeypatch):
    monkeypatch.setattr(loading, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"device_map.*needs accelerate.*pip install"):
        load_backbone(qwen3_dir, Card.load(qwen3_dir), device_map="auto")


@pytest.mark.parametrize(("inputs", "outputs", "fits"), [(128, 32, True), (96, 64, False), (64, 48, False)])
def test_widths_that_the_four_bit_kernel_of_a_cpu_stops_at_are_refused(inputs, outputs, fits):
    """Tried with bitsandbytes 0.50.2 on AVX-512: 96 gives `shape '[64, 1]' is invalid`, 48 `N must be divisible`."""
    kind = type("Linear4bit", (torch.nn.Linear,), {"support_avx512bf16_for_cpu": True})
    model = torch.nn.ModuleDict({"layer": kind(inputs, outputs)})
    if fits:
        return check_widths(model)
    with pytest.raises(ConfigError, match=rf"--four-bit on a CPU: layer makes {outputs} values of {inputs}.*multiples"):
        check_widths(model)


def test_four_bit_is_for_the_language_model_alone(tiny_dir):
    pytest.importorskip("bitsandbytes")
    backbone = load_backbone(tiny_dir, Card.load(tiny_dir), torch.bfloat16, four_bit=True)
    found = [n for n, m in backbone.model.named_modules() if type(m).__name__ == "Linear4bit"]
    assert len(found) == 14  # two layers of seven
    assert all("language_model.layers" in n for n in found)
    assert place(backbone.model, "meta") is backbone.model  # stays where it was loaded


def test_a_card_alone_is_its_base_in_the_chosen_dtype(qwen3, qwen3_dir, tmp_path):
    alone = Card.load(qwen3_dir)
    alone.base_model = str(qwen3_dir)
    alone.save(tmp_path)
    backbone = open_qwen3(tmp_path, dtype=torch.bfloat16, device_map="cpu")
    for (name, a), (_, b) in zip(qwen3.model.named_parameters(), backbone.model.named_parameters(), strict=True):
        assert torch.equal(a.bfloat16(), b), name


def test_place_moves_what_nobody_placed():
    linear = torch.nn.Linear(1, 1)
    linear.hf_device_map = {"": "cpu"}
    assert place(linear, "meta").weight.device.type == "cpu"
    assert place(torch.nn.Linear(1, 1), "meta").weight.device.type == "meta"


def test_an_unknown_family_names_the_known_ones():
    with pytest.raises(CheckpointError, match=f"'x' is not one of {', '.join(FAMILIES)}"):
        family("x")


@pytest.mark.parametrize("path", sorted(BASES.iterdir()), ids=lambda p: p.name)
def test_cards_of_published_bases_are_pinned_and_fit_their_family(path):
    base = Card.load(path)
    if kept(base):  # assembled in the cache: known by its content (tests/bases)
        assert base.revision == catalogue()[base.base_model]["sha256"]
    else:
        assert re.fullmatch(r"[0-9a-f]{40}", base.revision or "")
        assert locate(path, base) == (base.base_model, base.revision)
    assert base.name == path.name
    settings = getattr(family(base.family), "video_settings", {})  # VideoLLaMA2 cuts its frames itself
    assert base.views.patch == 2 * settings.get("patch_size", 14)  # default of Qwen2VLVideoProcessor, merged in pairs
    assert base.limits


def test_sound_has_as_many_bands_as_the_tower_hears(tmp_path):
    """Whisper-base hears 80 mel bands, the published Omni towers 128: the processor follows the model."""
    from sample_views import make_views

    from train.config import Size
    from train.nano.tiny import build
    from train.saving import save

    size = Size(vocab=600, llm=(64, 1), vision=(64, 1), audio=(64, 1), heads=2, shared_heads=1, mel_bins=80)
    model, tokenizer = build(["plain words"], size)
    own = Card(name="t", family="qwen2_5_omni")
    save(model, tokenizer, own, tmp_path)
    backbone = load_backbone(tmp_path, own)
    mel = backbone.media_tensors(make_views())["input_features"]
    assert mel.shape[1] == 80
    assert backbone.media_tokens({"input_features": mel, "feature_attention_mask": torch.ones(1, mel.shape[-1]).long()})
