"""Joining of tables and the command around it."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from scipy.stats import spearmanr
from typer.testing import CliRunner

from eval.__main__ import app
from eval.joining import join, read_entries, read_labels
from eval.studies.correlate import Correlate
from mllm_avqa.batch.rows import FlatRow
from mllm_avqa.schema.errors import ConfigError, NotMedia
from mllm_avqa.schema.records import Label, Record, write_records

N = 12
TRUTH = np.linspace(1.2, 4.8, N)
GUESS = TRUTH + np.random.default_rng(3).normal(0, 0.6, N)


def write_csv(path, rows):
    with path.open("w", newline="") as f:
        w = csv.DictWriter(f, list(rows[0]))
        w.writeheader()
        w.writerows(rows)
    return path


@pytest.fixture
def records(tmp_path):
    path = tmp_path / "set" / "records.jsonl"
    write_records(
        path,
        [
            Record(
                id=f"r{i}",
                media=f"clips/{i}.mp4",
                dataset="d",
                group=f"g{i // 2}",
                # DMOS on 0..100: lower is better, so that a lost direction shows
                labels={"overall": Label(mean=100 - 20 * TRUTH[i], scale=(0, 100), higher_is_better=False)},
            )
            for i in range(N)
        ],
    )
    return path


@pytest.fixture
def scores(tmp_path):
    """Rows of the batch engine: ten scored, one failed, one missing."""
    path = tmp_path / "scores.jsonl"
    rows = [
        FlatRow(path=f"clips/{i}.mp4", file=f"/data/set/clips/{i}.mp4", status="ok", overall=GUESS[i])
        for i in range(N - 2)
    ]
    error = NotMedia("no container format")
    rows.append(
        FlatRow(
            path="clips/10.mp4", file="/data/set/clips/10.mp4", status="error", error_kind=error.kind, error=str(error)
        )
    )
    rows.append(FlatRow(path="other.mp4", file="/data/other.mp4", status="ok", overall=3.0))
    path.write_text("".join(r.model_dump_json() + "\n" for r in rows))
    return path


def test_batch_rows_against_records(scores, records):
    result = Correlate(pred=scores, labels=records, draws=100).run().result
    got = result.aspects["overall"]
    assert (got.n, got.m) == (10, 12)
    assert result.lost["overall"].model_dump() == {"failed": 1, "unscored": 0, "unmatched": 1}
    assert got.srcc.value == pytest.approx(spearmanr(GUESS[:10], TRUTH[:10]).statistic, abs=1e-4)
    assert got.groups == 5
    assert any("r11" in n for n in result.notes)
    assert any("/other.mp4" in n or "other.mp4" in n for n in result.notes)
    assert any("not_media" in n for n in result.notes)


def test_command_prints_a_table_and_notes_apart(scores, records):
    run = CliRunner().invoke(app, ["correlate", str(scores), str(records)])
    assert run.exit_code == 0, run.output
    assert "10 of 12 (1 failed, 1 unmatched)" in run.stdout
    assert run.stdout.startswith("| aspect")
    assert "r11" in run.stderr
    assert "r11" not in run.stdout


def test_command_json(scores, records):
    run = CliRunner().invoke(app, ["correlate", str(scores), str(records), "--json", "--mapping", "linear"])
    got = json.loads(run.stdout)["aspects"]["overall"]
    assert got["mapping"] == "linear"
    assert got["n"] == 10


def test_tables_of_strangers_join_by_base_name(tmp_path):
    pred = write_csv(tmp_path / "p.csv", [{"filename": f"/x/{i}.mp4", "score": g} for i, g in enumerate(GUESS)])
    labels = write_csv(
        tmp_path / "l.csv",
        [{"name": f"n{i}", "path": f"videos\\{i}.mp4", "mos": t, "content": i % 6} for i, t in enumerate(TRUTH)],
    )
    got = Correlate(pred=pred, labels=labels, group="content", draws=100).run().result.aspects["overall"]
    assert (got.n, got.groups) == (N, 6)
    assert got.srcc.value == pytest.approx(spearmanr(GUESS, TRUTH).statistic, abs=1e-4)


def test_ids_win_over_names_and_shared_names_match_nothing(tmp_path):
    pred = write_csv(
        tmp_path / "p.csv",
        [
            {"id": "a", "path": "one/clip.mp4", "video": 1},
            {"id": "", "path": "two/clip.mp4", "video": 2},
            {"id": "", "path": "three/clip.mp4", "video": 3},
        ],
    )
    labels = write_csv(
        tmp_path / "l.csv",
        [
            {"id": "a", "path": "elsewhere/x.mp4", "video": 1},
            {"id": "b", "path": "two/clip.mp4", "video": 2},
            {"id": "c", "path": "nine/clip.mp4", "video": 3},
        ],
    )
    joined = join(read_entries(pred), read_labels(labels))
    assert [p.values["video"] if p else None for _, p in joined.pairs] == [1, 2, None]
    assert joined.unmatched == ["c"]
    assert joined.unused == ["three/clip.mp4"]
    assert any("base name is shared" in n for n in joined.notes)


def test_a_repeated_row_counts_once_and_a_failure_does_not_replace_a_score(tmp_path):
    rows = [
        {"id": "a", "status": "ok", "audio": 2.0},
        {"id": "a", "status": "ok", "audio": 4.0},
        {"id": "a", "status": "error"},
    ]
    path = tmp_path / "p.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    joined = join(read_entries(path), read_entries(path)[:1])
    assert joined.pairs[0][1].values == {"audio": 4.0}


def test_lower_is_better_turns_the_labels(tmp_path):
    pred = write_csv(tmp_path / "p.csv", [{"id": i, "score": g} for i, g in enumerate(TRUTH)])
    labels = write_csv(tmp_path / "l.csv", [{"id": i, "mos": -t} for i, t in enumerate(TRUTH)])
    assert Correlate(pred=pred, labels=labels, draws=100).run().result.aspects["overall"].srcc.value == -1
    assert (
        Correlate(pred=pred, labels=labels, lower_is_better=True, draws=100).run().result.aspects["overall"].srcc.value
        == 1
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,colour\na,1\n", "holds scores"),
        ("overall\n3\n", "names the clips"),
        ("id,overall\n", "has no rows"),
        ("id,overall\na,excellent\n", "row 2, column overall: 'excellent' is not a number"),
    ],
)
def test_unusable_tables_say_why(tmp_path, text, message):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_entries(path)


def test_unknown_group_column_and_missing_file_exit_2(tmp_path, scores):
    labels = write_csv(tmp_path / "l.csv", [{"id": "a", "overall": 3}])
    run = CliRunner().invoke(app, ["correlate", str(scores), str(labels), "--group", "scene"])
    assert run.exit_code == 2
    assert "--group" in run.stderr
    run = CliRunner().invoke(app, ["correlate", str(tmp_path / "no.csv"), str(labels)])
    assert run.exit_code == 2
    assert run.stdout == ""
