"""What docs/DATA.md says of adding a dataset and a question task, done literally."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from random import Random

import pytest
from question_records import clip, fault
from typer.testing import CliRunner

from data_recipes.__main__ import app
from data_recipes.datasets import card
from data_recipes.questions import questions, tasks
from mllm_avqa.schema.records import read_records

ROOT = Path(__file__).parents[2]


def block(language: str) -> str:
    text = (ROOT / "docs" / "DATA.md").read_text(encoding="utf-8")
    found = re.search(rf"```{language}\n(.*?)```", text, re.DOTALL)
    assert found is not None
    return found[1]


def test_a_new_dataset_is_one_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cards, root = tmp_path / "cards", tmp_path / "set"
    (root / "clips").mkdir(parents=True)
    cards.mkdir()
    (cards / "porch.yaml").write_text(block("yaml"), encoding="utf-8")
    monkeypatch.setattr(card, "CARDS", cards)
    (root / "porch.csv").write_text("clip,scene,mos,sd\na,s,71.5,9\nb,s,12,4\nc,t,50,8\n")
    for name in "abc":
        (root / "clips" / f"{name}.mp4").touch()
    out = tmp_path / "porch.jsonl"
    done = CliRunner().invoke(app, ["convert", "porch", str(root), "-o", str(out)])
    assert done.exit_code == 0, done.output
    records = list(read_records(out))
    assert [(r.labels["video"].mean, r.labels["video"].std) for r in records] == [(71.5, 9), (12, 4), (50, 8)]
    assert [r.group for r in records] == ["porch/s", "porch/s", "porch/t"]
    assert "porch\tvideo\t0..100\thigher" in CliRunner().invoke(app, ["datasets"]).output


def test_a_new_question_task_is_one_file_and_its_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "TASKS", {style: dict(tasks.TASKS[style]) for style in tasks.STYLES})
    told = tasks.load_prompts

    def with_words(name: str, language: str) -> object:
        words = told(name, language)
        return {**words, "ask": {**words["ask"], "early": ["Does {kind} begin early?"]}} if name == "tasks" else words

    monkeypatch.setattr(tasks, "load_prompts", with_words)
    (tmp_path / "early.py").write_text(block("python"), encoding="utf-8")
    monkeypatch.setattr(tasks, "__path__", [*tasks.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "data_recipes.questions.tasks.early", raising=False)
    __import__("data_recipes.questions.tasks.early")
    monkeypatch.setattr("data_recipes.questions.TASKS", tasks.TASKS)
    asked = [
        q
        for seed in range(60)
        for q in questions(clip([fault("gblur", "video", 4, 0.0, 1.0)]), Random(seed), "en", 1, 3, "steps")
    ]
    early = [q for q in asked if q.task == "early"]
    assert early and {q.answer for q in early} == {"yes"}
    assert early[0].question == "Does Gaussian blur begin early?"
