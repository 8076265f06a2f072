"""Fusion formulas: known coefficients come back, P.1203.3 is exact, and a public dataset gives what is known of it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from eval.__main__ import app
from eval.fusions import FUSIONS, Scored, p1203, power_mean, read_scored
from eval.joining import ColumnNames
from eval.studies.fusion import fused
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.records import Label, Record, write_records

YT_NTU = Path(__file__).resolve().parents[3] / "shared" / "fixtures" / "yt_ntu_avq" / "meta_info_YT-NTU-AVQ.csv"
BY_NAME = {f.name: f for f in FUSIONS}
RNG = np.random.default_rng(5)
A, V = RNG.uniform(1.2, 4.8, 120), RNG.uniform(1.2, 4.8, 120)
FAST = tuple(f for f in FUSIONS if f.name not in ("SVR", "forest"))


@pytest.mark.parametrize(
    ("name", "truth", "y"),
    [  # analytic: the label is made by the formula, so its coefficients are the only right ones
        ("video only", {"a": 0.7, "b": 0.8}, 0.7 + 0.8 * V),
        ("audio only", {"a": 0.2, "b": 0.9}, 0.2 + 0.9 * A),
        ("linear", {"a": 0.3, "b": 0.3, "c": 0.6}, 0.3 + 0.3 * A + 0.6 * V),
        ("product", {"a": 1.1, "b": 0.15}, 1.1 + 0.15 * A * V),
        ("Pinson", {"a": 0.5, "b": 0.12, "c": 0.28, "d": 0.1}, 0.5 + 0.12 * A + 0.28 * V + 0.1 * A * V),
        ("Minkowski", {"w": 0.3, "p": -2.0}, (0.3 * A**-2.0 + 0.7 * V**-2.0) ** (-1 / 2.0)),
        ("power", {"a": 1.2, "b": 0.3, "c": 0.55}, 1.2 * A**0.3 * V**0.55),
    ],
)
def test_true_coefficients_come_back(name, truth, y):
    fitted = BY_NAME[name].fit(A, V, y)
    assert fitted.coefficients == pytest.approx(truth, abs=1e-4)
    assert fitted.predict(A, V) == pytest.approx(y, abs=1e-5)


def test_dependent_terms_are_told():
    assert "not determined" in BY_NAME["linear"].fit(V, V, 1 + 0.5 * V).note


def test_power_mean_has_its_limits():
    a, v = np.array([2.0]), np.array([4.5])
    assert power_mean(a, v, 0.3, 0.0) == pytest.approx(2.0**0.3 * 4.5**0.7)  # geometric mean
    assert power_mean(a, v, 0.3, 1e-9) == pytest.approx(2.0**0.3 * 4.5**0.7)
    assert power_mean(a, v, 0.3, 1.0) == pytest.approx(0.3 * 2.0 + 0.7 * 4.5)


def test_p1203_is_exact():
    # Analytic: the recommendation's polynomial with its published coefficients, computed by hand.
    o34 = -0.00069084 + 0.15374283 * 2 + 0.97153861 * 3 + 0.02461776 * 2 * 3
    assert p1203(np.array([2.0, 5.0, 1.0]), np.array([3.0, 5.0, 0.0])) == pytest.approx([o34, 5.0, 1.0], abs=1e-12)
    assert BY_NAME["P.1203.3"].fit(A, V, np.zeros_like(A)).predict(A, V) == pytest.approx(p1203(A, V))


def test_learnt_fusions_follow_a_bent_surface():
    y = np.minimum(A, V)  # no formula of the list has this shape
    for name in ("SVR", "forest"):
        fitted = BY_NAME[name].fit(A, V, y)
        assert np.corrcoef(fitted.predict(A, V), y)[0, 1] > 0.97
        assert fitted.predict(A, V) == pytest.approx(BY_NAME[name].fit(A, V, y).predict(A, V))  # repeatable


def test_study_separates_the_true_formula(monkeypatch):
    monkeypatch.setattr("eval.studies.fusion.FUSIONS", FAST)
    y = np.clip(0.5 + 0.12 * A + 0.28 * V + 0.1 * A * V + np.random.default_rng(1).normal(0, 0.05, 120), 1, 5)
    found = fused(Scored(A, V, y, [f"g{i // 4}" for i in range(120)]), draws=200)
    by_name = {m.name: m for m in found.models}
    assert (found.clips, found.contents, found.splits) == (120, 30, 10)
    assert 0.04 < by_name["Pinson"].splits["rmse"].median < 0.06  # the noise, and nothing but the noise
    assert by_name["linear"].splits["rmse"].median > 0.08
    assert by_name["Pinson"].gain.low > 0 and by_name["Pinson"].p < 0.1
    assert by_name["video only"].gain.high < 0
    c = by_name["Pinson"].coefficients["d"]
    assert c.low <= 0.1 + 0.02 and c.high >= 0.1 - 0.02 and c.value == pytest.approx(0.1, abs=0.02)
    assert by_name["P.1203.3"].coefficients["av3"].low == by_name["P.1203.3"].coefficients["av3"].high == 0.97153861


def test_held_out_means_held_out(monkeypatch):
    """A fusion that memorises its clips gains nothing on contents it did not see."""
    from eval.fusions import Fitted, Fusion

    seen = []

    def memorise(a, v, y):
        seen.append(set(zip(a, v, strict=True)))
        known = {(p, q): r for p, q, r in zip(a, v, y, strict=True)}
        return Fitted(lambda p, q: np.array([known.get(k, k[0]) for k in zip(p, q, strict=True)]), {})

    monkeypatch.setattr("eval.studies.fusion.FUSIONS", (BY_NAME["linear"], Fusion("m", "", "", memorise)))
    y = np.random.default_rng(2).uniform(1, 5, 120)
    groups = [f"g{i // 4}" for i in range(120)]
    found = fused(Scored(A, V, y, groups), draws=100)
    assert abs(found.models[1].held_out["srcc"].value) < 0.35
    for train in seen[:10]:
        inside = {g for g, key in zip(groups, zip(A, V, strict=True), strict=True) if key in train}
        outside = {g for g, key in zip(groups, zip(A, V, strict=True), strict=True) if key not in train}
        assert not inside & outside


def table(path, rows):
    with path.open("w", newline="") as f:
        w = csv.DictWriter(f, list(rows[0]))
        w.writeheader()
        w.writerows(rows)
    return path


def test_scales_and_directions(tmp_path):
    rows = [{"id": i, "overall": 100 - 20 * i, "audio": 100 - 10 * i, "video": 100 - 5 * i} for i in range(5)]
    path = table(tmp_path / "labels.csv", rows)
    falling = read_scored(path, columns=ColumnNames(lower_is_better=True), scale=(0, 100))
    assert falling.y == pytest.approx([1, 1.8, 2.6, 3.4, 4.2])
    assert read_scored(path, scale=(0, 100)).a == pytest.approx([5, 4.6, 4.2, 3.8, 3.4])
    with pytest.raises(ConfigError, match=r"overall reaches from 20 to 100, outside the scale 1\.\.5.*--scale"):
        read_scored(path)


def test_records_know_their_scale(tmp_path):
    labels = {a: Label(mean=m, scale=(0, 100)) for a, m in (("overall", 50), ("audio", 25), ("video", 75))}
    path = tmp_path / "records.jsonl"
    write_records(path, [Record(id=f"r{i}", media=f"{i}.mp4", dataset="d", group="g", labels=labels) for i in range(2)])
    found = read_scored(path)
    assert (found.a[0], found.v[0], found.y[0], found.groups) == (2, 4, 3, ["g", "g"])
    with pytest.raises(ConfigError, match="leave --scale out"):
        read_scored(path, scale=(0, 100))


def test_predicted_scores_are_joined(tmp_path):
    labels = table(tmp_path / "labels.csv", [{"id": i, "mos": 1 + 0.5 * i} for i in range(8)])
    rows = [{"id": i, "audio": 1 + i * 0.5, "video": 6.0 if i == 7 else 2.0} for i in range(1, 8)]
    found = read_scored(labels, table(tmp_path / "pred.csv", rows))
    assert found.a == pytest.approx([1 + i * 0.5 for i in range(1, 8)])
    assert found.v[-1] == 5 and any("1 predictions beyond the scale" in n for n in found.notes)
    assert any("no prediction" in n for n in found.notes)
    with pytest.raises(ConfigError, match="no clip has overall, audio and video"):
        read_scored(labels)


def test_too_few_contents_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"1 contents, at least 5 .*--group"):
        fused(Scored(A, V, V, ["one"] * 120))


@pytest.mark.skipif(not YT_NTU.is_file(), reason="label file of YT-NTU-AVQ not found")
def test_yt_ntu_avq(monkeypatch):
    """Source: reference run on the public labels. The picture alone reaches .994, the sound alone .971."""
    monkeypatch.setattr("eval.studies.fusion.FUSIONS", FAST)
    columns = [f"{a}=score_{c}" for a, c in (("overall", "all"), ("audio", "a"), ("video", "v"))]
    options = [x for c in columns for x in ("--label-column", c)]
    result = CliRunner().invoke(app, ["fusion", str(YT_NTU), *options, "--json", "--draws", "100"])
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    by_name = {m["name"]: m for m in found["models"]}
    assert found["clips"] == 1620
    assert by_name["video only"]["splits"]["srcc"]["median"] == pytest.approx(0.994, abs=0.002)
    assert by_name["audio only"]["splits"]["srcc"]["median"] == pytest.approx(0.971, abs=0.004)
    assert by_name["linear"]["splits"]["srcc"]["median"] == pytest.approx(0.998, abs=0.001)
    b, c = (by_name["linear"]["coefficients"][k]["value"] for k in "bc")
    assert (b, c) == pytest.approx((0.334, 0.602), abs=0.01)
    assert by_name["P.1203.3"]["splits"]["rmse"]["median"] > 0.4  # right order, wrong scale: not fitted


def test_command_shows_tables(tmp_path, monkeypatch):
    monkeypatch.setattr("eval.studies.fusion.FUSIONS", FAST)
    rows = [{"id": i, "overall": 0.4 * A[i] + 0.6 * V[i], "audio": A[i], "video": V[i], "g": i // 3} for i in range(60)]
    path = table(tmp_path / "labels.csv", rows)
    result = CliRunner().invoke(app, ["fusion", str(path), "--group", "g", "--splits", "4", "--draws", "100"])
    assert result.exit_code == 0, result.stderr
    assert "(w A^p + (1 - w) V^p)^(1/p)" in result.stdout and "4 content-separated splits" in result.stdout
    assert CliRunner().invoke(app, ["fusion", str(path), "--group", "nothing"]).exit_code == 2
