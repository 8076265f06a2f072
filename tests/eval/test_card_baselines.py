"""Regressions beside a card's own rows: on facts, on what towers hand over, by content."""

import numpy as np
import pytest

from eval.baselines import ON_FACTS, ON_TOWERS, CardBaselines
from mllm_avqa.schema.measurement import Measurement
from mllm_avqa.schema.records import Label, Record

CLIPS = 48


def records():
    rng = np.random.default_rng(0)
    out = []
    for n in range(CLIPS):
        labels = {a: Label(mean=float(rng.uniform(1, 5)), pseudo=True) for a in ("video", "audio", "sync")}
        out.append(Record(id=f"r{n}", media="m", dataset="d", group=f"g{n // 4}", split="test", labels=labels))
    return out


def fact(name, modality, value):
    return Measurement(name=name, modality=modality, value=value, unit="px", severity="none")


def told(rows):
    """A fact that knows the picture, a tower that knows the sound."""
    made, rng = CardBaselines(), np.random.default_rng(1)
    for r in rows:
        made.facts[r.id] = [
            fact("blur", "video", r.labels["video"].mean),
            fact("snr", "audio", float(rng.normal())),
        ]
        made.tokens[r.id] = {
            "vision": rng.normal(size=8).astype(np.float32),
            "audio": np.concatenate([[r.labels["audio"].mean], rng.normal(size=7)]).astype(np.float32),
        }
    return made


def test_each_regression_finds_what_its_own_input_knows():
    rows = records()
    found = told(rows).report(rows, draws=100)
    assert found[ON_FACTS]["video"].srcc.value > 0.9 > 0.5 > abs(found[ON_FACTS]["audio"].srcc.value)
    assert found[ON_TOWERS]["audio"].srcc.value > 0.9 > 0.5 > abs(found[ON_TOWERS]["video"].srcc.value)
    assert (found[ON_FACTS]["video"].n, found[ON_FACTS]["video"].m) == (CLIPS, CLIPS)
    assert "sync" not in found[ON_TOWERS]  # no tower tells of the timing


def test_it_saw_no_clip_of_the_content_that_it_judges():
    """One content, whose label its own fact would give away: nobody else has that fact."""
    rows = records()
    made = told(rows)
    for r in rows:
        made.facts[r.id] = [fact(f"only-{r.group}", "video", r.labels["video"].mean)]
    assert made.report(rows, draws=100)[ON_FACTS]["video"].srcc.value < 0.5


@pytest.mark.parametrize("kept", [1, 19])
def test_of_too_few_clips_nothing_is_told(kept):
    rows = records()[:kept]
    assert told(rows).report(rows, draws=100) == {ON_FACTS: {}, ON_TOWERS: {}}
