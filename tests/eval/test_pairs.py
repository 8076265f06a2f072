"""HeldOutPairs of held-out clips: scales follow the noise, ways are measured on clips that settled nothing."""

from __future__ import annotations

import numpy as np
import pytest

from eval.studies.pairs import HeldOutPairs, PairStudy, _measured, _scales, markdown, write
from mllm_avqa.schema.card import Card
from mllm_avqa.schema.comparison import PairRules
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.levels import WORDS, soft_target
from mllm_avqa.schema.rating import ScoreDistribution
from mllm_avqa.schema.records import Label, Record


def scored(noise: float, n: int = 60, seed: int = 0):
    rng = np.random.default_rng(seed)
    out = {}
    for k in range(n):
        label = float(rng.uniform(1.3, 4.7))
        score = float(np.clip(label + rng.normal(0, noise), 1, 5))
        probs = dict(zip(WORDS, map(float, soft_target(score, 0.5)), strict=True))
        d = ScoreDistribution(score=score, std=0.5, level="fair", probs=probs, mass=1.0)
        record = Record(id=str(k), media="x.mp4", dataset="d", group=f"g{k // 4}", labels={"video": Label(mean=label)})
        out[record.id] = (record, {"video": d})
    return out


def test_scales_follow_the_noise_of_the_scores() -> None:
    near, far = (_scales(scored(n), "video") for n in (0.1, 0.6))
    assert set(near) == {"same", "other"}
    # analytic: the difference of two scores is off by noise * sqrt(2); ties of chance leave it about there
    assert near["other"] == pytest.approx(0.14, abs=0.08)
    assert far["other"] == pytest.approx(0.85, abs=0.3)
    assert _scales(scored(0.1, n=4), "video") == {}


def test_ways_are_measured_on_other_clips() -> None:
    rules = PairRules(scales={"video": _scales(scored(0.5), "video")}, weights="w")
    results = list(_measured(scored(0.5, seed=1), "video", rules, {}))
    assert {(r.content, r.way) for r in results} == {(c, w) for c in ("same", "other") for w in ("levels", "pairs")}
    by = {(r.content, r.way): r for r in results}
    pairs, blunt = by["other", "pairs"], by["other", "levels"]
    assert pairs.right.value == pytest.approx(blunt.right.value, abs=0.02)  # equal spreads order alike
    assert 0.7 < pairs.right.value < 0.95
    assert pairs.apart is not None
    assert pairs.apart > pairs.right.value
    assert pairs.brier < blunt.brier  # a scale that was settled says better how sure it is
    answers = {(a, b, "video"): 1.0 for a in map(str, range(60)) for b in map(str, range(60))}
    asked = [r for r in _measured(scored(0.5, seed=1), "video", rules, answers) if r.way == "question"]
    assert asked[0].right.value == pytest.approx(0.5, abs=0.1)  # the first place is no better


def test_the_card_keeps_the_rules(tmp_path) -> None:
    rules = PairRules(scales={"video": {"other": 0.3}}, weights="w", measured={"records": "r.jsonl"})
    Card(name="x", family="qwen2_5_omni").save(tmp_path)
    (tmp_path / "MODEL_CARD.md").write_text("# x\n\n## Sources and licences\n\nnone\n")
    results = list(_measured(scored(0.5), "video", rules, {}))
    found = PairStudy(checkpoint="x", rules=rules, results=results)
    for _ in range(2):
        write(str(tmp_path), found)
    assert Card.load(tmp_path).pairs == rules
    assert (tmp_path / "MODEL_CARD.md").read_text().count("## Pairs") == 1
    assert "labels 0.6 apart" in markdown(found)
    assert "By: scores (the model was not taught to compare)." in markdown(found)
    answers = {(a, b, "video"): 0.5 for a in map(str, range(60)) for b in map(str, range(60))}
    found.results += _measured(scored(0.5), "video", rules, answers)
    assert "By: scores (better on these pairs)." in markdown(found)
    with pytest.raises(ConfigError, match="cannot test as well"):
        HeldOutPairs(records=tmp_path / "r.jsonl", split="a", test="a").run()
