import numpy as np
import pytest

from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.levels import WORDS, Scale, mean_std, soft_target, sos_std, target_kind, word


@pytest.mark.parametrize("mean", np.linspace(1, 5, 33))
@pytest.mark.parametrize("std", [0.0, 0.2, 0.5, 0.8, 1.2, 1.9])
def test_soft_target_has_the_mean_and_where_feasible_the_std(mean, std):
    q = soft_target(mean, std)
    got_mean, got_std = mean_std(q)
    assert q.sum() == pytest.approx(1.0, abs=1e-9)
    assert (q >= 0).all()
    assert got_mean == pytest.approx(mean, abs=1e-6)
    if target_kind(mean, std) == "maxent":
        assert got_std == pytest.approx(std, abs=1e-6)


def test_words_go_from_best_to_worst():
    assert soft_target(5.0, 0.0).tolist() == [1, 0, 0, 0, 0]
    assert WORDS[int(soft_target(1.0, 0.0).argmax())] == "bad"


def test_two_point_label_outside_the_feasible_range():
    # analytic: mean 3.5 with std 0 can only be half "good", half "fair"
    assert soft_target(3.5, 0.0).tolist() == pytest.approx([0, 0.5, 0.5, 0, 0])
    # analytic: the largest variance at mean 2 is (2-1)(5-2) = 3, on {1, 5}
    assert soft_target(2.0, 2.5).tolist() == pytest.approx([0.25, 0, 0, 0, 0.75])


def test_sos_is_zero_at_the_ends_and_largest_in_the_middle():
    assert sos_std(1.0) == 0.0 == sos_std(5.0)
    assert sos_std(3.0) == pytest.approx((0.2 * 4) ** 0.5)  # analytic: -9 + 18 - 5 = 4


def test_scale_converts_with_direction():
    dmos = Scale(0, 100, higher_is_better=False)
    assert dmos.to_five(0) == 5.0
    assert dmos.to_five(100) == 1.0
    assert dmos.from_five(dmos.to_five(37.0)) == pytest.approx(37.0)
    with pytest.raises(ConfigError, match="--scale"):
        Scale(5, 1)


@pytest.mark.parametrize(("score", "expected"), [(5, "excellent"), (4.5, "excellent"), (4.49, "good"), (1.2, "bad")])
def test_word_is_the_nearest_grade(score, expected):
    assert word(score) == expected


def test_a_mean_off_the_scale_is_refused():
    with pytest.raises(ConfigError, match=r"1\.\.5"):
        soft_target(63.0)
