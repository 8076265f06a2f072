"""What `correlate` does with tables that do not fit, and what it says."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from eval.__main__ import app
from eval.correlation.numbers import study
from eval.joining import ColumnNames, join, read_entries, read_labels, single
from eval.studies.correlate import Correlate
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.records import Label, Record, write_records

N = 20
RNG = np.random.default_rng(1)
TRUTH = np.linspace(1.2, 4.8, N)
GUESS = TRUTH + RNG.normal(0, 0.4, N)


def table(path, head, *columns):
    rows = [head, *(",".join(str(v) for v in row) for row in zip(*columns, strict=True))]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def pred(tmp_path):
    return table(tmp_path / "pred.csv", "path,score", [f"/x/{i}.mp4" for i in range(N)], GUESS)


@pytest.fixture
def labels(tmp_path):
    return table(tmp_path / "labels.csv", "id,mos", range(N), TRUTH)


def run(*args):
    return CliRunner().invoke(app, ["correlate", *(str(a) for a in args), "--draws", "100"])


def refused(*args):
    got = run(*args)
    assert got.exit_code == 2, got.output
    assert got.stdout == ""
    return got.stderr


def test_ids_match_file_names_without_their_ending(pred, labels):
    got = Correlate(pred=pred, labels=labels, draws=100).run().result
    assert got.aspects["overall"].n == N
    assert any("without file endings" in n for n in got.notes)


def test_nothing_in_common_names_clips_of_both(tmp_path, pred):
    other = table(tmp_path / "other.csv", "id,mos", [f"z{i}" for i in range(N)], TRUTH)
    said = refused(pred, other)
    assert "z0" in said
    assert "/x/0.mp4" in said
    assert "--id" in said


def test_a_label_that_repeats_counts_once_and_one_that_disagrees_is_refused(tmp_path, pred):
    same = table(tmp_path / "same.csv", "id,mos", [*range(N), 3], [*TRUTH, TRUTH[3]])
    assert Correlate(pred=pred, labels=same, draws=100).run().result.aspects["overall"].n == N
    torn = table(tmp_path / "torn.csv", "id,mos", [*range(N), 3], [*TRUTH, 1.0])
    assert "different labels for 1 clip (3)" in refused(pred, torn)


def test_empty_cells_are_named(tmp_path, labels):
    guess = list(GUESS)
    guess[4], guess[6] = "nan", "inf"
    holes = table(tmp_path / "holes.csv", "id,score", range(N), guess)
    got = run(holes, labels)
    assert f"{N - 2} of {N} (2 unscored)" in got.stdout
    assert "2 clips (4, 6) of holes.csv without a finite number" in got.stderr
    truth = list(TRUTH)
    truth[2] = ""
    got = Correlate(pred=holes, labels=table(tmp_path / "l2.csv", "id,mos", range(N), truth), draws=100).run().result
    assert any("1 clip (2) of l2.csv without a finite number: not counted" in n for n in got.notes)
    assert got.aspects["overall"].m == N - 1


def test_an_aspect_that_only_one_side_has_is_not_told_to_lack_numbers(tmp_path):
    video = table(tmp_path / "v.csv", "id,video,sync", range(N), GUESS, [""] * N)
    truth = table(tmp_path / "t.csv", "id,video,sync,audio", range(N), TRUTH, TRUTH, [""] * N)
    notes = Correlate(pred=video, labels=truth, draws=100).run().result.notes
    assert not any("without a finite number" in n for n in notes)
    assert "sync: labelled, but v.csv has no number of it" in notes


def test_constant_predictions_have_no_correlation(tmp_path, labels):
    flat = table(tmp_path / "flat.csv", "id,score", range(N), [3.0] * N)
    got = run(flat, labels, "--json")
    numbers = json.loads(got.stdout)["aspects"]["overall"]
    assert all(numbers[k]["value"] is None for k in ("srcc", "krcc", "plcc", "plcc_mapped", "rmse"))
    assert "overall: predictions are constant" in got.stderr
    assert "| overall | " in run(flat, labels).stdout


def test_a_constant_model_is_no_better_and_no_worse(tmp_path, labels, pred):
    flat = table(tmp_path / "flat.csv", "id,score", range(N), [3.0] * N)
    rows = json.loads(run(pred, labels, "--compare", flat, "--json").stdout)["comparisons"]["overall"]
    assert {r["statistic"] for r in rows} == {"srcc", "plcc_mapped", "rmse"}
    assert all(r["difference"]["value"] is None and r["p_bootstrap"] is None for r in rows)
    assert all(r["difference"]["note"] == "flat: predictions are constant" for r in rows)


def test_a_prediction_that_repeats_is_told(tmp_path, labels):
    twice = table(tmp_path / "twice.csv", "id,score", [*range(N), 3], [*GUESS, 1.0])
    got = run(twice, labels)
    assert got.exit_code == 0
    assert "1 clip (3) with several predictions" in got.stderr


def test_too_few_clips_say_so(tmp_path):
    few = table(tmp_path / "few.csv", "id,score", range(4), GUESS[:4])
    got = run(few, table(tmp_path / "l.csv", "id,mos", range(4), TRUTH[:4]))
    assert got.exit_code == 0
    assert "4 clips, at least 5 needed" in got.stderr


def test_dmos_needs_a_direction(tmp_path, pred):
    path = table(tmp_path / "d.csv", "id,DMOS", range(N), 100 - 20 * TRUTH)
    said = refused(pred, path)
    assert "--lower-is-better or --higher-is-better" in said
    assert (
        Correlate(pred=pred, labels=path, lower_is_better=True, draws=100).run().result.aspects["overall"].srcc.value
        > 0.8
    )
    assert "with a minus sign" in run(pred, path, "--lower-is-better").stderr
    got = run(pred, path, "--higher-is-better")
    assert "SRCC is negative beyond chance" in got.stderr


def test_predictions_may_fall(tmp_path, labels, pred):
    down = table(tmp_path / "brisque.csv", "id,score", range(N), -GUESS)
    found = study(pred, labels, [down], falling=["brisque"], draws=100).result
    assert found.others["brisque"].aspects["overall"].srcc.value == found.aspects["overall"].srcc.value
    assert "allowed are pred, brisque" in refused(pred, labels, "--compare", down, "--falling", "niqe")


def test_a_mapping_that_does_not_converge_is_told(pred, tmp_path):
    falling = table(tmp_path / "l.csv", "id,mos", range(N), -TRUTH)
    got = run(pred, falling, "--mapping", "logistic5")
    assert "linear (the 5-parameter logistic did not converge to something better than a line)" in got.stderr


def test_columns_by_name(tmp_path):
    p = table(tmp_path / "p.csv", "clip,mine", range(N), GUESS)
    y = table(tmp_path / "l.csv", "clip,MOSFull,v", range(N), TRUTH, TRUTH)
    args = (p, y, "--id", "clip", "--pred-column", "mine")
    assert "label-column" in refused(*args)
    assert run(*args, "--label-column", "MOSFull").exit_code == 0
    assert "'colour' is no aspect" in refused(*args, "--label-column", "colour=v")
    assert "no column 'nope' (--label-column)" in refused(*args, "--label-column", "nope")
    assert "share no aspect" in refused(*args, "--label-column", "video=v")


def test_uncertainty_of_labels(tmp_path, pred):
    y = table(tmp_path / "l.csv", "id,mos,sd,k,half", range(N), TRUTH, [0.6] * N, [25] * N, [0.25] * N)
    assert "--votes" in refused(pred, y, "--std", "sd")
    for args in (("--std", "sd", "--votes", "k"), ("--std", "overall=sd", "--votes", "25"), ("--ci", "half")):
        got = json.loads(run(pred, y, *args, "--json").stdout)["details"]["overall"]
        assert 0 < got["rmse_star"]["value"] < got["rmse_free"]["value"]
        assert got["discrimination"]["different"] + got["discrimination"]["similar"] == N * (N - 1) // 2
    without = json.loads(run(pred, y, "--json").stdout)["details"]["overall"]
    assert without["rmse_star"]["value"] is None
    assert "--ci" in without["discrimination"]["auc_ds"]["note"]
    bad = table(tmp_path / "neg.csv", "id,mos,sd", range(N), TRUTH, [-0.6] * N)
    assert "row 2, column sd: -0.6 is negative" in refused(pred, bad, "--std", "sd", "--votes", "20")


def test_parts_have_their_own_mapping(tmp_path, pred):
    y = table(tmp_path / "l.csv", "id,mos,database", range(N), TRUTH, ["a", "b"] * (N // 2))
    got = run(pred, y, "--by", "database", "--mapping", "linear")
    assert "| mean of 2 |" in got.stdout
    assert "no column 'nope' (--by)" in refused(pred, y, "--by", "nope")


def test_records_know_their_scale_groups_and_votes(tmp_path, pred):
    path = tmp_path / "r.jsonl"
    rows = [
        Record(
            id=f"r{i}",
            media=f"{i}.mp4",
            dataset="d",
            group=f"g{i % 7}",
            labels={"overall": Label(mean=TRUTH[i], votes=[2, 3, 9, 8, 3])},
        )
        for i in range(N)
    ]
    write_records(path, rows)
    found = study(pred, path, label_columns=ColumnNames(by="dataset"), draws=100)
    # analytic: 25 votes with counts 2 3 9 8 3 on 1..5 have mean 3.28 and variance 29.04 / 24
    assert found.columns["pred"]["overall"].spread.error[0] == pytest.approx((29.04 / 24) ** 0.5 / 5)
    assert found.result.details["overall"].parts[0].part == "d"
    assert "leave --group out" in refused(pred, path, "--group", "g")
    assert "dataset, split, group" in refused(pred, path, "--by", "licence")


def test_models_are_compared_on_common_clips(tmp_path, pred, labels):
    part = table(tmp_path / "part.csv", "id,score", range(12), TRUTH[:12] + RNG.normal(0, 1, 12))
    got = study(pred, labels, [part], draws=200).result
    assert {c.n for c in got.comparisons["overall"]} == {12}
    assert any("compared on the 12 clips that all have; pred has 20" in n for n in got.notes)
    assert "do not differ" in refused(pred, labels, "--compare", pred)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("t.csv", b"id,overall\n\xff,3\n", "not UTF-8 text"),
        ("t.parquet", b"nothing", "not a Parquet table"),
        ("t.jsonl", b'{"id": 1, "overall": 3}\n[1]\n', ":2: a row must be an object, not list"),
        ("t.txt", b"", "the ending must be one of"),
        ("t.csv", b"a.mp4,8.0,30,3.2\nb.mp4,8.0,30,3.3\n", "A table needs a first line with the names"),
    ],
)
def test_files_that_are_no_tables(tmp_path, name, data, message):
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=message):
        read_entries(path)


def test_semicolons_and_decimal_commas(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("File_name;MOS\nTest01_City_D01.avi;-6,5\nb.avi;93,38\n", encoding="utf-8")
    assert [e.values["overall"] for e in read_labels(path)] == [-6.5, 93.38]


def test_one_stem_for_two_labels_matches_none(tmp_path):
    p = table(tmp_path / "p.csv", "path,score", ["a.mkv", "b.mkv"], [1, 2])
    y = table(tmp_path / "l.csv", "path,mos", ["x/a.mp4", "y/a.mp4", "b.mp4"], [1, 2, 3])
    joined = join(read_entries(p), single(read_labels(y), "l.csv")[0])
    assert [m is not None for _, m in joined.pairs] == [False, False, True]
    assert any("base name is shared" in n for n in joined.notes)
