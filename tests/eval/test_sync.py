"""Timing: what is known, moved sound, answers in every order, curves, tables; and the command."""

from __future__ import annotations

import json

import numpy as np
import pytest
from small_clips import write
from typer.testing import CliRunner

from eval.__main__ import app
from eval.sync.read import Reading, Said, answered, questions
from eval.sync.report import drawing, thresholds
from eval.sync.rows import fit, sync_tables
from eval.sync.truth import CLASSES, GRID, Truth, shifted, truth_of, zone
from mllm_avqa.schema.clip import AudioTrack
from mllm_avqa.schema.records import Distortion, Label, Record, write_records


def fault(kind, **parameters):
    return Distortion(kind=kind, modality="sync", level=3, start=0, end=3, parameters=parameters)


def record(name="c", faults=(), labels=("sync",)):
    return Record(
        id=name, media=f"{name}.mp4", dataset="d", group=name, split="test", distortions=list(faults),
        labels={a: Label(mean=3.0, pseudo=True) for a in labels},
    )  # fmt: skip


# ---- truth ----------------------------------------------------------------------------------------------------------


def test_what_is_known_of_a_record():
    assert truth_of(record()) == Truth("in_step", 0.0, clean=True)
    assert truth_of(record(faults=[fault("offset_early", milliseconds=90.0)])) == Truth("early", -90.0)
    assert truth_of(record(faults=[fault("offset_late", milliseconds=125.0)])).name == "late 125 ms"
    assert truth_of(record(faults=[fault("drift", milliseconds_at_end=150.0)])) == Truth("drift", None)
    odd = truth_of(record(faults=[fault("unrelated_sound", variant="super-hard", moved=0.1, replaced=0.0)]))
    assert (odd.kind, odd.name) == ("unrelated", "unrelated, super-hard")
    noisy = Distortion(kind="white", modality="audio", level=2, start=0, end=3)
    assert truth_of(record(faults=[noisy])) == Truth("in_step", 0.0, clean=False)
    assert truth_of(record(labels=("video", "audio"))) is None  # borrowed sound has no right time
    assert truth_of(record(faults=[fault("drift"), fault("offset_late", milliseconds=80.0)])) is None


def test_zones_are_those_of_the_recommendation():
    # published: ITU-R BT.1359-1, detectability +45 / -125 ms, acceptability +90 / -185 ms, sound early positive
    found = {ms: zone(ms) for ms in (-90, -89, -45, -44, 0, 124, 125, 184, 185)}
    assert [ms for ms, z in found.items() if z == "undetectable"] == [-44, 0, 124]
    assert [ms for ms, z in found.items() if z == "unacceptable"] == [-90, 185]


@pytest.mark.parametrize("ms", GRID)
def test_sound_is_moved_by_whole_samples(ms):
    samples = np.arange(1, 4001, dtype=np.float32)[None]
    track = AudioTrack(samples, 2000, 0.5)
    moved = shifted(track, ms)
    by = ms * 2
    late = moved.samples[0, max(by, 0) : 4000 + min(by, 0)]
    assert np.array_equal(late, samples[0, max(-by, 0) : 4000 - max(by, 0)])
    assert (moved.samples == 0).sum() == abs(by)
    assert moved.samples.shape == samples.shape and moved.start == 0.5
    assert np.array_equal(track.samples, np.arange(1, 4001)[None])
    assert np.array_equal(shifted(shifted(track, 0), 0).samples, samples)
    assert not shifted(track, 10_000).samples.any()


# ---- answers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_answer_is_at_every_place_once(language):
    for asked in questions(language).values():
        for k in range(len(CLASSES)):
            assert len({a.options[k] for a in asked}) == len(CLASSES)
        for a in asked:
            assert sorted(a.order) == list(range(len(CLASSES)))
            assert a.options[a.order.index(0)] == asked[0].options[0]  # the same name wherever it stands: in step
            assert a.text.endswith(a.answers[-1])


@pytest.mark.parametrize("kind", CLASSES)
def test_a_steady_answer_is_read_and_a_liked_place_is_not(kind):
    k, n = CLASSES.index(kind), len(CLASSES)
    steady = [[0.0 if (place + turn) % n == k else -2.0 for place in range(n)] for turn in range(n)]
    said = answered(steady)
    assert said.kind == kind
    assert said.out == (kind != "in_step")
    assert (said.worse < 0.5) == (kind == "in_step")
    place = answered([[0.0, -2.0, -2.0, -2.0, -2.0]] * n)
    assert place.worse == pytest.approx(0.8)  # analytic: every class equally likely


# ---- curves ---------------------------------------------------------------------------------------------------------


def flags(middle, slope, sizes, each=40, seed=0):
    rng = np.random.default_rng(seed)
    x = np.repeat(sizes, each)
    out = rng.random(len(x)) < 1 / (1 + np.exp(-slope * (x - middle)))
    return x.tolist(), out.tolist(), [f"g{i % 20}" for i in range(len(x))]


def test_a_known_curve_is_found_again():
    x, out, groups = flags(150, 0.03, [0, 45, 90, 125, 185, 250, 400])
    curve = fit(x, out, groups)
    assert curve.threshold == pytest.approx(150, abs=20)  # reference run: the curve the flags were drawn from
    assert curve.slope == pytest.approx(0.03, rel=0.4)
    assert curve.low < curve.threshold < curve.high
    assert curve.at(np.array([curve.threshold]))[0] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("sizes", "out", "why"),
    [
        ([0, 45, 90], [False, True, True], "at least 5"),
        ([0, 0, 0, 400, 400, 400], [False] * 3 + [True] * 3, "3 needed"),
        ([0, 45, 90, 160, 400], [True] * 5, "every clip"),
        ([0, 45, 90, 160, 400], [False] * 5, "no clip"),
        ([0, 45, 90, 160, 400] * 3, [True, True, False, False, False] * 3, "do not rise"),
        ([0, 45, 90, 160, 400] * 3, [True, True, False, True, True] * 3, "at 0 ms already"),
        ([0, 45, 90, 160, 400] * 4, [False] * 9 + [True] + [False] * 10, "beyond the largest offset"),
    ],
)
def test_a_curve_that_the_data_do_not_give_says_why(sizes, out, why):
    curve = fit(sizes, out, [f"g{i}" for i in range(len(sizes))])
    assert curve.threshold is None
    assert why in curve.note


def test_a_step_lies_between_the_last_unnoticed_and_the_first_noticed():
    curve = fit([0, 45, 90, 160, 400], [False, False, False, True, True], list("abcde"))
    assert curve.threshold == 125
    assert "a step" in curve.note


# ---- tables ---------------------------------------------------------------------------------------------------------


def made(keen):
    """Readings of a rater that knows everything (keen) or says the same of every clip."""
    truths = [Truth("in_step", 0.0, clean=i % 2 == 0) for i in range(8)]
    truths += [Truth("early", -float(x)) for x in (45, 90, 400)] + [Truth("late", float(x)) for x in (80, 185, 800)]
    truths += [Truth("unrelated", None, v) for v in ("easy", "hard", "super-hard") for _ in range(3)]
    out = []
    for i, t in enumerate(truths):
        wrong = t.kind != "in_step"
        said = Said(wrong, float(wrong) + i / 1000, t.kind) if keen else Said(False, 0.0, "in_step")
        out.append(Reading(f"c{i}", f"g{i}", t, {"answer": said}))
    return out


def pick(rows, **wanted):
    return [r for r in rows if all(r.get(k) == v for k, v in wanted.items())]


def test_tables_of_a_rater_that_knows_everything():
    rows = sync_tables(made(True))
    assert {r["accuracy"] for r in pick(rows, table="classes")} == {1.0}
    assert {r["named"] for r in pick(rows, table="classes")} == {1.0}
    early = pick(rows, table="classes", **{"class": "early 45 ms"})[0]
    assert (early["n"], early["zone"], early["accuracy_high"]) == (1, "detectable", 1.0)
    assert early["accuracy_low"] == pytest.approx(0.2065, abs=1e-4)  # analytic: Wilson of 1 of 1
    assert pick(rows, table="confusion", true="unrelated")[0]["said"] == {"unrelated": 9}
    alarms = {r["clips"]: (r["n"], r["rate"]) for r in pick(rows, table="false_alarms", predictor="answer")}
    assert alarms == {"clean": (4, 0.0), "other faults": (4, 0.0), "all in step": (8, 0.0)}
    assert {r["auc"] for r in pick(rows, table="mismatch", predictor="answer")} == {1.0}
    found = pick(rows, table="detection", predictor="answer")[0]
    assert (found["auc"], found["in_step"], found["n"]) == (1.0, 8, len(made(True)) - 8)
    curves = {r["side"]: r for r in pick(rows, table="curve", predictor="answer")}
    assert (curves["early"]["threshold"], curves["late"]["threshold"]) == (22.5, 40.0)
    assert (curves["early"]["detectable"], curves["late"]["acceptable"]) == (45.0, 185.0)
    assert curves["early"]["points"][0] == {"offset": 0.0, "out": 0, "n": 8}


def test_tables_of_a_rater_that_says_one_thing_are_undefined_not_zero():
    rows = sync_tables(made(False))
    assert all(r["auc"] is None and "constant" in r["note"] for r in pick(rows, table="mismatch", predictor="answer"))
    assert all("no clip" in r["note"] for r in pick(rows, table="curve", predictor="answer"))
    assert "constant" in pick(rows, table="detection", predictor="answer")[0]["note"]
    silent = pick(rows, predictor="score")
    assert {r.get("rate", r.get("auc", r.get("threshold"))) for r in silent} == {None}
    assert all(r["note"] for r in silent)


def test_the_figure_holds_points_curves_and_lines():
    picture = drawing(made(True), "answer")
    assert picture.count('class="detectable"') == picture.count('class="acceptable"') == 2
    assert "400 ms early: 1 of 1" in picture
    assert drawing([r for r in made(True) if r.truth.kind == "in_step"], "answer") is None
    # analytic: halfway between the last that is called in step and the first that is not
    assert thresholds(made(True), "answer") == "early: 22 ms; late: 40 ms"
    assert thresholds(made(False), "answer").startswith("early: no clip is called out of step; late: ")


# ---- the whole ------------------------------------------------------------------------------------------------------


def test_the_command(tiny_dir, tmp_path, monkeypatch):
    monkeypatch.setattr("eval.sync.read.GRID", (-125, 250))
    faults = {"a": [], "b": [fault("offset_late", milliseconds=125.0)], "c": [], "d": []}
    for k, name in enumerate("abd"):
        write(tmp_path / f"{name}.mp4", k)
    (tmp_path / "c.mp4").write_bytes(b"nothing")
    records = [record(n, f) for n, f in faults.items() if n != "d"] + [record("d", labels=("video",))]
    write_records(tmp_path / "r.jsonl", records)
    files = ["-o", str(tmp_path / "o.json"), "--html", str(tmp_path / "o.html")]
    command = ["sync", str(tmp_path / "r.jsonl"), "--checkpoint", str(tiny_dir), "--grid", "1", "--threads", "1"]
    run = CliRunner().invoke(app, [*command, *files])
    assert run.exit_code == 1, run.output
    result = json.loads((tmp_path / "o.json").read_text())
    assert result["clips"] == {"records": 2, "grid": 3}
    assert result["untimed"] == 1
    assert list(result["failed"]) == ["c"]
    assert {r["predictor"] for r in result["rows"]} == {"score", "answer", "answer_short", "fact"}
    offsets = {r["offset"] for r in result["rows"] if r["set"] == "grid" and r["table"] == "classes"}
    assert offsets == {-125.0, 0.0, 250.0}
    assert (tmp_path / "o.html").read_text().count("<svg") == 8
    assert "### 50 % threshold (ms)" in run.stdout and "- c: not_media" in run.stdout
    assert str(tmp_path) not in json.dumps(result)
    write_records(tmp_path / "r.jsonl", records[3:])
    refused = CliRunner().invoke(app, command)
    assert refused.exit_code == 2 and "sync" in refused.stderr
