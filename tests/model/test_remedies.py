"""Fixes are worth what the model says of the facts without their faults."""

import numpy as np
import pytest

from mllm_avqa.model.findings import Asked
from mllm_avqa.model.remedies import TOP, UNASKED, fixes, mended, regained, remedies, taken
from mllm_avqa.schema.card import FindingRules
from mllm_avqa.schema.clip import MediaInfo
from mllm_avqa.schema.faults import fault_kinds
from mllm_avqa.schema.levels import word
from mllm_avqa.schema.measurement import SEVERITIES, Measurement
from mllm_avqa.schema.rating import Finding, Rating, ScoreDistribution

HUM = Measurement(name="hum", modality="audio", value=25.0, unit="dB", severity="strong", spans=[(0.0, 1.0)])
QUIET = Measurement(name="loudness", modality="audio", value=-45.0, unit="LUFS", severity="moderate")
BLUR = Measurement(name="blur", modality="video", value=2.5, unit="px at 540p", severity="moderate")
GREY = Measurement(name="colourfulness", modality="video", value=5.0, unit="index", severity="strong")


def score(value):
    return ScoreDistribution(score=value, std=0.5, level=word(value), probs={}, mass=1.0)


def finding(kind, severity="strong", **more):
    entry = fault_kinds()[kind]
    return Finding(side=entry.side, kind=kind, name=entry.en, severity=severity, remedy=entry.remedy.en, **more)


def rated(*found, evidence=(HUM, QUIET, BLUR, GREY), language="en"):
    return Rating(
        path="c.mp4", scores={"overall": score(2.5), "video": score(3.0), "audio": score(2.0)}, findings=list(found),
        evidence=list(evidence), media=MediaInfo(path="c.mp4", container="mp4", size_bytes=1, duration=4.0),
        language=language,
    )  # fmt: skip


def judge(weights):
    """A model that gives points for every fact that is in order, by name."""

    def otherwise(changes):
        out = []
        for c in changes:
            gain = sum(weights.get(m.name, 0.0) for m in c.facts if m.severity == "none")
            out.append({a: score((2.5 if a == "overall" else 2.0) + gain) for a in c.aspects})
        return out

    return otherwise


SCORES = {"overall": score(2.5), "video": score(2.0), "audio": score(2.0)}


def test_findings_and_bad_facts_suggest_fixes_and_what_was_filmed_does_not():
    found = {f.side + "/" + "+".join(f.kinds): f.facts for f in fixes(rated(finding("hum", facts=["hum"], gain=2.0)))}
    assert found["audio/hum"] == {"hum"} and found["audio/quiet"] == {"loudness"}
    assert not any("colourfulness" in facts for facts in found.values())


def test_the_fix_that_gains_most_comes_first():
    rating = rated(finding("hum", facts=["hum"], gain=2.0))
    told = remedies(rating, rating.evidence, SCORES, judge({"loudness": 2.5, "hum": 0.4}))
    assert [r.kinds for r in told[:2]] == [["quiet"], ["hum"]]
    assert told[0].text == "raise the level of the sound" and told[0].rests_on == "facts"
    assert told[0].facts == ["loudness"] and told[1].facts == ["hum"]
    alone = UNASKED * regained(2.0, taken("quiet", SEVERITIES.index("moderate"), rating.evidence))
    assert told[0].side_gain == pytest.approx((alone + 2.5) / 2, abs=0.01)
    assert told[0].gain == pytest.approx((0.12 + 0.10 * 2.0) * (alone + 2.5) / 2, abs=0.01)


def test_without_a_fault_a_side_keeps_the_rest():
    """Analytic: faults of one side multiply in quality, and nothing scores above a clean clip."""
    assert regained(2.0, 0.5) == pytest.approx(1.0) and regained(4.0, 0.9) == pytest.approx(TOP - 4.0)
    assert regained(4.8, 0.5) == 0.0
    assert taken("hum", 5, [HUM]) > taken("hum", 5, []) > taken("hum", 1, [])


def test_a_fault_that_no_fact_sees_rests_on_the_model():
    rating = rated(finding("echo", gain=3.0), evidence=())
    (told,) = remedies(rating, [], SCORES, judge({}))
    assert told.rests_on == "model" and told.facts == [] and told.gain > 0


def test_what_the_model_holds_possible_is_advised_and_what_facts_refute_is_not():
    kinds = ["hum", "clip", "quiet"]
    logs = np.log(np.tile([0.02, 0.02, 0.02, 0.04, 0.2], (3, 1)))
    asked = Asked("audio", kinds, logs, 0.1)
    clean = HUM.model_copy(update={"value": 0.0, "severity": "none", "spans": []})
    told = fixes(rated(evidence=(clean,)), [asked], FindingRules())
    assert {k for f in told for k in f.kinds} == {"clip", "quiet"}
    gains = remedies(rated(evidence=()), [], SCORES, lambda changes: None, [asked], FindingRules())
    assert {k for r in gains for k in r.kinds} == set(kinds)


def test_what_gains_nothing_is_not_advised_but_every_finding_is():
    assert remedies(rated(evidence=()), [], SCORES, lambda changes: None) == []
    rating = rated(finding("hum", "faint", facts=["hum"], probability=0.4))
    assert [r.kinds for r in remedies(rating, [], SCORES, judge({}))][-1:] == [["hum"]]


def test_kinds_with_one_remedy_are_one_fix():
    assert fault_kinds()["white"].remedy.en == fault_kinds()["pink"].remedy.en
    (fix,) = fixes(rated(finding("white", gain=1.0), finding("pink", gain=0.5), evidence=()))
    assert fix.kinds == ["white", "pink"] and fix.held


def test_mended_facts_are_those_of_a_clean_clip():
    told = mended([HUM, QUIET, BLUR], {"hum", "loudness"})
    assert [m.severity for m in told] == ["none", "none", "moderate"]
    assert told[1].value == pytest.approx(-22.5) and told[0].spans == []  # analytic: amid -13 and -32 LUFS


def test_remedies_are_in_the_language_of_the_rating():
    rating = rated(evidence=(QUIET,), language="zh")
    (told,) = remedies(rating, rating.evidence, SCORES, judge({"loudness": 1.0}))
    assert told.text == fault_kinds()["quiet"].remedy.zh
