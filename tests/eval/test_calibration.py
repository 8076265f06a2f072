"""Conformal intervals hold what they promise, calibration errors are those of known cases, and ratings tell them."""

from __future__ import annotations

import io
import json
import shutil

import av
import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from eval.__main__ import app
from eval.calibration import (
    Calibrated,
    Judged,
    aspect_calibration,
    calibration_error,
    conformal_quantile,
    markdown,
)
from mllm_avqa.schema.calibration import LEAST_STD, Calibration
from mllm_avqa.schema.card import Card
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.levels import soft_target
from mllm_avqa.schema.rating import ScoreDistribution
from mllm_avqa.schema.records import Label, Record, write_records


def distribution(score=3.0, std=0.5):
    return ScoreDistribution(score=score, std=std, level="fair", probs={}, mass=1.0)


# ---- the quantile ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "coverage", "rank"),
    [(9, 0.9, 9), (10, 0.9, 10), (19, 0.9, 18), (99, 0.9, 90), (3, 0.5, 2), (4, 0.8, 4)],  # analytic: ceil((n+1) c)
)
def test_quantile_is_the_right_order_statistic(n, coverage, rank):
    residuals = np.random.default_rng(n).permutation(np.arange(1.0, n + 1))
    assert conformal_quantile(residuals, coverage) == rank


def test_too_few_clips_have_no_quantile():
    assert conformal_quantile(np.arange(8.0), 0.9) is None
    assert conformal_quantile(np.empty(0), 0.5) is None


def judged(n, seed, noise=lambda std: std):
    """Labels that miss the score by `noise(std)`; level distributions with exactly this score and std."""
    rng = np.random.default_rng(seed)
    std = rng.uniform(0.2, 0.9, n)
    score = rng.uniform(2, 4, n)
    label = np.clip(score + rng.normal(0, 1, n) * 0.5 * noise(std), 1, 5)
    probs = np.array([soft_target(float(s), float(d)) for s, d in zip(score, std, strict=True)])
    return Judged(score, std, label, probs, probs, [f"g{i // 2}" for i in range(n)])


def test_coverage_holds_over_many_splits():
    """Analytic: the mean coverage over fresh draws is between 0.9 and 0.9 + 1 / (n + 1)."""
    shares, rng = [], np.random.default_rng(0)
    for _ in range(400):
        quantile = conformal_quantile(np.abs(rng.normal(size=68)), 0.9)
        shares.append(np.mean(np.abs(rng.normal(size=200)) <= quantile))
    assert 0.9 - 0.005 < np.mean(shares) < 0.9 + 1 / 69 + 0.005  # the margin: three standard errors of 400 splits


def test_wider_where_the_model_is_unsure():
    found = aspect_calibration(judged(400, 1), judged(400, 2), 0.9, "video", draws=100)
    assert found.coverage.value == pytest.approx(0.9, abs=0.05)
    assert found.coverage.low < found.coverage.value < found.coverage.high
    assert found.width < found.constant_width - 0.05  # residuals follow the predicted std, so following it pays
    assert found.quantile == pytest.approx(0.5 * 1.645, abs=0.12)  # two-sided 90 % of a normal with half the std
    assert len(found.thirds) == 3 and found.ece == pytest.approx(0, abs=1e-6)
    blind = aspect_calibration(judged(400, 1, lambda s: 0.5), judged(400, 2, lambda s: 0.5), 0.9, "video", draws=100)
    assert blind.width > blind.constant_width  # and where they do not, it costs


def test_too_little_to_calibrate_is_told():
    found = aspect_calibration(judged(8, 1), judged(20, 2), 0.9, "sync")
    assert found.quantile is None and found.note == "sync: 8 clips to calibrate on, at least 9 needed for 90 %"
    study = Calibrated(checkpoint="x", weights="w", coverage=0.9, records={}, aspects=[found], failed={})
    with pytest.raises(ConfigError, match="nothing to write: sync: 8 clips"):
        study.calibration()


# ---- calibration error ----------------------------------------------------------------------------------------------


def test_calibration_error_of_known_cases():
    error, bins = calibration_error(np.array([0.85, 0.85, 0.35, 0.35]), np.array([0.6, 0.7, 0.35, 0.35]))
    assert error == pytest.approx(0.5 * 0.2)  # half of the clips are 0.2 too sure
    assert [(b.n, b.confidence, b.share) for b in bins] == [(2, 0.35, 0.35), (2, 0.85, 0.65)]
    assert calibration_error(np.array([0.0, 1.0]), np.array([0.0, 1.0]))[0] == 0


# ---- in the card and in ratings -------------------------------------------------------------------------------------


def test_interval_of_a_rating():
    c = Calibration(coverage=0.9, quantiles={"en": {"video": 2.0}}, weights="w")
    found = c.interval(distribution(3.0, 0.5), "video")
    assert (found.low, found.high, found.coverage) == (2.0, 4.0, 0.9) and str(found) == "90 %: 2.00–4.00"
    assert c.interval(distribution(4.8, 0.5), "video").high == 5.0
    assert c.interval(distribution(3.0, 0.0), "video").low == pytest.approx(3.0 - 2 * LEAST_STD)
    assert c.interval(distribution(), "audio") is None and c.interval(distribution(), "video", "zh") is None


def test_card_keeps_it_and_old_cards_still_load(tmp_path):
    card = Card(name="x", family="qwen2_5_omni")
    card.save(tmp_path)
    old = (tmp_path / "avqa.yaml").read_text().replace("calibration: null\n", "")
    (tmp_path / "avqa.yaml").write_text(old)
    assert Card.load(tmp_path).calibration is None
    card.calibration = Calibration(coverage=0.8, quantiles={"en": {"video": 1.25}}, weights="w")
    card.save(tmp_path)
    assert Card.load(tmp_path) == card and not list(tmp_path.glob("*.part"))


def test_old_ratings_still_read():
    old = distribution().model_dump()
    del old["interval"]
    assert ScoreDistribution.model_validate(old).interval is None


def synth(path, seed):
    picture = np.random.default_rng(seed).integers(0, 255, (64, 96, 3), dtype=np.uint8)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for k in range(5):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.roll(picture, k, 1), format="rgb24")))
        out.mux(stream.encode(None))


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory, tiny_dir):
    """`python -m eval calibrate ... --write-card` of a random-weight checkpoint: 4 + 2 clips and a broken one."""
    root = tmp_path_factory.mktemp("calibrate")
    shutil.copytree(tiny_dir, root / "checkpoint")
    records = []
    for i in range(7):
        if i < 6:
            synth(root / f"{i}.mp4", i)
        else:
            (root / "6.mp4").write_bytes(b"not a clip")
        labels = {a: Label(mean=1.5 + 0.5 * i, std=0.6) for a in ("overall", "video", "audio")}
        split = "val" if i < 4 else "test"
        group = "shared" if i in (0, 4) else f"g{i}"
        records.append(Record(id=f"r{i}", media=f"{i}.mp4", dataset="d", group=group, split=split, labels=labels))
    write_records(root / "records.jsonl", records)
    command = ["calibrate", str(root / "records.jsonl"), "--checkpoint", str(root / "checkpoint"), "--context", "none"]
    options = ["--coverage", "0.8", "--lang", "en", "--threads", "1", "--draws", "100", "--write-card", "--json"]
    return root, command, CliRunner().invoke(app, [*command, *options])


def test_command_calibrates_what_it_can(calibrated):
    _, command, result = calibrated
    assert result.exit_code == 1, result.output  # the broken clip
    assert "r6: not_media" in result.stderr and "1 contents are in both val and test" in result.stderr
    found = Calibrated.model_validate_json(result.stdout)
    by_name = {a.aspect: a for a in found.aspects}
    assert set(by_name) == {"overall", "video"}  # the clips have no sound, so no audio score
    assert (by_name["video"].calibrated, by_name["video"].test) == (4, 2)
    assert by_name["video"].quantile > 0 and by_name["video"].coverage.note  # too few contents for an interval
    assert "| video, en" in markdown(found)
    assert CliRunner().invoke(app, [*command, "--test", "val"]).exit_code == 2
    assert CliRunner().invoke(app, [*command, "--split", "nothing"]).exit_code == 2
    assert CliRunner().invoke(app, [*command, "--coverage", "90"]).exit_code == 2


def test_ratings_tell_the_interval_of_their_own_weights_only(calibrated, caplog):
    from mllm_avqa.rater import Rater
    from mllm_avqa.report.html import render_html
    from mllm_avqa.report.terminal import render

    root, _, result = calibrated
    study = Calibrated.model_validate_json(result.stdout)
    rater = Rater.from_pretrained(str(root / "checkpoint"), context="none", threads=1)
    try:
        rating = rater.rate(root / "0.mp4", explain=False)
        video = rating.scores["video"]
        quantile = next(a.quantile for a in study.aspects if a.aspect == "video")
        half = quantile * max(video.std, LEAST_STD)
        expected = (max(1, video.score - half), min(5, video.score + half))
        assert (video.interval.low, video.interval.high) == pytest.approx(expected, abs=1e-4)
        assert rating.windows[0].scores["video"].interval is None  # calibrated for clips, not for windows
        screen = io.StringIO()
        Console(file=screen, width=140).print(render(rating))
        assert f"{video.interval}" in screen.getvalue() and f"{video.interval}" in render_html(rating)
        assert json.loads(rating.model_dump_json())["scores"]["video"]["interval"]["coverage"] == 0.8
        rater.card.calibration = rater.card.calibration.model_copy(update={"weights": "others"})
        del rater.scorer.calibration
        assert rater.scorer.calibration is None and "other weights" in caplog.text
    finally:
        rater.close()
