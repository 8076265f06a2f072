"""Findings are calibrated where faults are known: the rules that come out are worth their card."""

import numpy as np

from eval.finding_rules import Listed, fitted, numbers
from mllm_avqa.model.findings import Asked


def sides(n=200, seed=0):
    """Sides of which half have hum; the model is right in nine of ten cases and sure of it in all."""
    rng = np.random.default_rng(seed)
    out = []
    for k in range(n):
        there = k % 2 == 0
        says = there if rng.random() < 0.9 else not there
        log_probs = np.full((2, 5), -9.0)
        log_probs[0, 3] = 0.0
        asked = Asked("audio", ["hum", "clip"], log_probs, 0.001 if says else 0.999)
        out.append(Listed(asked, np.zeros(2), np.ones(2, bool), frozenset({"hum"} if there else ())))
    return out


def test_what_is_too_sure_is_tempered_and_the_threshold_lies_between():
    rules = fitted(sides())
    assert rules.temperature > 1 and 0.1 < rules.threshold < 0.9 and rules.kinds == ("clip", "hum")
    told = numbers(sides(seed=1), rules)
    assert told["ece"] < 0.05 and told["top1"] == 1.0
    assert 0.8 < told["precision"] <= 1 and 0.8 < told["recall"] <= 1


def test_what_facts_measure_counts_where_it_helps():
    rng = np.random.default_rng(0)
    out = []
    for _ in range(80):
        right = int(rng.integers(2))
        bearing = np.zeros(2)
        bearing[right] = 4
        asked = Asked("audio", ["hum", "clip"], np.zeros((2, 5)), 0.01)
        out.append(Listed(asked, bearing, np.ones(2, bool), frozenset({asked.kinds[right]})))
    assert fitted(out).bearing > 0 and numbers(out, fitted(out))["top1"] == 1.0
