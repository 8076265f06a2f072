"""MOS, bias correction and screening. Expected numbers: analytic, or published where said."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest

from data_recipes.votes import VotesError, bias_corrected, estimate, read_votes, screen, summary, to_labels
from data_recipes.votes.table import Votes, assemble
from mllm_avqa.schema.levels import Scale

SHARED = Path(__file__).parents[4] / "shared" / "fixtures" / "per_subject"
FIVE = Scale(1.0, 5.0)


def votes_of(matrix: list[list[float]] | np.ndarray, scale: Scale = FIVE) -> Votes:
    """Rows are clips, columns subjects, NaN is missing."""
    m = np.asarray(matrix, dtype=float)
    rows, columns = np.indices(m.shape)
    names = ([f"c{i}" for i in range(m.shape[0])], [f"s{i}" for i in range(m.shape[1])])
    return assemble(*names, rows.ravel(), columns.ravel(), m.ravel(), scale)


def test_mean_spread_and_interval() -> None:
    """Analytic: votes 2 3 4 have mean 3, s = 1, t(.975, 2) = 4.302653, CI95 = 4.302653 / sqrt(3) = 2.484138."""
    found = summary(votes_of([[2, 3, 4], [5, 5, np.nan], [np.nan, 1, np.nan]]))
    assert found.score.tolist() == [3.0, 5.0, 1.0]
    assert found.std[:2].tolist() == [1.0, 0.0] and np.isnan(found.std[2])
    assert found.ci95[0] == pytest.approx(2.484138, abs=1e-6) and np.isnan(found.ci95[2])


def test_one_subject_has_no_mean_opinion() -> None:
    for model in ("mos", "p910", "bt500"):
        with pytest.raises(VotesError, match=r"one subject \('s0'\).*--subject"):
            estimate(votes_of([[3], [4]]), model)


def test_additive_biases_are_recovered_and_leave_the_scores() -> None:
    """Analytic: noise-free votes quality + bias with biases of mean zero come apart exactly."""
    quality, bias = np.array([10.0, 35.0, 50.0, 80.0]), np.array([-6.0, -1.0, 2.0, 5.0])
    found = bias_corrected(votes_of(quality[:, None] + bias, Scale(0.0, 100.0)))
    assert found.score == pytest.approx(quality, abs=1e-9)
    assert found.bias == pytest.approx(bias, abs=1e-9)
    assert found.inconsistency == pytest.approx(np.zeros(4), abs=1e-6)


def test_bias_correction_repairs_who_voted_for_what() -> None:
    """Analytic: the harsh subject saw only clips 0-2, so plain means put clip 3 too high; corrected ones do not."""
    quality, bias = np.array([3.0, 3.0, 3.0, 3.0]), np.array([-1.0, 0.5, 0.5])
    matrix = quality[:, None] + bias
    matrix[3, 0] = np.nan
    found = bias_corrected(votes_of(matrix))
    assert summary(votes_of(matrix)).score[3] == 3.5
    assert np.ptp(found.score) == pytest.approx(0.0, abs=1e-6)


def test_careless_subject_weighs_less() -> None:
    rng = np.random.default_rng(0)
    quality = rng.uniform(20, 80, 60)
    matrix = quality[:, None] + rng.normal(0, 5, (60, 8))
    matrix[:, 0] = rng.uniform(0, 100, 60)
    votes = votes_of(np.clip(matrix, 0, 100), Scale(0, 100))
    found = bias_corrected(votes)
    assert int(np.argmax(found.inconsistency)) == 0
    error = [np.sqrt(np.mean((e.score - quality) ** 2)) for e in (found, summary(votes))]
    assert error[0] < 0.7 * error[1]


def test_sparse_votes_neither_explode_nor_are_trusted_endlessly(caplog: pytest.LogCaptureFixture) -> None:
    """With two subjects the likelihood has no maximum; both must still count. One vote must not decide a clip."""
    rng = np.random.default_rng(1)
    pair = bias_corrected(votes_of(rng.integers(1, 6, (30, 2))))
    assert np.isfinite(pair.score).all()
    matrix = np.clip(np.round(rng.uniform(1.5, 4.5, 40)[:, None] + rng.normal(0, 0.8, (40, 10))), 1, 5)
    matrix = np.hstack([matrix, np.full((40, 1), np.nan)])
    matrix[0, -1] = 5.0  # somebody who voted once
    with_guest, without = bias_corrected(votes_of(matrix)), bias_corrected(votes_of(matrix[:, :-1]))
    assert abs(with_guest.score[0] - without.score[0]) < 0.5
    assert with_guest.score[1:] == pytest.approx(without.score[1:], abs=0.05)


def test_parts_without_a_link_are_refused() -> None:
    nan = np.nan
    with pytest.raises(VotesError, match=r"2 parts .*'c0' and 'c1'.*--model mos"):
        bias_corrected(votes_of([[1, 2, nan, nan], [nan, nan, 3, 4]]))


def test_screening_counts_far_votes_on_both_sides() -> None:
    """Analytic: 20 subjects vote 50 +- 1, one votes 100 or 0 in turn: far above 5 times, far below 5 times."""
    matrix = np.tile([49.0, 50.0, 51.0, 50.0], (10, 5))
    matrix = np.hstack([matrix, np.where(np.arange(10) % 2, 0.0, 100.0)[:, None]])
    found = screen(votes_of(matrix, Scale(0, 100)))
    # kurtosis of one far vote among 21 is about 19: the limit is sqrt(20) s, and (n - 1) / sqrt(n) = 4.36 < 4.47
    assert not found.rejected.any()
    more = np.hstack([matrix[:, :20], matrix[:, :20], matrix[:, 20:]])  # 40 others: 40 / sqrt(41) = 6.2 > 4.47
    found = screen(votes_of(more, Scale(0, 100)))
    assert (found.above[-1], found.below[-1]) == (5, 5)
    assert found.rejected.tolist() == [False] * 40 + [True]
    one_sided = more.copy()
    one_sided[:, -1] = 100.0
    assert not screen(votes_of(one_sided, Scale(0, 100))).rejected.any()  # a bias is no carelessness


def test_equal_votes_reject_nobody() -> None:
    assert not screen(votes_of(np.full((5, 4), 3.0))).rejected.any()


def test_labels_carry_counts_only_with_means() -> None:
    votes = votes_of([[1, 2, 2], [5, 5, 4]])
    plain = to_labels(estimate(votes, "mos"))["c0"]
    assert plain.votes == [1, 2, 0, 0, 0]
    assert (plain.mean, plain.scale) == (pytest.approx(5 / 3), (1.0, 5.0))
    assert to_labels(estimate(votes, "p910"))["c0"].votes is None
    lower = to_labels(estimate(votes_of([[10, 20], [30, 45]], Scale(0, 100, higher_is_better=False)), "mos"))["c1"]
    assert (lower.mean, lower.votes, lower.higher_is_better) == (37.5, None, False)


def test_label_stays_inside_the_scale(caplog: pytest.LogCaptureFixture) -> None:
    nan = np.nan
    matrix = [[5, nan, nan, 5], [4, 5, 5, 4], [2, 3, 3, 2], [3, 4, 4, 3], [1, 3, 2, 1]]  # only the harsh ones saw c0
    found = estimate(votes_of(matrix), "p910")
    assert found.score[0] > 5.0
    with caplog.at_level(logging.WARNING):
        assert to_labels(found)["c0"].mean == 5.0
    assert "1 corrected scores lie outside 1..5" in caplog.text


needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="shared fixtures are not here")


@needs_shared
@pytest.mark.parametrize("demo", ["itut_p910", "itut_p913", "itur_bt500"])
def test_published_reference_of_the_subject_model(demo: str) -> None:
    """Published: printed results of the reference code of P.910, P.913 and BT.500 (the same algorithm in all three)."""
    expected = json.loads((SHARED / f"{demo}_demo_expected1.json").read_text())
    found = bias_corrected(read_votes(SHARED / f"{demo}_demo_sample_data.csv"))
    for key, value in (
        ("mos_j", found.score),
        ("sos_j", found.error),
        ("bias_i", found.bias),
        ("inconsistency_i", found.inconsistency),
    ):
        assert value == pytest.approx(expected[key], abs=1e-6), key


@needs_shared
def test_published_result_of_screening() -> None:
    """Published: tests of the SUREAL toolbox, 26 subjects of which five are shuffled; it takes s with n, not n - 1.

    The demonstration's matrix is that data set with one vote (clip 69, subject 8) taken out; it was a 5.
    """
    votes = read_votes(SHARED / "itut_p910_demo_sample_data.csv")
    whole = Votes(
        votes.clips,
        votes.subjects,
        np.append(votes.clip, 68),
        np.append(votes.subject, 7),
        np.append(votes.score, 5.0),
        votes.scale,
    )
    kept = summary(whole.without(screen(whole, ddof=0).rejected))
    assert kept.score.mean() == pytest.approx(3.5611814345991566, abs=1e-9)
    assert kept.score.var() == pytest.approx(1.1049505732699529, abs=1e-9)


@needs_shared
@pytest.mark.parametrize(
    ("name", "shape", "low", "high"),
    [
        ("NFLX_dataset_public_raw", (79, 26, 2054), 1, 5),
        ("NFLX_dataset_public_raw_last4outliers", (79, 30, 2370), 1, 5),
        ("VQEGHD3_dataset_raw", (72, 24, 1728), 1, 5),
        ("agh_tv_2017", (320, 99, 17820), 1, 5),
        ("vqeg_frtv_p1_525_line_high", (90, 70, 6300), -100, 100),
        ("vqeg_frtv_p1_525_line_low", (90, 70, 6300), -100, 100),
        ("vqeg_frtv_p1_625_line_high", (90, 67, 6024), -100, 100),
        ("vqeg_frtv_p1_625_line_low", (78, 70, 5459), -100, 100),
        ("itur_bt500_demo_small_sample_data", (30, 20, 1196), 1, 5),
    ],
)
def test_published_files_read(
    name: str, shape: tuple[int, int, int], low: float, high: float, caplog: pytest.LogCaptureFixture
) -> None:
    votes = read_votes(SHARED / f"{name}.csv", Scale(low, high))
    assert (len(votes.clips), len(votes.subjects), len(votes.score)) == shape
    with caplog.at_level(logging.WARNING):
        assert bias_corrected(votes).bias.sum() == pytest.approx(0.0, abs=1e-9)
    assert not caplog.records  # the guards for sparse votes stay out of laboratory tests


@needs_shared
def test_live_hfr_is_a_matrix_with_minus_one_for_missing() -> None:
    votes = read_votes(SHARED.parent / "live_hfr" / "subject_raw.csv", Scale(0, 100))
    assert (len(votes.clips), len(votes.subjects)) == (480, 85)
    assert votes.score.min() >= 0.0
