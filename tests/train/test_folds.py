"""Repeated and crossed trainings: which records each is given, and the table; training is tested elsewhere."""

from __future__ import annotations

import json

import pytest

from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.records import Label, Record, write_records
from train import folds
from train.config import Config
from train.sources import read_sources, unheld


def records(path, name, dealt=True):
    label = {"video": Label(mean=3, scale=(1, 5), higher_is_better=True)}
    parts = [["train", "test"], ["test", "train"], ["train", "train"], ["train", "train"]]
    write_records(path, (
        Record(id=f"{name}/{n}", media=f"{n}.mp4", dataset=name, group=f"g{n}", labels=label,
               split="train" if n else "test", folds=parts[n] if dealt else [])
        for n in range(4)
    ))  # fmt: skip
    return path


def config(tmp_path, *files):
    sources = [{"records": f} for f in files]
    stages = [{"name": "one", "steps": 1, "mixture": {"stage2": 1}}]
    return Config.model_validate({"name": "x", "datasets": sources, "output": tmp_path / "out", "stages": stages})


def test_every_fold_is_trained_on_its_own_part(tmp_path, monkeypatch):
    given = config(tmp_path, records(tmp_path / "a.jsonl", "a"))
    seen = {}

    def run(own, workers):
        seen[own.fold] = [r.id for s in read_sources(own) for r in s.train]
        return own.output / "one"

    monkeypatch.setattr(folds, "run", run)
    monkeypatch.setattr(folds, "_tested", lambda c, last, s, k, w: {"video": {"srcc": 0.5 + 0.2 * k, "n": 5}})
    found = folds.run_folds(given, "all")
    assert seen == {0: ["a/0", "a/2", "a/3"], 1: ["a/1", "a/2", "a/3"]}
    assert found["median"] == {"video": {"srcc": 0.6, "low": 0.45, "high": 0.75, "splits": 2}}
    assert "| video | 0.600 [0.450, 0.750] | 2 | 0.500 | 0.700 |" in (tmp_path / "out" / "folds.md").read_text()
    assert json.loads((tmp_path / "out" / "folds.json").read_text())["folds"]["1"]["video"]["srcc"] == 0.7
    assert list(folds.run_folds(given, "1")["folds"]) == ["1"]
    with pytest.raises(ConfigError, match=r"--folds 0,7: give all, or numbers from 0 to 1"):
        folds.run_folds(given, "0,7")


def test_every_dataset_is_trained_alone_and_tested_on_all(tmp_path, monkeypatch):
    a, b = records(tmp_path / "a.jsonl", "a"), records(tmp_path / "b.jsonl", "b")
    seen = []
    monkeypatch.setattr(folds, "run", lambda own, w: seen.append([s.records.stem for s in own.sources]) or own.output)
    monkeypatch.setattr(folds, "_tested", lambda c, last, s, k, w: {"video": {"srcc": 0.5, "n": 5}})
    found = folds.run_cross(config(tmp_path, a, b))
    assert seen == [["a"], ["b"]] and set(found["cross"]["a"]) == {"a", "b"}
    assert "| video | b | 0.500 (5) | 0.500 (5) |" in found["table"]
    with pytest.raises(ConfigError, match="two `datasets`"):
        folds.run_cross(config(tmp_path, a))


def test_records_without_folds_say_how_they_are_dealt(tmp_path):
    given = config(tmp_path, records(tmp_path / "a.jsonl", "a", dealt=False))
    with pytest.raises(ConfigError, match="data_recipes split"):
        folds.run_folds(given, "all")


def test_no_validation_split_is_said_with_how_to_make_one(tmp_path):
    given = config(tmp_path, records(tmp_path / "a.jsonl", "a"))
    told = unheld(read_sources(given))
    assert told is not None and "split 'val'" in told and "data_recipes split" in told and "--shares" in told
    gone = config(tmp_path, tmp_path / "gone.jsonl")
    with pytest.raises(ConfigError, match=r"--set 'datasets=\[\{records: FILE\}\]'"):
        read_sources(gone)
