import math

import pytest
import torch

from train.losses import fidelity, level_kl, moments


def one_hot(i):
    q = torch.zeros(1, 5)
    q[0, i] = 1
    return q


def test_kl_is_zero_for_equal_and_finite_for_zero_targets():
    log_probs = torch.log_softmax(torch.tensor([[300.0, 0, 0, 0, -300.0]]), -1)
    assert level_kl(log_probs, log_probs.exp()).item() == pytest.approx(0.0, abs=1e-6)
    value = level_kl(log_probs.requires_grad_(), one_hot(4))
    value.backward()
    assert value.item() == pytest.approx(600.0, rel=1e-3)  # analytic: -log p of the last level


def test_moments():
    mean, variance = moments(torch.log(torch.tensor([[0.5, 0, 0, 0, 0.5]]).clamp_min(1e-30)))
    assert mean.item() == pytest.approx(3.0)  # analytic
    assert variance.item() == pytest.approx(4.0)


def pair(scores, means, groups=(0, 0)):
    s = torch.tensor(scores, requires_grad=True)
    loss = fidelity(s, torch.full((2,), 0.25), torch.tensor(means), torch.full((2,), 0.5), torch.tensor(groups))
    return s, loss


def test_fidelity_pulls_a_swapped_pair_apart_in_the_right_direction():
    s, loss = pair([3.0, 3.2], [4.0, 2.0])
    loss.backward()
    assert s.grad[0] < 0 < s.grad[1]  # the first must rise, the second fall


def test_fidelity_is_symmetric_and_ordered():
    right = pair([4.0, 2.0], [4.0, 2.0])[1].item()
    wrong = pair([2.0, 4.0], [4.0, 2.0])[1].item()
    swapped = pair([2.0, 4.0], [2.0, 4.0])[1].item()
    assert right < 0.01 < wrong
    assert right == pytest.approx(swapped, abs=1e-6)
    assert wrong <= 1.0


def test_fidelity_compares_only_within_a_group():
    s, loss = pair([2.0, 4.0], [4.0, 2.0], groups=(0, 1))
    assert loss.item() == 0.0
    loss.backward()
    assert s.grad.abs().sum() == 0


def test_fidelity_is_finite_at_certainty():
    s, loss = pair([1.0, 5.0], [5.0, 1.0])
    loss.backward()
    assert math.isfinite(loss.item())
    assert torch.isfinite(s.grad).all()
