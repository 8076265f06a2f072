"""Agreement with people: sets and splits, baselines tried on unseen contents, published numbers as quotations."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

from eval import frozen
from eval.baselines import ON_FACTS
from eval.board.bench import Bench, Stopwatch, SuiteRun
from eval.board.reading import read_suite
from eval.samples import Samples
from eval.studies.people import People
from mllm_avqa.schema.records import Label, Record, write_records


def record(n, dataset="biq2021", split=None):
    label = Label(mean=n / 40, scale=(0, 1), higher_is_better=True)
    return Record(
        id=f"{dataset}/{n}", media=f"{n}.jpg", dataset=dataset, group=f"g{n}", split=split, labels={"video": label}
    )  # fmt: skip


@pytest.fixture
def sets(tmp_path):
    write_records(tmp_path / "a.jsonl", (record(n, split="test" if n % 2 else "train") for n in range(40)))
    write_records(tmp_path / "b.jsonl", (record(n, "two" if n % 2 else "one") for n in range(8)))
    return tmp_path / "a.jsonl", tmp_path / "b.jsonl"


def bench(tmp_path, **more):
    run = SuiteRun(suite=tmp_path / "s.yaml", checkpoints=("nano",), output=tmp_path / "out", **more)
    return Bench(None, run, Samples(), Stopwatch())


def test_the_official_test_split_is_taken_and_parts_are_sets_of_their_own(sets, tmp_path):
    found = list(People(sets=sets, forest=False).chosen(bench(tmp_path)))
    assert [(r[0].dataset, len(r)) for _, r in found] == [("biq2021", 20), ("one", 4), ("two", 4)]
    assert {r.split for r in found[0][1]} == {"test"}
    assert len(next(People(sets=sets, clips=3).chosen(bench(tmp_path)))[1]) == 3


def test_published_numbers_are_quoted(sets, tmp_path):
    with bench(tmp_path) as b:
        lines = list(People(sets=sets, forest=False).alone(b))
        assert {x.what for x in lines} == {"biq2021, video"} and all(x.baseline and x.n == 0 for x in lines)
        assert {x.who: x.values["SRCC"].value for x in lines}["published: BRISQUE"] == 0.604
        assert any("quoted, not measured here" in n for n in b.notes)


def test_the_forest_learns_from_facts_of_other_contents(sets, tmp_path, monkeypatch):
    from mllm_avqa.schema.measurement import Measurement

    def facts(records, base, folder, **_):
        blur = {
            r.id: [Measurement(name="blur", modality="video", value=r.labels["video"].mean, unit="")] for r in records
        }
        return blur, {}

    monkeypatch.setattr("eval.studies.people.measured", facts)
    with bench(tmp_path) as b:
        lines = {x.who: x for x in People(sets=sets[:1], draws=100).alone(b)}
    assert lines[ON_FACTS].n == 20 and lines[ON_FACTS].values["SRCC"].value > 0.6


def test_nobody_is_predicted_by_who_saw_its_content():
    groups = ["a+b" if n % 3 == 0 else f"g{n}" for n in range(30)]
    x = np.arange(30.0)[:, None]

    class Seen:
        def __init__(self, x, _, groups):
            self.x, self.groups = set(x[:, 0]), set(groups)

        def predict(self, x):
            assert not self.x & set(x[:, 0])
            return x[:, 0]

    found = frozen.crossed(Seen, x, x[:, 0], groups)
    assert np.array_equal(found[np.isfinite(found)], x[np.isfinite(found), 0]) and np.isfinite(found).sum() >= 20


def test_the_command_is_a_suite_of_its_own(sets, tmp_path, monkeypatch):
    monkeypatch.setattr("eval.board.run.SuiteCommand.main", lambda self: 0)
    study = People(sets=sets, output=tmp_path / "out", clips=5, forest=False)
    assert study.main() == 0
    suite, tasks = read_suite(tmp_path / "out" / "people.yaml")
    assert suite.name == "people" and tasks[0].clips == 5 and tasks[0].files() == [p.resolve() for p in sets]
    assert yaml.safe_load((tmp_path / "out" / "people.yaml").read_text())["tasks"][0]["forest"] is False


@pytest.mark.skipif(
    any(__import__("importlib.util").util.find_spec(p) is None for p in frozen.PACKAGES), reason="extra"
)
def test_frozen_features_have_one_size():
    from types import SimpleNamespace

    clip = SimpleNamespace(video=SimpleNamespace(frames=np.zeros((2, 64, 96, 3), np.uint8)), absent={})
    assert frozen.opened()(clip).shape == (2560,)
