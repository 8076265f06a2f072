"""Habits of long runs, in one process: stopping, bad values, a full disk, lost clips, other shapes, cached towers."""

from __future__ import annotations

import errno
import json
import os
import signal
from pathlib import Path

import pytest
import torch
import yaml

from mllm_avqa.schema.errors import ConfigError, OutputError
from train import run as stages
from train import saving
from train.config import Config
from train.manifest import FILE
from train.stopping import Interrupted, NotFinite
from train.trainer import RatingTrainer

TEMPLATE = yaml.safe_load((Path(__file__).parent / "mixed.yaml").read_text())
STAGE = {"name": "only", "steps": 6, "batch": 2, "lr": 1e-3, "mixture": {"stage1": 1, "stage2": 1}, "save_every": 2}


def config(records, output, stage=None, **changes):
    return Config.model_validate(
        {**TEMPLATE, "records": records, "output": output, "stages": [STAGE | (stage or {})]} | changes
    )


def losses(output, step=6):
    state = json.loads((output / "only" / f"checkpoint-{step}" / "trainer_state.json").read_text())
    return {h["step"]: h["loss"] for h in state["log_history"] if "loss" in h}


NAMES = {
    "loss/total", "loss/answer_text", "loss/level_kl", "loss/level_mass", "loss/rank_pairs", "held_out_srcc/mean",
    "held_out_srcc/video", "held_out_srcc/audio", "optimizer/learning_rate", "optimizer/gradient_norm",
    "speed/clips_per_second", "speed/questions_per_second", "speed/tokens_per_second", "speed/share_of_peak_arithmetic",
}  # fmt: skip


def curves(output):
    """{name: {step: value}} of what TensorBoard shows of the stage."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    shown = EventAccumulator(str(output / "tensorboard" / "only"))
    shown.Reload()
    return {name: {e.step: e.value for e in shown.Scalars(name)} for name in shown.Tags()["scalars"]}


@pytest.fixture(scope="module")
def unbroken(mixed_data, tmp_path_factory):
    output = tmp_path_factory.mktemp("unbroken")
    stages.run(config(mixed_data, output))
    return output


def before(monkeypatch, step, act):
    """`act(trainer, inputs)` in the training step after `step`."""
    original = RatingTrainer.training_step

    def stepped(self, model, inputs, *args, **kwargs):
        if self.state.global_step == step:
            act(self, inputs)
        return original(self, model, inputs, *args, **kwargs)

    monkeypatch.setattr(RatingTrainer, "training_step", stepped)


def test_a_preempted_run_saves_where_it_is_and_goes_on(mixed_data, unbroken, tmp_path, monkeypatch):
    with monkeypatch.context() as m:
        before(m, 2, lambda trainer, inputs: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(Interrupted, match="step 3 of 6"):
            stages.run(config(mixed_data, tmp_path))
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    stages.run(config(mixed_data, tmp_path))
    assert losses(tmp_path) == pytest.approx(losses(unbroken), abs=1e-6)
    assert set(curves(tmp_path)) == set(curves(unbroken)) == NAMES
    assert curves(tmp_path)["loss/total"] == pytest.approx(losses(unbroken), abs=1e-6)  # no step twice
    runs = json.loads((tmp_path / FILE).read_text())["runs"]
    assert len(runs) == 2
    assert runs[0]["data"][str(mixed_data)]["records"] == 17 and len(runs[0]["data"][str(mixed_data)]["sha256"]) == 64
    assert runs[1]["versions"]["torch"] == torch.__version__ and runs[1]["config"]["seed"] == 3


ONE = {"steps": 14, "batch": 1, "save_every": 11}  # 8 clips: an epoch and most of a second one


def noted(monkeypatch):
    """Every batch that is trained on from here, as (record id, tokens)."""
    seen = []
    compute = RatingTrainer.compute_loss

    def look(self, model, inputs, *args, **kwargs):
        seen.append((inputs["about"]["ids"][0], inputs["inputs"]["input_ids"][0].tolist()))
        return compute(self, model, inputs, *args, **kwargs)

    monkeypatch.setattr(RatingTrainer, "compute_loss", look)
    return seen


def test_a_clip_alone_in_its_batch_is_asked_something_else_in_every_epoch(mixed_data, tmp_path, monkeypatch):
    seen = noted(monkeypatch)
    stages.run(config(mixed_data, tmp_path / "a", stage=ONE, languages=["en", "zh"]))
    first, second = dict(seen[:8]), dict(seen[8:])
    assert len(first) == 8 and len(second) == 6
    assert sum(first[name] != second[name] for name in second) >= 3
    unbroken, seen[:] = list(seen), []
    before(monkeypatch, 11, lambda trainer, inputs: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Interrupted, match="step 12 of 14"):
        stages.run(config(mixed_data, tmp_path / "b", stage=ONE, languages=["en", "zh"]))
    stages.run(config(mixed_data, tmp_path / "b", stage=ONE, languages=["en", "zh"]))
    assert seen == unbroken
    assert losses(tmp_path / "b", 14) == pytest.approx(losses(tmp_path / "a", 14), abs=1e-6)


def test_a_nan_names_its_records(mixed_data, tmp_path, monkeypatch):
    ids = []

    def spoil(trainer, inputs):
        ids.extend(inputs["about"]["ids"])
        inputs["level_target"][0, 0] = float("nan")

    before(monkeypatch, 3, spoil)
    with pytest.raises(NotFinite, match="step 3") as e:
        stages.run(config(mixed_data, tmp_path))
    assert ids and all(i in str(e.value) for i in ids)
    assert saving.last_checkpoint(tmp_path / "only", {"processes": 1, "zero": 0, "rows": 2}).name == "checkpoint-2"


def test_a_gradient_that_is_not_finite_ends_the_run_before_the_step(mixed_data, tmp_path, monkeypatch):
    def spoil(trainer, inputs):
        weight = next(p for p in trainer.model.parameters() if p.requires_grad)
        weight.register_hook(lambda g: g * float("inf"))

    before(monkeypatch, 1, spoil)
    with pytest.raises(NotFinite, match=r"gradient norm is .* at step 1"):
        stages.run(config(mixed_data, tmp_path))


def test_a_full_disk_leaves_the_last_checkpoint_alone(mixed_data, unbroken, tmp_path, monkeypatch):
    def full(self, directory):
        if self.state.global_step == 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(self, directory)

    original = RatingTrainer._save_rng_state
    with monkeypatch.context() as m:
        m.setattr(RatingTrainer, "_save_rng_state", full)
        with pytest.raises(OutputError, match=r"checkpoint-4 could not be written .*MiB free.*Earlier checkpoints"):
            stages.run(config(mixed_data, tmp_path))
    assert not (tmp_path / "only" / "checkpoint-4").exists()
    stages.run(config(mixed_data, tmp_path))
    assert losses(tmp_path) == pytest.approx(losses(unbroken), abs=1e-6)


def test_a_clip_lost_in_the_middle_is_named_and_replaced_by_nothing(mixed_data, tmp_path, monkeypatch, caplog):
    seen = []

    def lose(trainer, inputs):
        for path in trainer.train_dataset.paths.values():
            if path.name.startswith("video-1-"):
                kept[path] = path.read_bytes()
                path.write_bytes(b"PK no archive")

    kept: dict[Path, bytes] = {}
    before(monkeypatch, 0, lose)
    compute = RatingTrainer.compute_loss

    def look(self, model, inputs, *args, **kwargs):
        seen.append(inputs["about"]["ids"])
        return compute(self, model, inputs, *args, **kwargs)

    monkeypatch.setattr(RatingTrainer, "compute_loss", look)
    try:
        stages.run(config(mixed_data, tmp_path, stage={"steps": 8}))
    finally:
        for path, content in kept.items():
            path.write_bytes(content)
    assert "clip video-1 cannot be read and is left out" in caplog.text
    assert json.loads((tmp_path / "only" / stages.DONE).read_text())["unreadable"] == ["video-1"]
    later = [i for ids in seen[1:] for i in ids]
    assert "video-1" not in later and any(len(ids) == 1 for ids in seen)


def test_a_checkpoint_of_other_processes_is_refused(unbroken):
    def last(**shape):
        return saving.last_checkpoint(unbroken / "only", {"processes": 1, "zero": 0, "rows": 2} | shape)

    assert last().name == "checkpoint-6"
    assert last(processes=2).name == "checkpoint-6"  # half the rows on each: the same steps
    with pytest.raises(ConfigError, match=r"saved with 2 rows .* this run has 4 rows .*--num_processes"):
        last(processes=2, rows=4)
    with pytest.raises(ConfigError, match=r"1 processes, 0 as ZeRO level.* 2 processes, 2 as ZeRO level"):
        last(processes=2, zero=2)


def test_the_best_checkpoint_outlives_newer_ones(mixed_data, tmp_path, monkeypatch):
    scores = iter([0.1, 0.9, 0.2, 0.3, 0.4, 0.0])

    def scored(self, model):
        return {"video": {"srcc": next(scores), "n": 6}}

    monkeypatch.setattr("train.held_out.Validation.score", scored)
    stages.run(config(mixed_data, tmp_path, stage={"steps": 5, "save_every": 1}))
    kept = {p.name for p in (tmp_path / "only").glob("checkpoint-*")}
    assert kept == {"checkpoint-2", "checkpoint-5"}
    assert json.loads((tmp_path / "only" / stages.DONE).read_text())["best"] == {"step": 2, "srcc": 0.9}


def test_tower_outputs_are_kept_and_change_nothing(mixed_data, tmp_path, monkeypatch):
    from train.towers import TowerCache

    made = []
    create = TowerCache.__init__

    def noted(self, *args, **kwargs):
        create(self, *args, **kwargs)
        made.append(self)

    monkeypatch.setattr(TowerCache, "__init__", noted)
    curves = []
    for name, folder in (("without", None), ("first", tmp_path / "towers"), ("again", tmp_path / "towers")):
        stages.run(config(mixed_data, tmp_path / name, stage={"tune": "lora"}, tower_cache=folder))
        curves.append(losses(tmp_path / name))
    first, again = made
    assert first.made == len([*(tmp_path / "towers").rglob("*.safetensors")]) > 20
    assert again.read and not again.made
    assert curves[1] == curves[2] == pytest.approx(curves[0], abs=1e-5)


def test_tower_outputs_of_other_weights_views_or_precision_are_not_taken(tiny_dir, tmp_path):
    from train.towers import TowerCache

    backbone, card = stages.reopened(tiny_dir)
    backbone.model.requires_grad_(False)

    def folders(card=card, bf16=False):
        return {t.folder for t in TowerCache(backbone, card, tmp_path, bf16).towers.values()}

    now = folders()
    assert len(now) == 2 and folders() == now
    assert folders(bf16=True).isdisjoint(now)
    other = card.views.model_copy(update={"segments": card.views.segments + 1})
    assert folders(card.model_copy(update={"views": other})).isdisjoint(now)
    with torch.no_grad():
        backbone.model.model.visual.blocks[0].mlp.down_proj.weight[0, 0] += 1e-6
    assert len(folders() & now) == 1  # the other tower is as it was
    backbone.model.model.visual.requires_grad_(True)
    assert len(folders()) == 1  # what is trained is not kept


def test_arithmetic_of_a_step_is_close_to_what_torch_counts(mixed_data, tmp_path, monkeypatch):
    from torch.utils.flop_counter import FlopCounterMode

    counted = {}

    def count(trainer, inputs):
        with FlopCounterMode(display=False) as counter:
            trainer.compute_loss(trainer.model, inputs).backward()
        trainer.model.zero_grad()
        counted["torch"] = counter.get_total_flops()
        counted["here"] = trainer._arithmetic.of({k: v for k, v in inputs["about"].items() if k != "ids"})

    before(monkeypatch, 0, count)
    size = {"vocab": 700, "llm": [128, 4], "vision": [64, 3], "audio": [64, 2], "heads": 2}
    stages.run(config(mixed_data, tmp_path, stage={"steps": 1}, build={"size": size, "see_bands": False}))
    assert counted["here"] == pytest.approx(counted["torch"], rel=0.25)
