"""The parts of the training benchmarks that are not timings."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from benchmarks import clock, processes, swift, towers, training
from benchmarks.base import Options
from benchmarks.report import render
from benchmarks.training import MachinePlace, StepCost
from mllm_avqa.schema.errors import ConfigError
from train.config import load_config

QUICK = Path(sys.executable)


def ticks(steps: int, cpu: float = 2.0, wall: float = 4.0, rows: int = 4) -> list[dict[str, Any]]:
    """Lines of a clock that ran `steps` steps, after 100 s of start-up."""
    return [
        {
            "step": n,
            "cpu": 100 + cpu * n,
            "wall": 100 + wall * n,
            "rows": rows * n,
            "tokens": 50 * rows * n,
            "patches": 20 * rows * n,
            "spans": {"A.f": 0.5 * n},
        }
        for n in range(1, steps + 1)
    ]


def cost(cpu: float, rows: int, wall: float = 1.0, **spans: float) -> StepCost:
    return StepCost(steps=8, rows=rows, tokens=50 * rows, patches=20 * rows, cpu=cpu, wall=wall, spans=spans)


# ---- the clock ------------------------------------------------------------------------------------------------------


def test_start_up_and_the_first_epoch_do_not_count() -> None:
    found = training.after_warm_up(ticks(12))
    assert (found.steps, found.rows, found.cpu, found.wall) == (8, 32, 16.0, 32.0)
    assert found.spans == {"A.f": 4.0}
    assert found.cpu_per_row == 0.5
    assert found.load == "50 tokens and 20 picture patches"


def test_rows_of_all_processes_count() -> None:
    assert training.between(ticks(4), 2, 4, processes=2).rows == 16


def test_a_batch_is_counted_at_any_depth() -> None:
    ids, pixels = torch.zeros(3, 7, dtype=torch.long), torch.zeros(11, 2)
    expected = {"rows": 3, "tokens": 21, "patches": 11}
    assert clock.given({"input_ids": ids, "pixel_values_videos": pixels, "labels": ids}) == expected
    assert (
        clock.given({"inputs": {"input_ids": ids, "pixel_values_videos": pixels}, "about": {"ids": ["a"]}}) == expected
    )
    assert clock.given({"input_ids": ids, "pixel_values_videos": None})["patches"] == 0


def test_cpu_time_of_a_method_is_added_up() -> None:
    spans: dict[str, float] = {}
    spin = clock.timed(lambda n: sum(i * i for i in range(n)), spans, "spin")
    assert spans == {"spin": 0.0}
    assert spin(300_000) == spin(300_000)
    assert spans["spin"] > 0.005


def test_the_clock_ticks_after_every_step_of_a_trainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers
    from transformers.trainer_callback import CallbackHandler

    monkeypatch.setattr(transformers.Trainer, "training_step", transformers.Trainer.training_step)  # undone afterwards
    monkeypatch.setattr(CallbackHandler, "on_step_end", CallbackHandler.on_step_end)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    Path("script.py").write_text(SCRIPT, encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["clock.py", "ticks", "--span", "fractions:Fraction.limit_denominator", "script"])
    runpy.run_path(clock.__file__, run_name="__main__")
    lines = [json.loads(line) for line in Path("ticks").read_text().splitlines()]
    assert [x["step"] for x in lines] == [1, 2, 3]
    assert [(x["rows"], x["tokens"]) for x in lines] == [(2, 10), (4, 20), (6, 30)]
    assert lines[2]["cpu"] > lines[0]["cpu"]
    assert lines[2]["spans"]["Fraction.limit_denominator"] > 0


SCRIPT = """
import torch
from fractions import Fraction
from transformers import Trainer, TrainingArguments

class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
    def forward(self, input_ids):
        Fraction("3.141592653589793").limit_denominator(10)
        return {"loss": (self.weight * input_ids).sum()}

data = [{"input_ids": torch.ones(5)} for _ in range(6)]
args = TrainingArguments("out", max_steps=3, per_device_train_batch_size=2, use_cpu=True, report_to=[],
                         save_strategy="no", disable_tqdm=True)
Trainer(Model(), args, train_dataset=data).train()
"""


# ---- what is run ----------------------------------------------------------------------------------------------------


def place(tmp_path: Path) -> MachinePlace:
    return MachinePlace(tmp_path, clips=16)


@pytest.mark.parametrize("tune", ["lora", "full"])
def test_both_sides_train_the_same_number_of_epochs(tmp_path: Path, tune: str) -> None:
    here = place(tmp_path)
    config = load_config(training.written(here, "ours", training.stage(here, tune, swift.QUESTIONS)))
    stage = config.stages[0]
    words = swift.arguments(here, tmp_path / "q.jsonl", tune, swift.QUESTIONS)
    peer = dict(zip(words[::2], words[1::2], strict=True))
    epochs = training.WARM + training.EPOCHS
    assert stage.steps * stage.batch == epochs * here.clips
    assert (
        int(peer["--max_steps"]) * int(peer["--per_device_train_batch_size"]) == epochs * here.clips * swift.QUESTIONS
    )
    assert peer["--tuner_type"] == tune == stage.plan.llm.tune
    assert stage.plan.vision.tune == ("frozen" if tune == "lora" else "full")
    assert config.threads == 1
    assert config.bf16
    if tune == "lora":
        assert (int(peer["--lora_rank"]), int(peer["--lora_alpha"])) == (stage.lora.r, stage.lora.alpha)


def test_both_sides_see_as_many_patches() -> None:
    """Analytic: our rounding and the peer's (`smart_resize` of qwen-omni-utils) meet at 6 x 9 for 360 x 240."""
    from mllm_avqa.model.views import _whole
    from mllm_avqa.schema.card import ViewSpec

    spec = ViewSpec.model_validate(training.VIEWS)
    assert _whole(np.zeros((2, 240, 360, 3), np.uint8), spec).shape == (2, 6 * 28, 9 * 28, 3)
    beta = (240 * 360 / training.PIXELS) ** 0.5
    assert (int(240 / beta / 28), int(360 / beta / 28)) == spec.fragment_grid == (6, 9)


def test_commands_hold_no_path_of_this_machine(tmp_path: Path) -> None:
    here = place(tmp_path)
    training.written(here, "ours-lora-1", training.stage(here, "lora", 1))
    text = "\n".join(swift.commands(here, tmp_path / "questions-1.jsonl"))
    assert str(tmp_path) not in text
    assert "--dataset $DIR/questions-1.jsonl" in text
    config = yaml.safe_load(text.split("which says `")[1].split("`")[0])
    assert config["init"] == "$DIR/checkpoint"
    assert config["stages"][0]["mixture"] == {"stage1": 1}


def test_a_run_that_fails_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    failing = [sys.executable, "-c", "raise SystemExit('no such tuner')"]
    with pytest.raises(training.RunFailed, match="no such tuner"):
        training.clocked(failing, place(tmp_path), "r", "swift.cli.sft", ["--model"], cwd=tmp_path)


# ---- reports --------------------------------------------------------------------------------------------------------


def test_without_the_peer_the_report_says_why() -> None:
    found = swift.run(Options())
    assert found.rows == []
    assert "--peer-python" in found.notes[0]
    assert "Skipped" in render([found], Options())


def test_an_interpreter_without_the_peer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="peer-python"):
        swift.versions(tmp_path / "python")
    with pytest.raises(ConfigError, match="ms-swift"):
        swift.versions(QUICK)


def test_ratios_are_per_clip_and_per_question() -> None:
    ours = dict(zip(swift.KINDS, ([cost(8, 32)], [cost(16, 32)], [cost(10, 32)]), strict=True))
    theirs = dict(zip(swift.KINDS, ([cost(16, 32)], [cost(16, 32)], [cost(80, 160)]), strict=True))
    rows = swift.report(ours, theirs, 0.25, "ms-swift 0", []).rows
    assert [round(r.ratio, 3) for r in rows] == [2.0, 1.0, 8.0, 1.0]  # 5 questions: .5 s against .3125 / 5
    assert [r.met for r in rows] == [True, False, True, None]


def test_processes_are_compared_by_clips_in_a_second_of_wall_time() -> None:
    found = processes.report([cost(1, 32, wall=32.0)] * 2, [cost(1, 64, wall=40.0)] * 2)
    assert found.rows[0].ratio == pytest.approx(1.6)
    assert found.rows[0].ours == "1.60/s"


def test_the_tower_cache_is_bounded_by_what_it_can_spare() -> None:
    spans = {"V.forward": 3.0, "A.forward": 1.0}
    found = towers.report([cost(10, 16)], [cost(8, 16)], [cost(10, 16, **spans)])
    assert found.rows[0].ratio == pytest.approx(1.25)
    assert found.rows[0].met is False
    assert found.rows[2].ratio == pytest.approx(1 / 0.6)
    assert "V.forward 30.0%, A.forward 10.0%" in found.notes[-1]
