"""The audit of a set: every number on records made by hand, expected values analytic."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from data_recipes.__main__ import app
from data_recipes.synthesis.audit import as_text, audit
from data_recipes.synthesis.pseudo_mos import CLEAN, labels
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.records import Distortion, Label, Record, write_records


def record(number: int, *faults: tuple[str, str, int], **changes: object) -> Record:
    done = [Distortion(kind=k, modality=m, level=v, start=0, end=4) for k, m, v in faults]  # type: ignore[arg-type]
    made = Record(
        id=f"t-{number:06d}", media=f"clips/{number:06d}.mp4", start=0, end=4, dataset="t", group="g", split="train",
        labels=labels(done, 4.0, ["video", "audio"]), distortions=done,
    )  # fmt: skip
    return made.model_copy(update=changes)


LADDER = [record(v, ("gnoise", "video", v)) for v in (1, 2, 3, 4, 5)]


def test_counts_ranges_and_asymmetry() -> None:
    numbers = audit([*LADDER, record(6), record(7, ("hum", "audio", 2), ("gnoise", "video", 2))])
    assert numbers["kinds"] == {"gnoise": [1, 2, 1, 1, 1], "hum": [0, 1, 0, 0, 0]}
    assert numbers["sides"] == {"video": 0.7143, "neither": 0.1429, "both": 0.1429}
    low, high = numbers["aspects"]["video"]["range"]
    assert low == pytest.approx(LADDER[4].labels["video"].mean, abs=1e-3)
    assert high == CLEAN
    apart = sum(CLEAN - r.labels["video"].mean >= 1 for r in LADDER)
    assert numbers["asymmetric"] == pytest.approx(apart / 7, abs=1e-3)
    assert 0 < apart < 5
    assert numbers["aspects"]["video"]["pseudo"] == 7


def test_a_kind_whose_label_rises_with_the_level_is_named() -> None:
    assert audit(LADDER)["monotone"] is True
    better = LADDER[3].model_copy(update={"labels": LADDER[0].labels})
    numbers = audit([*LADDER[:3], better, LADDER[4], record(6, ("hum", "audio", 1))])
    assert (numbers["monotone"], numbers["not_monotone"], numbers["unchecked"]) == (False, ["gnoise"], ["hum"])
    text = as_text(numbers)
    assert "labels fall with the level: NO: gnoise" in text
    assert "doses fall with the level: yes" in text
    # a second fault of the picture hides the order: such a clip is not part of the curve
    mixed = record(7, ("gnoise", "video", 2), ("gblur", "video", 5))
    assert audit([LADDER[0], mixed, LADDER[2]])["alone"]["gnoise"].keys() == {"1", "3"}


def test_labels_are_judged_relative_to_the_source() -> None:
    poor = LADDER[0].model_copy(update={"labels": labels(LADDER[0].distortions, 4.0, ["video"], {"video": 3.0})})
    assert audit([poor, LADDER[1]])["monotone"] is False
    assert audit([poor, LADDER[1]], ceilings={poor.id: {"video": 3.0}})["monotone"] is True


def test_soft_targets_are_rebuilt_and_fallbacks_counted() -> None:
    exact = Label(mean=60, std=20, scale=(0, 100))
    tight = Label(mean=3.5, std=0.1)  # half-way between two words the std is 0.5 at least: error 0.4
    votes = Label(mean=2.0, votes=[0, 1, 0, 0, 0])
    rows = [record(i, labels={"overall": x}, distortions=[]) for i, x in enumerate((exact, tight, votes))]
    overall = audit(rows)["aspects"]["overall"]
    assert overall["range"] == [2.0, 3.5]  # 60 of 100 is 3.4
    assert overall["fallback"] == 0.5
    assert overall["mean_error"] == pytest.approx(0, abs=1e-6)
    assert overall["std_error"] == pytest.approx(0.4, abs=1e-6)
    assert overall["pseudo"] == 0
    assert "fall with the level" not in as_text(audit(rows))


def test_a_level_that_does_not_exist_is_refused() -> None:
    fault = LADDER[0].distortions[0].model_copy(update={"level": 7})
    with pytest.raises(ConfigError, match=r"t-000001.*level 7"):
        audit([LADDER[0].model_copy(update={"distortions": [fault]})])


def test_command_prints_a_table_and_json(tmp_path: Path) -> None:
    write_records(tmp_path / "records.jsonl", LADDER)
    result = CliRunner().invoke(app, ["audit", str(tmp_path / "records.jsonl")])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["kinds"] == {"gnoise": [1] * 5}
    assert "labels fall with the level: yes" in result.stderr
    refused = CliRunner().invoke(app, ["audit", str(tmp_path / "records.jsonl"), "--full-reference", "2"])
    assert refused.exit_code == 2
    assert "--recipe" in refused.stderr
    assert CliRunner().invoke(app, ["audit", str(tmp_path / "none.jsonl")]).exit_code == 2
