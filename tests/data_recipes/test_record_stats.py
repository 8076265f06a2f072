"""Counts of a record file, their limits in memory, and the three ways they are shown."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from data_recipes.__main__ import app
from data_recipes.formats.parquet import write_parquet
from data_recipes.sets import stats as counting
from data_recipes.sets.stats import OTHER, Distinct, Histogram, Tally, collect
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.records import Distortion, Label, Question, Record, write_records


def fault(kind: str, level: int) -> Distortion:
    return Distortion(kind=kind, modality="video", level=level, start=0, end=1)


def record(id: str, **more: object) -> Record:
    return Record.model_validate({"id": id, "media": f"{id}.mp4", "dataset": "d", "group": id[0], **more})


RECORDS = [
    record(
        "a1",
        split="train",
        start=2.0,
        end=38.0,
        labels={"audio": Label(mean=2), "overall": Label(mean=25, std=10, scale=(0, 100), higher_is_better=False)},
        distortions=[fault("blur", 1), fault("noise", 5)],
        context={"user": "x"},
        licence="CC0",
    ),
    record(
        "a2",
        split="train",
        labels={
            "overall": Label(
                mean=75, std=20, scale=(0, 100), higher_is_better=False, votes=[0, 0, 1, 2, 0], pseudo=True
            )
        },
        distortions=[fault("blur", 1)],
        questions=[
            Question(stage=1, task="kind", question="?", answer="!"),
            Question(stage=1, task="kind", question="?", answer="!", language="zh"),
        ],
    ),
    record("b", media="b.WAV", dataset="e", description="d", labels={"overall": Label(mean=104, scale=(0, 100))}),
]


def test_counts() -> None:
    s = collect(RECORDS)
    assert (s.records, s.groups, s.groups_exact, s.hours, s.unknown_length) == (3, 2, True, 0.01, 2)
    assert s.splits == {"d": {"train": 2}, "e": {"none": 1}}
    assert s.suffixes == {".mp4": 2, ".wav": 1}
    assert s.labelled == {"overall": 2, "audio+overall": 1}
    assert s.faults == {"video": {"blur": [2, 0, 0, 0, 0], "noise": [0, 0, 0, 0, 1]}}
    assert s.faults_per_clip == {"0": 1, "1": 1, "2": 1}
    assert s.questions == {"1": {"kind": {"en": 1, "zh": 1}}}
    assert s.contexts == {"none": 2, "user": 1}
    assert s.licences == {"not given": 2, "CC0": 1}
    assert s.descriptions == 1


def test_scores_keep_their_scale_and_direction() -> None:
    overall, other, audio = collect(RECORDS).scores
    assert [(x.dataset, x.aspect, x.n, x.missing) for x in (overall, other, audio)] == [
        ("d", "overall", 2, 0),
        ("e", "overall", 1, 0),
        ("d", "audio", 1, 1),
    ]
    assert (overall.mean, overall.std, overall.mean_vote_std) == (50, 25, 15)
    assert (overall.pseudo, overall.with_std, overall.with_votes) == (1, 2, 1)
    # lower is better: 25 of 0..100 is 1 + 4 * 0.75 = 4 (good), 75 is 2 (poor)
    assert (overall.mean_five, overall.levels["good"], overall.levels["poor"]) == (3, 1, 1)
    assert [i for i, n in enumerate(overall.native.counts) if n] == [5, 15]
    assert (other.native.above, sum(other.native.counts)) == (1, 0)


def test_edges_of_a_histogram() -> None:
    h = Histogram(low=1, high=5)
    for value in (0.9, 1, 1.25, 5, 5.1):
        h.add(value)
    assert (h.counts[0], h.counts[1], h.counts[19], h.below, h.above) == (1, 1, 1, 1, 1)


def test_a_file_without_records() -> None:
    assert collect([]).records == 0


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "_KEYS", 2)
    tally = Tally()
    for name in "abcab":
        tally.add(name)
    assert tally == {"a": 2, "b": 2, OTHER: 1}
    many = collect(record(f"{i}", dataset=f"d{i}", licence=f"l{i}") for i in range(9))
    assert many.splits == {"d0": {"none": 1}, "d1": {"none": 1}, OTHER: {"none": 7}}
    monkeypatch.setattr(counting, "_SCALES", 5)
    with pytest.raises(ConfigError, match="scale of video"):
        collect(record(f"{i}", labels={"video": Label(mean=0, scale=(0, i + 1))}) for i in range(9))


def test_number_of_groups_is_exact_and_then_close() -> None:
    few, many = Distinct(), Distinct()
    for i in range(4096):
        few.add(f"g{i}")
        few.add(f"g{i // 2}")
    assert (few.count(), few.exact) == (4096, True)
    for i in range(30_000):
        many.add(f"g{i % 20_000}")
    assert not many.exact
    assert many.count() == pytest.approx(20_000, rel=0.06)  # standard error 1 / sqrt(4096) = 1.6 %


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_command(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"r.{suffix}"
    (write_records if suffix == "jsonl" else write_parquet)(path, RECORDS)
    run = CliRunner().invoke
    done = run(app, ["stats", str(path), "--json"])
    assert done.exit_code == 0
    assert json.loads(done.stdout) == json.loads(collect(RECORDS).model_dump_json())
    table = run(app, ["stats", str(path)]).stdout
    assert "3 clips, 2 groups" in table
    assert "0–100 ↓" in table
    assert run(app, ["stats", str(tmp_path / "none.jsonl")]).exit_code == 2


def test_html_asks_nothing_of_the_network_and_escapes(tmp_path: Path) -> None:
    name = "<script>alert(1)</script>\u202e[bold]"
    write_records(tmp_path / "r.jsonl", [*RECORDS, record("x", dataset=name, labels={name: Label(mean=3)})])
    html = tmp_path / "out" / "s.html"
    done = CliRunner().invoke(app, ["stats", str(tmp_path / "r.jsonl"), "--html", str(html)])
    assert done.exit_code == 0
    assert "[bold]" in done.stdout
    assert "\u202e" not in done.stdout
    text = html.read_text(encoding="utf-8")
    assert "default-src 'none'" in text
    assert not re.search(r"<script|https?://|\bsrc=|@import|url\(", text)
    assert "\u202e" not in text
    assert text.count("<svg") == 2 * 2 + 2  # a second plot for each scale that is not 1-5
    assert "1 above the scale" in text
