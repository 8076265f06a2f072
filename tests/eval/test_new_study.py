"""What docs/EVALUATION.md says of adding a study, done literally; and the command that repeats one."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path

import pytest
import typer
from small_clips import write
from typer.testing import CliRunner

import eval.studies
from eval.board.bench import SuiteRun
from eval.board.reading import read_suite
from eval.board.run import run_suite
from eval.command import register
from eval.study import Recorded, command_line
from mllm_avqa.schema.records import Record, write_records

CLIPS = 5  # the fewest that a correlation is measured on


@pytest.fixture
def loud(tmp_path, monkeypatch):
    """The study of the page, as a file of its own."""
    page = (Path(__file__).parents[2] / "docs" / "EVALUATION.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?class Loud.*?)```", page, re.DOTALL)
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "loud.py").write_text(example, encoding="utf-8")
    monkeypatch.setattr(eval.studies, "__path__", [*eval.studies.__path__, str(tmp_path / "studies")])
    eval.studies.studies.cache_clear()
    yield eval.studies.kind("loud")
    eval.studies.studies.cache_clear()
    monkeypatch.delitem(sys.modules, "eval.studies.loud")


@pytest.fixture
def records(tmp_path):
    made = []
    for k in range(CLIPS):
        write(tmp_path / f"{k}.mp4", seed=k)
        made.append(Record(id=f"c{k}", media=f"{k}.mp4", dataset="d", group=f"g{k}", split="test"))
    write_records(tmp_path / "records.jsonl", made)
    return tmp_path / "records.jsonl"


def test_a_new_study_is_one_file(loud, records, tmp_path, tiny_dir):
    app = typer.Typer()
    register(app, loud)
    done = CliRunner().invoke(app, [str(records), "--checkpoint", str(tiny_dir), "--floor", "-60", "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["n"] == CLIPS
    (tmp_path / "suite.yaml").write_text(
        "name: s\ntasks:\n- {kind: loud, name: loud, records: records.jsonl, floor: -60.5}\n"
    )
    settings = SuiteRun(suite=tmp_path / "suite.yaml", checkpoints=(str(tiny_dir),), output=tmp_path / "out")
    suite, tasks = read_suite(settings.suite)
    (result,) = run_suite(suite, tasks, [str(tiny_dir)], settings).results
    (line,) = result.lines
    assert line.n == CLIPS
    assert line.values["SRCC"].value == pytest.approx(found["srcc"])
    assert "--floor -60.5" in line.command


def test_the_command_that_repeats_a_line_keeps_every_digit(loud, records):
    floor = -12.345678901
    assert issubclass(loud, Recorded)
    told = shlex.split(command_line(loud(records=records, floor=floor)))
    assert float(told[told.index("--floor") + 1]) == floor
