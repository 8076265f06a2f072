"""Cut-offs and the least significant difference, on labels that are known."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "batch"))
from fake_rater import FakeRater

from mllm_avqa.cli import app
from mllm_avqa.pipeline.cutoffs import content_weights, significant_difference, worth
from mllm_avqa.schema.errors import ConfigError


def test_cut_offs_on_scores_that_separate() -> None:
    scores, labels = [1.0, 1.5, 2.0, 2.5, 3.5, 4.0, 4.2, 4.4, 4.6, 4.8], [1, 1, 2, 2, 4, 4, 4, 5, 5, 5]
    found = worth("video", scores, labels, [str(i) for i in range(10)], 3.0, precision=[1.0], recall=[1.0, 0.5])
    by_precision, by_recall, half = found.cut_offs
    assert by_precision.at.value == by_recall.at.value == 3.0  # analytic: between 2.5 and 3.5
    assert half.at.value == 1.75  # analytic: two of the four bad ones lie below
    assert (by_recall.precision.value, half.recall.value, half.failing) == (1.0, 0.5, 0.2)
    assert by_recall.at.low is not None
    assert by_recall.at.low < 3.0 == by_recall.at.high


def test_scores_that_say_nothing_reach_no_precision() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(1, 6, 200).astype(float)
    found = worth("audio", rng.uniform(4, 5, 200), labels, [str(i) for i in range(200)], 1.5, precision=[0.99])
    assert found.difference is None
    assert found.unreached == ["precision 0.99"] or found.cut_offs[0].failing < 0.05
    with pytest.raises(ConfigError, match="--good 9: all 200 clips are bad; labels go from 1 to 5"):
        worth("audio", rng.uniform(4, 5, 200), labels, ["x"] * 200, 9.0)


def test_the_least_difference_follows_the_noise() -> None:
    rng = np.random.default_rng(1)
    truth = rng.uniform(1, 5, 120)
    weights = content_weights([str(i) for i in range(120)], 20)
    near, far = (significant_difference(truth + rng.normal(0, n, 120), truth, weights) for n in (0.05, 0.5))
    assert near is not None
    assert far is not None
    # analytic: a difference of two scores has noise n * sqrt(2), and 1.645 of it are right in 95 %
    assert near.value == pytest.approx(1.645 * 2**0.5 * 0.05, abs=0.05)
    assert far.value == pytest.approx(1.645 * 2**0.5 * 0.5, abs=0.35)
    assert significant_difference(truth, truth, weights).value < 0.05  # type: ignore[union-attr]


def test_contents_are_drawn_whole() -> None:
    weights = content_weights(["a", "a", "b", "c"], 50)
    assert (weights[:, 0] == weights[:, 1]).all()
    assert ((weights[:, 0] + weights[:, 2] + weights[:, 3]) == 3).all()


def test_command_rates_what_has_no_scores_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("mllm_avqa.rater")
    module.Rater = FakeRater  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mllm_avqa.rater", module)
    for i in range(12):
        (tmp_path / f"{i}.mp4").write_bytes(b"%d" % i)
    (tmp_path / "l.csv").write_text("path,mos,overall\n" + "".join(f"{i}.mp4,{1 + i % 5},{i}\n" for i in range(12)))
    call = ["calibrate", str(tmp_path / "l.csv"), "--json", "--recall", "0.9"]
    result = CliRunner().invoke(app, call)
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert (found["clips"], found["cut_offs"][0]["wanted"]) == (12, "recall 0.9")
    again = CliRunner().invoke(
        app, ["calibrate", str(tmp_path / "l.scores.jsonl"), "--label-column", "overall", "--recall", "1"]
    )
    assert "--fail-under overall=" in again.stdout  # the user's column of that name, behind its prefix
    wrong = CliRunner().invoke(app, ["calibrate", str(tmp_path / "l.scores.jsonl"), "--label-column", "dmos"])
    assert (wrong.exit_code, "no column 'dmos' (--label-column)" in wrong.stderr) == (2, True)
