"""A suite from file to board: what is kept, what is told, what never stops the rest. Ratings are faked by number."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from eval.__main__ import app
from eval.board.bench import Bench, SuiteRun
from eval.board.reading import read_suite
from eval.board.run import run_suite
from eval.samples import board_names, identify
from eval.store import Log
from mllm_avqa.model.scoring import summarise
from mllm_avqa.schema.card import Card
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.levels import WORDS
from mllm_avqa.schema.records import Label, Record, write_records

CLIPS = 40


@pytest.fixture
def rated(monkeypatch):
    """Counts what is rated. A checkpoint's scores are the labels plus noise of a size that its name says."""
    calls: list[tuple[str, str]] = []

    def fake(bench, task, records, base, keys, file):
        noise = float(bench.given.rpartition("noise")[2].split("_")[0] or 0)
        for r in records:
            for way, key in keys[r.id].items():
                if file.has(key):
                    continue
                if (base / r.media).read_bytes() == b"broken":
                    bench.lost[r.id] = "not_media: no container"
                    continue
                calls.append((r.id, way))
                rng = np.random.default_rng(int(r.id[1:]))
                size = noise + (1.0 if way == "picture_only" else 2.0 if way == "sound_only" else 0.0)
                scores = {a: distribution(lb.mean + size * rng.normal()) for a, lb in r.labels.items()}
                yield r, way, {"status": "answered", "scores": {a: s.model_dump() for a, s in scores.items()}}

    monkeypatch.setattr(Bench, "_rated", fake)
    return calls


def distribution(score):
    """All mass on the two levels around the score."""
    score = min(4.999, max(1.0, score))
    low = int(score)
    probs = np.zeros(5)
    probs[5 - low], probs[4 - low] = 1 - (score - low), score - low  # order of levels.WORDS: excellent first
    return summarise(probs, 1.0)


def test_the_fake_scores_what_it_is_told():
    assert distribution(3.25).score == pytest.approx(3.25)
    assert list(distribution(5.0).probs) == list(WORDS)


@pytest.fixture
def world(tmp_path):
    """Records with media, a suite file, and checkpoints named by their noise."""
    records = []
    for i in range(CLIPS):
        (tmp_path / f"{i}.mp4").write_bytes(b"clip %d" % i)
        rng = np.random.default_rng(1000 + i)
        labels = {a: Label(mean=round(float(rng.uniform(1.2, 4.8)), 3)) for a in ("overall", "video", "audio")}
        split = "test" if i % 2 else "val"
        records.append(
            Record(
                id=f"c{i}", media=f"{i}.mp4", dataset="d" if i % 3 else "e", group=f"g{i // 2}", split=split,
                labels=labels, folds=["test" if (i // 2) % 2 == k else "train" for k in range(2)],
            )
        )  # fmt: skip
    write_records(tmp_path / "records.jsonl", records)
    for name in ("noise0.1", "noise1.5"):
        checkpoint(tmp_path / name)
    return tmp_path


def checkpoint(folder, **card):
    folder.mkdir()
    Card(name=folder.name, family="qwen2_5_omni", **card).save(folder)
    (folder / "config.json").write_text(json.dumps({"name": folder.name}))
    return folder


def suite(world, *tasks, **more):
    path = world / "suite.yaml"
    path.write_text(yaml.safe_dump({"name": "s", "tasks": list(tasks), **more}), encoding="utf-8")
    return path


SCORE = {"kind": "score", "name": "mine", "records": "records.jsonl", "split": "all", "draws": 100, "mapping": "linear"}


def board(world, path, *names, only=(), **settings):
    read, tasks = read_suite(path, only)
    given = [str(world / n) for n in names]
    return run_suite(read, tasks, given, SuiteRun(suite=path, checkpoints=given, output=world / "out", **settings))


def lines(found, task=0, **wanted):
    return [x for x in found.results[task].lines if all(getattr(x, k) == v for k, v in wanted.items())]


# ---- scores ---------------------------------------------------------------------------------------------------------


def test_scores_have_their_baselines_beside_them(world, rated):
    found = board(world, suite(world, SCORE), "noise0.1", "noise1.5")
    good, poor = (lines(found, who=w, what="overall", table="")[0] for w in ("noise0.1", "noise1.5"))
    assert good.values["SRCC"].value > 0.98 > poor.values["SRCC"].value
    assert good.values["SRCC"].low is not None and good.n == good.of == CLIPS
    beside = {x.who for x in lines(found, baseline=True, what="overall", beside="noise0.1")}
    assert beside == {
        "noise0.1: picture only", "noise0.1: sound only", "noise0.1: its video score", "noise0.1: its audio score",
    }  # fmt: skip
    assert {x.what for x in lines(found, who="noise0.1", table="what both give over one")} == {
        "overall over picture only", "overall over sound only",
    }  # fmt: skip
    assert lines(found, who="noise0.1", table="picture and sound apart")[0].values["audio - video"].value > 0.9
    assert found.done and found.seconds["all"] >= found.seconds["model"]


def test_nothing_is_rated_twice_and_a_changed_clip_is(world, rated):
    path = suite(world, SCORE)
    first = board(world, path, "noise0.1")
    assert len(rated) == 3 * CLIPS
    rated.clear()
    again = board(world, path, "noise0.1")
    assert rated == [] and again.results == first.results
    (world / "7.mp4").write_bytes(b"another clip")
    board(world, path, "noise0.1")
    assert {i for i, _ in rated} == {"c7"}
    rated.clear()
    board(world, path, "noise0.1", fresh=True)
    assert len(rated) == 3 * CLIPS


def test_identity_follows_weights_and_card_but_not_what_the_card_tells(world):
    before = identify(str(world / "noise0.1")).identity
    card = Card.load(world / "noise0.1")
    card.results = {"srcc": 1.0}
    card.save(world / "noise0.1")
    assert identify(str(world / "noise0.1")).identity == before
    card.pooling = card.pooling.model_copy(update={"worst": 0.5})
    card.save(world / "noise0.1")
    changed = identify(str(world / "noise0.1")).identity
    (world / "noise0.1/config.json").write_text("{}")
    assert len({before, changed, identify(str(world / "noise0.1")).identity}) == 3


def test_missing_and_broken_media_are_named_and_tried_again(world, rated):
    (world / "3.mp4").unlink()
    (world / "4.mp4").write_bytes(b"broken")
    path = suite(world, SCORE)
    found = board(world, path, "noise0.1")
    told = found.results[0].lost["noise0.1"]
    assert len(told) == 2 and told[0].startswith("c3: not_found") and "c4: not_media" in told[1]
    line = lines(found, who="noise0.1", what="overall", table="")[0]
    assert (line.n, line.of) == (CLIPS - 2, CLIPS) and not found.done
    assert str(world) not in " ".join(told)
    (world / "3.mp4").write_bytes(b"clip 3")
    rated.clear()
    board(world, path, "noise0.1")
    assert {i for i, _ in rated} == {"c3"}  # c4 was tried, and failed, again


def test_a_checkpoint_that_does_not_open_stops_nobody(world, rated):
    (world / "empty").mkdir()
    found = board(world, suite(world, SCORE), "empty", "noise0.1", "nowhere")
    assert "avqa.yaml" in found.results[0].failed["empty"]
    assert "neither 'nano' nor a directory" in found.results[0].failed["nowhere"]
    assert lines(found, who="noise0.1", what="overall") and not found.done


def test_weights_that_break_while_they_load_stop_nobody(world, rated, monkeypatch):
    def broken(bench, *_):
        raise RuntimeError("size mismatch") if "1.5" in bench.given else AssertionError

    whole = Bench._rated
    monkeypatch.setattr(Bench, "_rated", lambda b, *a: broken(b) if "1.5" in b.given else whole(b, *a))
    found = board(world, suite(world, SCORE), "noise1.5", "noise0.1")
    assert found.results[0].failed == {"noise1.5": "RuntimeError: size mismatch"}
    assert lines(found, who="noise0.1")


def test_predictions_of_others_that_do_not_join_are_told_by_name(world, rated):
    (world / "other.csv").write_text("id,overall\nx1,3\nx2,4\n")
    (world / "part.csv").write_text("id,overall\n" + "".join(f"c{i},{i % 5 + 1}\n" for i in range(30)) + "zz,1\n")
    path = suite(world, SCORE | {"predictions": {"part": "part.csv", "other": "other.csv"}})
    found = board(world, path, "noise0.1")
    assert "c0" in found.results[0].failed["other"] and "x1" in found.results[0].failed["other"]
    line = lines(found, who="part")[0]
    assert line.baseline and (line.n, line.of) == (30, CLIPS)
    assert any("zz" in n for n in found.results[0].notes) and any("c30" in n for n in found.results[0].notes)


def test_data_that_are_not_there_name_what_makes_them(world, rated):
    path = suite(world, SCORE | {"name": "gone", "records": "gone.jsonl"}, SCORE, made_by=["make them"])
    found = board(world, path, "noise0.1")
    assert (
        "gone.jsonl does not exist" in found.results[0].failed["all"] and "make them" in found.results[0].failed["all"]
    )
    assert found.results[1].lines


# ---- protocols ------------------------------------------------------------------------------------------------------


def test_splits_take_a_checkpoint_each(world, rated):
    for k in range(2):
        checkpoint(world / f"noise0.1_fold{k}")
    task = {"kind": "splits", "name": "folds", "records": "records.jsonl", "mapping": "linear"}
    found = board(world, suite(world, task, SCORE), "noise0.1_fold{fold}", "noise1.5")
    per_fold, same = (lines(found, who=w, what="overall")[0] for w in ("noise0.1_fold{fold}", "noise1.5"))
    assert per_fold.values["splits"].value == 2 and per_fold.values["SRCC"].value > 0.95 > same.values["SRCC"].value
    assert per_fold.values["SRCC"].low <= per_fold.values["SRCC"].value <= per_fold.values["SRCC"].high
    assert per_fold.n == CLIPS  # every clip is on one test side
    assert len([i for i, way in rated if way == "full"]) >= 2 * CLIPS
    assert "checkpoint per split" in found.results[1].failed["noise0.1_fold{fold}"]


def test_splits_without_folds_are_refused(world, rated):
    records = [Record(id="c1", media="1.mp4", dataset="d", group="g", labels={"overall": Label(mean=3)})]
    write_records(world / "plain.jsonl", records)
    found = board(world, suite(world, {"kind": "splits", "name": "f", "records": "plain.jsonl"}), "noise0.1")
    assert "data_recipes split" in found.results[0].failed["noise0.1"]


def test_across_datasets_what_was_trained_on_is_not_in_the_mean(world, rated):
    sets = {"a": "records.jsonl", "b": "records.jsonl"}
    task = {
        "kind": "cross",
        "name": "x",
        "sets": sets,
        "trained": {"noise1.5": ["a"]},
        "draws": 100,
        "mapping": "linear",
    }
    found = board(world, suite(world, task), "noise0.1", "noise1.5")
    line = lines(found, who="noise1.5", what="overall", table="")[0]
    assert line.values["mean"].value == line.values["b"].value
    assert any("trained on a" in n for n in found.results[0].notes)


def test_calibration_uses_the_predictions_that_are_there(world, rated):
    task = {"kind": "calibration", "name": "sure", "records": "records.jsonl", "coverage": 0.8, "draws": 100}
    found = board(world, suite(world, SCORE | {"single": False}, task), "noise1.5")
    assert len(rated) == CLIPS
    line = lines(found, task=1, who="noise1.5", what="overall")[0]
    assert 0 <= line.values["coverage"].value <= 1 and line.values["width"].value > 0


def test_fusion_stands_beside_the_overall_score(world, rated):
    task = {"kind": "fusion", "name": "fused", "records": "records.jsonl", "split": "all", "draws": 100}
    found = board(world, suite(world, task), "noise0.1")
    own = lines(found, who="noise0.1", table="")[0]
    fused = lines(found, baseline=True, table="")
    assert len(fused) > 2 and all(own.values["SRCC"].value > x.values["SRCC"].value for x in fused)


# ---- the file -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "words"),
    [
        (SCORE | {"kind": "scores"}, ("'scores'", "did you mean 'score'?", "calibration", "suite.yaml:")),
        (SCORE | {"record": "x"}, ("record", "did you mean 'records'?", "suite.yaml:")),
        (SCORE | {"draws": 1}, ("draws", "100")),
        ({"kind": "questions", "name": "q", "data": "d", "bench": "qbench_a9"}, ("did you mean 'qbench_a", "YAML")),
        ({"name": "x"}, ("`kind`",)),
    ],
)
def test_what_is_wrong_in_a_suite_is_named_with_the_nearest_word(world, task, words):
    with pytest.raises(ConfigError) as e:
        read_suite(suite(world, SCORE, task))
    for word in words:
        assert word in str(e.value)


def test_the_line_of_an_unknown_key_is_told(world):
    (world / "suite.yaml").write_text(
        "name: s\ntasks:\n  - kind: score\n    name: a\n    recrods: x\n", encoding="utf-8"
    )
    with pytest.raises(ConfigError, match=r"suite.yaml:5: recrods: unknown key; did you mean 'records'"):
        read_suite(world / "suite.yaml")


def test_a_task_may_be_a_file_of_its_own(world):
    (world / "tasks").mkdir()
    (world / "tasks/mine.yaml").write_text(yaml.safe_dump(SCORE | {"records": "../records.jsonl"}))
    _, tasks = read_suite(suite(world, "tasks/mine.yaml"))
    assert tasks[0].files()[0].resolve() == (world / "records.jsonl").resolve()


def test_an_unknown_task_name_is_refused(world):
    with pytest.raises(ConfigError, match="did you mean 'mine'"):
        read_suite(suite(world, SCORE), ["mime"])


def test_names_on_the_board_tell_checkpoints_apart():
    assert board_names(["nano", "runs/a"]) == ["nano", "a"]
    assert board_names(["runs/a/last", "runs/b/last/"]) == ["a/last", "b/last"]


def test_a_cache_in_use_is_told(world, rated):
    found = identify(str(world / "noise0.1"))
    with Log(world / f"out/cache/{found.identity}.jsonl", found.identity):
        told = board(world, suite(world, SCORE), "noise0.1").results[0].failed["noise0.1"]
    assert "another run" in told


def test_command_writes_three_files_and_says_what_is_missing(world, rated):
    path = suite(world, SCORE)
    command = ["suite", str(path), str(world / "noise0.1"), "-o", str(world / "out")]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "noise0.1" in done.stdout and {p.suffix for p in (world / "out").glob("leaderboard.*")} == {
        ".html", ".md", ".json",
    }  # fmt: skip
    assert CliRunner().invoke(app, [*command, str(world / "nowhere")]).exit_code == 1
    assert CliRunner().invoke(app, [*command, "--only", "other"]).exit_code == 2


# ---- the model itself -----------------------------------------------------------------------------------------------


def test_a_real_checkpoint_rates_pictures_through_the_same_corridor(tmp_path, tiny_dir):
    import cv2

    from mllm_avqa.rater import Rater

    records = []
    for i in range(4):
        picture = np.random.default_rng(i).integers(0, 60 * (i + 1), (64, 96, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / f"{i}.png"), picture)
        labels = {a: Label(mean=1.0 + i) for a in ("overall", "video", "audio")}
        records.append(Record(id=f"c{i}", media=f"{i}.png", dataset="d", group=f"g{i}", labels=labels))
    write_records(tmp_path / "records.jsonl", records)
    task = SCORE | {"context": "none"}
    read, tasks = read_suite(suite(tmp_path, task))
    settings = SuiteRun(
        suite=tmp_path / "suite.yaml", checkpoints=[], output=tmp_path / "out", cache=tmp_path / "cache", threads=1
    )
    found = run_suite(read, tasks, [str(tiny_dir)], settings)
    assert not found.results[0].failed
    rows = [json.loads(line) for line in next((tmp_path / "out/predictions").glob("*.jsonl")).read_text().splitlines()]
    rater = Rater.from_pretrained(str(tiny_dir), context="none", threads=1)
    expected = rater.rate(tmp_path / "2.png", explain=False).scores["video"]
    rater.close()
    assert rows[2]["video"] == pytest.approx(expected.score, abs=1e-4)  # reference run: the corridor of every rating
    assert not list((tmp_path / "out/predictions").glob("*sound_only*"))  # a picture alone has no sound to be judged by
