"""Mixtures of record files: proportions, tasks, and what is refused."""

import random
from collections import Counter

import pytest

from mllm_avqa.model.views import Views
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.records import Label, Question, Record, write_records
from mllm_avqa.schema.text import TextContext
from train.cache import CachedWindow
from train.config import Config, QuestionMix, RecordFile, Stage
from train.questions import branches, weighted
from train.sources import WeightedClips, drawing, mixed, mixture_of, read_sources, shares

TASKS = ("kind", "severity", "when")


def records(prefix, n, labelled=True, asked=True):
    questions = [Question(stage=1, task=t, question=f"{t}?", answer="yes") for t in TASKS for _ in range(4)]
    labels = {"overall": Label(mean=3.0)} if labelled else {}
    return [
        Record(
            id=f"{prefix}{k}", media="a.mp4", dataset=prefix, group=f"{prefix}{k}", split="train" if k else "val",
            labels=labels, questions=questions if asked else [],
        )
        for k in range(n)
    ]  # fmt: skip


@pytest.fixture
def files(tmp_path):
    write_records(tmp_path / "a.jsonl", records("a", 11))
    write_records(tmp_path / "b.jsonl", records("b", 31))
    write_records(tmp_path / "votes.jsonl", records("v", 5, asked=False))
    return tmp_path


def config(files, *datasets, **more):
    rows = [d if isinstance(d, dict) else {"records": d} for d in datasets]
    rows = [{**d, "records": files / d["records"]} for d in rows]
    stage = {"name": "s", "steps": 100, "batch": 4, "mixture": {"stage1": 2, "stage2": 1}}
    return Config.model_validate({"name": "x", "datasets": rows, "output": files, "stages": [stage], **more})


def mix(c):
    sources = read_sources(c)
    train = [r for s in sources for r in s.train]
    clips = [{"record": r} for r in train]
    return mixed(clips, train, c.stages[0], sources, 0), clips, sources


def test_weights_are_proportions_of_rows(files):
    c = config(files, {"records": "a.jsonl", "weight": 3}, "b.jsonl")
    rows, clips, sources = mix(c)
    assert isinstance(rows, WeightedClips)
    assert len(rows) == 400  # a row of every step: the sampler never starts again in the middle of a stage
    seen = Counter(rows[k]["record"].dataset for k in range(len(rows)))
    assert seen == {"a": 200, "b": 200}  # 3 x 10 clips beside 1 x 30
    times = Counter(rows[k]["record"].id for k in range(len(rows)))
    assert set(times) == {c["record"].id for c in clips}
    assert max(times[f"a{k}"] for k in range(1, 11)) - min(times[f"a{k}"] for k in range(1, 11)) <= 1
    assert [r["share"] for r in shares(c.stages[0], sources)] == [0.5, 0.5]
    assert mix(c)[0].order == rows.order  # a resumed run sees the same
    assert [rows[k]["turn"] for k in (0, 399)] == [0, 399]  # what tells the rows of one clip apart


def test_equal_weights_leave_the_clips_as_they_are(files):
    rows, clips, _ = mix(config(files, "a.jsonl", "b.jsonl"))
    assert rows is clips


def test_a_set_of_weight_zero_is_left_out(files):
    rows, _, _ = mix(config(files, {"records": "a.jsonl", "weight": 0}, "b.jsonl"))
    assert {rows[k]["record"].dataset for k in range(len(rows))} == {"b"}


def test_records_without_anything_for_the_stage_are_left_out_and_told(files, caplog):
    questions_only = [{"name": "s", "steps": 10, "mixture": {"stage1": 1}}]
    rows, _, _ = mix(config(files, "a.jsonl", "votes.jsonl", stages=questions_only))
    assert {rows[k]["record"].dataset for k in range(len(rows))} == {"a"}
    assert "votes.jsonl has no score or question" in caplog.text
    with pytest.raises(ConfigError, match=r"stage s: no training record of .*votes\.jsonl has a score or question"):
        mix(config(files, "votes.jsonl", stages=questions_only))


def test_tasks_of_a_dataset_are_factors_on_the_stage():
    stage = Stage(name="s", steps=1, mixture=QuestionMix(stage1=2, stage2=1, tasks={"kind": 3}))
    got = mixture_of(stage, RecordFile(records="a", tasks={"stage1": 0.5, "kind": 2, "when": 0}))
    assert got == QuestionMix(stage1=1, stage2=1, tasks={"kind": 6, "when": 0})


def test_questions_are_drawn_by_task_weight():
    (r,) = records("a", 1)
    rng = random.Random(0)
    mixture = QuestionMix(stage1=1, tasks={"kind": 4, "when": 0})
    first = Counter(weighted(r.questions, mixture, "en", rng)[0].task for _ in range(2000))
    assert set(first) == {"kind", "severity"}
    assert first["kind"] / first["severity"] == pytest.approx(4, rel=0.2)  # analytic: equal counts, weights 4 to 1


def test_lists_of_every_side_are_asked_for():
    (r,) = records("a", 1)
    sides = [Question(stage=3, task="list", aspect=a, question=f"{a}?", answer="no fault") for a in ("video", "audio")]
    r = r.model_copy(update={"questions": [*r.questions, *sides]})
    asked = branches(r, QuestionMix(lists=1), "en", {"audio": "silent"}, random.Random(0))
    assert [b.question for b in asked] == ["video?"]
    assert mixture_of(Stage(name="s", steps=1, mixture=QuestionMix(lists=0.5)), RecordFile(records="a")).lists == 0.5


def test_rows_of_a_dataset_follow_its_own_mixture(files):
    c = config(files, {"records": "a.jsonl", "tasks": {"stage1": 0, "severity": 2}}, "b.jsonl")
    sources = read_sources(c)
    draw = drawing(c.stages[0], sources, taught=True)
    window = CachedWindow(Views(None, None, None), [], TextContext(), {})
    items = [{"record": s.train[0], "window": window} for s in sources]
    samples = draw(items, ["en"], random.Random(0))
    assert [len(s.questions) for s in samples] == [1, 3]  # a level; two questions and a level
    assert all(s.taught for s in samples)
    plain = drawing(c.stages[0], read_sources(config(files, "a.jsonl", "b.jsonl")), taught=False)
    samples = plain(items, ["en"], random.Random(0))
    assert [len(s.questions) for s in samples] == [3, 3]
    assert not any(s.taught for s in samples)


def test_what_is_refused(files):
    with pytest.raises(ConfigError, match=r"record file .*gone\.jsonl does not exist"):
        read_sources(config(files, "gone.jsonl"))
    with pytest.raises(ConfigError, match=r"'kindd' is none of stage1, stage2, stage3, kind, severity, when"):
        read_sources(config(files, {"records": "a.jsonl", "tasks": {"kindd": 1}}))
    write_records(files / "again.jsonl", records("a", 3))
    with pytest.raises(ConfigError, match=r"record id 'a0' is in .*a\.jsonl and in .*again\.jsonl"):
        read_sources(config(files, "a.jsonl", "again.jsonl"))
