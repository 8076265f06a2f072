"""Attribution, robustness, sync and descriptions in a suite: one load, and the rows that their commands give."""

from __future__ import annotations

import json
import shlex

import pytest
import yaml
from small_clips import write
from typer.testing import CliRunner

from eval.__main__ import app
from eval.board.bench import Stopwatch, SuiteRun
from eval.board.reading import read_suite
from eval.board.run import run_suite
from eval.board.view import view
from eval.robustness import bank
from mllm_avqa.rater import Rater
from mllm_avqa.schema.records import Distortion, Label, Record, write_records

CLIPS = 5  # the fewest that a correlation or an area is measured on
TASKS = [
    {"kind": "attribution", "budget": 8},
    {"kind": "robustness", "clips": 2},
    {"kind": "sync", "grid": 0},
    {"kind": "descriptions"},
    {"kind": "card", "probes": 0, "told": 0},
]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rooms")
    records = []
    late = Distortion(kind="offset_late", modality="sync", level=3, start=0, end=1, parameters={"milliseconds": 300})
    for i in range(CLIPS):
        write(folder / f"{i}.mp4", seed=i)
        labels = {a: Label(mean=1.0 + i, pseudo=True) for a in ("overall", "video", "audio", "sync")}
        records.append(
            Record(
                id=f"c{i}", media=f"{i}.mp4", dataset="d", group=f"g{i}", split="test", labels=labels,
                distortions=[late] if i < 2 else [],
            )
        )  # fmt: skip
    write_records(folder / "records.jsonl", records)
    shared = {"records": "records.jsonl", "context": "none", "draws": 100}
    tasks = [{"name": t["kind"], **shared, **t} for t in TASKS]
    rows = [
        {"type": 1, "concern": 0, "question": "Which?", "img_path": "0.mp4", "candidates": ["Blur", "Haze"],
         "correct_ans": "Blur"}
    ]  # fmt: skip
    (folder / "questions.json").write_text(json.dumps(rows))
    tasks.append({"kind": "questions", "name": "questions", "bench": "qbench_a1", "data": "questions.json"})
    (folder / "suite.yaml").write_text(yaml.safe_dump({"name": "s", "tasks": tasks}))
    return folder


def shorten(monkeypatch):
    """Few texts to attack with, and short ones to read: what is tested is what becomes of them."""
    few = bank.attacks("en")[::40]
    monkeypatch.setattr("eval.robustness.injection.attacks", lambda _: few)
    monkeypatch.setattr("eval.descriptions.texts.MOST_TOKENS", 8)


@pytest.fixture(scope="module")
def board(world, tiny_dir):
    """The board of a first run; `loads` of it and of a second one that changes nothing."""
    loads: list[str] = []
    load = Rater.from_pretrained
    with pytest.MonkeyPatch.context() as m:
        shorten(m)
        m.setattr(Rater, "from_pretrained", lambda *a, **k: loads.append(str(a[0])) or load(*a, **k))
        read, tasks = read_suite(world / "suite.yaml")
        settings = SuiteRun(
            suite=world / "suite.yaml", checkpoints=[], output=world / "out", cache=world / "cache", threads=1
        )
        first = run_suite(read, tasks, [str(tiny_dir)], settings)
        counted = len(loads)
        second = run_suite(read, tasks, [str(tiny_dir)], settings)
    return first, second, counted, len(loads) - counted


def lines(found, name, **wanted):
    result = next(r for r in found.results if r.task == name)
    return [x for x in result.lines if all(getattr(x, k) == v for k, v in wanted.items())]


def repeated(line, monkeypatch, *more):
    """What the command of a line does; returns its standard output."""
    shorten(monkeypatch)
    words = shlex.split(line.command)
    assert words[:3] == ["python", "-m", "eval"]
    done = CliRunner().invoke(app, [*words[3:], *more])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_checkpoint_is_loaded_once_for_all_tasks_and_not_at_all_when_nothing_changed(board):
    first, second, loads, again = board
    assert first.done, [r.failed | r.lost for r in first.results]
    assert (loads, again) == (1, 0)  # two contexts, one model
    assert second.results == first.results
    assert second.seconds["model"] < 0.5 < first.seconds["model"] <= first.seconds["all"]


def test_every_line_has_a_command_and_the_overview_a_number(board):
    first = board[0]
    assert all(x.command for r in first.results for x in r.lines if not x.baseline)
    cells = {r.what: r.cells[0] for r in view(first).overview.rows}
    assert len(cells) == len(first.results)
    assert {name for name, c in cells.items() if c.text == "–"} == set(), {n: c.note for n, c in cells.items()}


def test_attribution(board, monkeypatch):
    line = lines(board[0], "attribution", table="weight by input, all clips", what="sound")[0]
    found = json.loads(repeated(line, monkeypatch, "--json", "--threads", "1"))
    same = [i for i in found["importance"] if (i["of"], i["player"], i["aspect"]) == ("all", "sound", "overall")]
    assert line.values["overall"].value == pytest.approx(same[0]["weight"]["value"], abs=1e-3) and line.n == CLIPS
    assert not lines(board[0], "attribution", table="weight by modality, d")  # one class is all clips once more
    without = {x.what for x in lines(board[0], "attribution", table="SRCC without it")}
    assert {"(everything given)", "picture (input)", "audio (modality)"} <= without


def test_robustness(board, tmp_path, monkeypatch):
    line = lines(board[0], "robustness", table="change by texts that want another score", what="overall")[0]
    repeated(line, monkeypatch, "-o", str(tmp_path / "r.json"), "--threads", "1")
    rows = json.loads((tmp_path / "r.json").read_text())["rows"]
    same = next(r for r in rows if (r["probe"], r.get("by"), r["aspect"]) == ("injection", "all", "overall"))
    assert line.values["mean"].value == pytest.approx(same["mean"], abs=1e-3) and line.n == same["n"]
    written = {
        x.what: x for x in lines(board[0], "robustness", table="largest change, same picture and sound in another file")
    }
    moved = next(r for r in rows if (r["probe"], r.get("change"), r["aspect"]) == ("signal", "bars", "video"))
    assert written["bars"].values["video"].value == pytest.approx(moved["max"], abs=1e-3)
    assert any("no question with lettered options" in n for n in board[0].results[1].notes)


def test_sync(board, tmp_path, monkeypatch):
    own, fact = lines(board[0], "sync", what="sync score")
    assert fact.baseline and not own.baseline and fact.who == "measured offset"
    repeated(own, monkeypatch, "-o", str(tmp_path / "s.json"), "--threads", "1")
    rows = json.loads((tmp_path / "s.json").read_text())["rows"]
    same = next(r for r in rows if (r["table"], r["predictor"]) == ("detection", "score"))
    assert own.values["AUC"].value == pytest.approx(same["auc"], abs=1e-3) and (same["n"], same["in_step"]) == (2, 3)
    classes = {x.what: x for x in lines(board[0], "sync", table="called right, by class of clip")}
    assert set(classes) == {"in_step", "late 300 ms (unacceptable)"}
    assert set(classes["in_step"].values) == {"sync score", "answer", "short answer", "measured offset"}


def test_descriptions(board, world, monkeypatch):
    line = lines(board[0], "descriptions", what="type of fault")[0]
    repeated(line, monkeypatch, "--threads", "1")
    result = json.loads(next((world / "out/descriptions").glob("*.json")).read_text())
    same = result["languages"]["en"]["claims"]["type"]
    assert (line.values["claimed"].value, line.values["true"].value) == (same["claimed"], same["true"]) == (3, 2)
    assert any("different texts for 5 clips" in n for n in board[0].results[3].notes)


def test_what_runs_inside_what_runs_is_counted_once(monkeypatch):
    now = iter(range(10))
    monkeypatch.setattr("eval.board.bench.time.perf_counter", lambda: float(next(now)))
    clock = Stopwatch()
    with clock.running(), clock.running():
        pass
    with clock.running():
        pass
    assert clock.model == 2.0  # two blocks of one tick
