"""Towers at school: lessons, what tokens have to tell, and a checkpoint that comes out of it."""

import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from data_recipes.synthesis.school import subjects, write_lessons
from data_recipes.synthesis.sources import Source
from mllm_avqa.model.backbones import load_backbone
from mllm_avqa.model.checkpoint import resolve_checkpoint
from mllm_avqa.model.energies import coefficients, with_energies
from mllm_avqa.model.projectors import readings
from mllm_avqa.model.views import Views
from mllm_avqa.schema.card import Card, Pixels
from mllm_avqa.schema.errors import CheckpointError, ConfigError
from train.schooling import lessons, targets, towers
from train.schooling.config import Schooling
from train.schooling.school import school

NANO = resolve_checkpoint("nano")
PIXELS = Pixels(mean=-0.25, std=0.27, energies=True)


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Eight lessons of each sense and split, of made pictures and tones."""
    out = tmp_path_factory.mktemp("lessons")
    sources = [
        Source(f"tones/{split}-{tone}", "audio", str(_tone(out, split, hz)), 4.0, 16000, True, "CC0", split, tone)
        for split in ("train", "val")
        for tone, hz in (("low", 220), ("high", 900))
    ]
    counts = {f"{m}-{s}": 8 for m in ("video", "audio") for s in ("train", "val")}
    list(write_lessons(sources, out / "shards", counts, 0, 1))
    return out / "shards"


def _tone(folder, split, hz):
    from scipy.io import wavfile

    t = np.arange(4 * 16000) / 16000
    wave = np.sin(2 * np.pi * hz * t) * (0.3 + 0.2 * np.sin(2 * np.pi * 3 * t))
    wavfile.write(folder / f"{split}-{hz}.wav", 16000, (wave * 32767).astype(np.int16))
    return folder / f"{split}-{hz}.wav"


def test_lessons_hold_what_is_shown_and_what_is_known(shards):
    with np.load(shards / "video-train-000.npz") as z:
        assert z["view"].shape == (8, 8, 168, 168, 3)
        assert list(z["names"]) == subjects("video")
        assert ((z["dose"] >= 0) & (z["dose"] <= 1)).all()
        untouched = z["dose"].sum(1) == 0
        assert (z["likeness"][~untouched].mean() if untouched.any() else 0) <= 1
    sound = lessons.read(shards, "audio", "train")
    assert len(sound.statistics[0]) == 75  # three seconds, 25 tokens each
    with pytest.raises(ConfigError, match="data_recipes school"):
        lessons.read(shards, "audio", "test")


@pytest.mark.parametrize("start", ["fresh", "pretrained"])
def test_a_tower_goes_on_with_lessons_of_more_faults(shards, tmp_path, start):
    own = tmp_path / "lessons"
    own.mkdir()
    for split in ("train", "val"):
        shutil.copy(shards / f"audio-{split}-000.npz", own)
    config = Schooling(
        name="pupil", lessons=own, init=NANO, output=tmp_path / "out", bf16=False,
        hearing={"minutes": 0.01, "batch": 2, "start": start},
    )  # fmt: skip
    (school(config) / "school.json").unlink()
    before = torch.load(config.output / "audio.state.pt", weights_only=True)
    with np.load(own / "audio-train-000.npz") as z:
        arrays = dict(z)
    names, dose = arrays["names"], np.roll(arrays["dose"], 1, axis=1)
    arrays |= {"names": np.array(["new", *names[:-1]]), "dose": dose}
    np.savez(own / "audio-train-001.npz", **arrays)
    both = lessons.read(own, "audio", "train")
    assert both.names == [*names, "new"]  # the oldest shards' first
    assert np.array_equal(both.dose[8:, :-2].numpy(), dose[:, 1:])
    assert np.array_equal(both.dose[8:, -1].numpy(), dose[:, 0])
    assert (both.dose[:8, -1] == 0).all()
    school(config.model_copy(update={"hearing": config.hearing.model_copy(update={"minutes": 0.02})}))
    after = torch.load(config.output / "audio.state.pt", weights_only=True)
    assert after["rest"][0] > before["rest"][0]
    assert len(after["whole"]["heads.token.weight"]) == len(before["whole"]["heads.token.weight"]) + 1
    (config.output / "school.json").unlink()
    other = {"rank": 4, "start": "pretrained"}
    with pytest.raises(ConfigError, match="another tower"):
        school(config.model_copy(update={"hearing": config.hearing.model_copy(update=other)}))


def test_a_frozen_projector_stays_as_the_language_model_reads_it(shards, tmp_path):
    lesson = {"minutes": 0.01, "batch": 2, "start": "pretrained", "rank": 2, "projector": "frozen"}
    config = Schooling(name="pupil", lessons=shards, init=NANO, output=tmp_path / "out", hearing=lesson, bf16=False)
    before, after = (load_backbone(p, Card.load(p)).model.state_dict() for p in (NANO, school(config)))
    changed = {n for n in before if not torch.equal(before[n], after[n])}
    assert changed and all("audio_tower.layers" in n for n in changed)


def test_what_does_not_fit_is_said(shards, tmp_path):
    config = Schooling(name="pupil", lessons=shards, init=NANO, output=tmp_path / "out", hearing={"minutes": 0.01})
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="device"):
            school(config.model_copy(update={"device": "cuda"}))


def test_statistics_tell_noise_repeats_and_block_edges_apart():
    rng = np.random.default_rng(0)
    still = np.repeat(rng.integers(90, 110, (1, 56, 56, 3), dtype=np.uint8), 2, 0)
    noisy = np.clip(still + rng.normal(0, 12, still.shape), 0, 255).astype(np.uint8)
    tiled = np.kron(rng.integers(60, 200, (1, 7, 7, 1)), np.ones((2, 8, 8, 3))).astype(np.uint8)
    plain, noise, blocks = (targets.sight(v).mean(0) for v in (still, noisy, tiled))
    assert plain.shape == noise.shape
    assert (noise[8:16] > plain[8:16]).all()  # the bands of the change
    assert blocks[20] > max(plain[20], noise[20]) + 0.3  # edges on the lattice of 8


def test_patches_and_energies_are_those_of_the_backbone():
    card = Card.load(NANO)
    card = card.model_copy(update={"pixels": PIXELS.model_copy(update={"energies": False})})
    view = np.random.default_rng(1).integers(0, 256, (8, 168, 168, 3), dtype=np.uint8)
    flat = (torch.from_numpy(towers.patches(view)).float() / 255 - PIXELS.mean) / PIXELS.std
    backbone = load_backbone(NANO, Card.load(NANO), torch.float32)
    backbone.extra = None
    shown = backbone.media_tensors(Views(view, view, None))["pixel_values_videos"]
    assert torch.allclose(flat, shown[: len(flat)], atol=1e-5)
    assert card.pixels is not None
    four = with_energies(flat, PIXELS, 14)
    assert four.shape == (len(flat), 4 * 2 * 14 * 14)
    grey = torch.full((1, 3, 2, 14, 14), (100 / 255 - PIXELS.mean) / PIXELS.std)
    found = coefficients(grey.flatten(1), PIXELS, 14)
    assert found[0, 0, 0, 0] == pytest.approx(100 * 14, rel=1e-4)
    assert found[0, 1].abs().max() < 1e-2


def test_a_schooled_checkpoint_loads_and_its_tokens_have_the_spread_of_words(shards, tmp_path):
    config = Schooling(
        name="pupil", lessons=shards, init=NANO, output=tmp_path / "out",
        sight={"minutes": 0.02, "batch": 2}, hearing={"minutes": 0.02, "batch": 2}, bf16=False,
    )  # fmt: skip
    done = school(config)
    card = Card.load(done)
    assert card.pixels is not None
    assert card.pixels.energies
    backbone = load_backbone(done, card, torch.float32)
    words = float(backbone.model.get_input_embeddings().weight.std())
    pupils = lessons.read(shards, "video", "val")
    with torch.no_grad():
        found = towers.outputs(backbone, "video", pupils.shown, card).flatten(0, 1)
    assert float(found.mean(0).abs().max()) < words
    assert float(found.std(0).mean()) == pytest.approx(towers.SPREAD * words, rel=0.3)
    vision = readings(backbone)["vision"]
    assert vision.constant < 5
    backbone.model.model.visual.merger.mlp[-1].bias.data += 60  # as the tower published before: nothing can be read
    assert not readings(backbone)["vision"].legible
    assert school(config) == done  # nothing is done twice
    plain = card.model_copy(update={"pixels": card.pixels.model_copy(update={"energies": False})})
    with pytest.raises(CheckpointError, match="energies"):
        load_backbone(done, plain, torch.float32)


@pytest.mark.parametrize("which", ["nano", "colours"])
def test_a_pretrained_tower_learns_by_adapter_and_is_merged(shards, tmp_path, tiny_dir, which):
    start = NANO if which == "nano" else tiny_dir  # the class of the large models, with its three colours
    lesson = {"minutes": 0.02, "batch": 2, "start": "pretrained", "rank": 2}
    config = Schooling(
        name="pupil", lessons=shards, init=start, output=tmp_path / "out", hearing=lesson, sight=lesson, bf16=False
    )
    out = school(config)
    assert Card.load(out).pixels == Card.load(start).pixels
    before, after = (load_backbone(p, Card.load(p)).model.state_dict() for p in (start, out))
    assert before.keys() == after.keys()  # merged: a checkpoint like any other
    for sense, tower in (("hearing", "audio_tower"), ("sight", "visual")):
        added = load_file(out / f"{sense}.low_rank.safetensors")
        factors = {n.rsplit(".", 1)[0] for n in added}
        changed = {n for n in before if tower in n and not torch.equal(before[n], after[n])}
        projector = f"model.{tower}.{towers.projector_of('video' if sense == 'sight' else 'audio')}"
        assert {n for n in changed if not n.startswith(projector)} == {f"model.{tower}.{n}.weight" for n in factors}
        for name in factors:
            step = added[f"{name}.up"].float() @ added[f"{name}.down"].float()
            full = f"model.{tower}.{name}.weight"
            assert torch.allclose(after[full] - before[full], step, atol=0.02 * float(step.abs().max()) + 1e-6)
