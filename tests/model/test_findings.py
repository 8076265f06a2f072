"""Findings: closed sets of a side's own kinds; facts refute and bear out; times of the clip; gains and remedies."""

import math

import pytest

from mllm_avqa.model.claims import read_claims
from mllm_avqa.model.findings import calibrated, measured, read, settled
from mllm_avqa.schema.card import FindingRules
from mllm_avqa.schema.clip import MediaInfo, VideoInfo
from mllm_avqa.schema.faults import fault_kinds
from mllm_avqa.schema.levels import word
from mllm_avqa.schema.measurement import Measurement
from mllm_avqa.schema.rating import Rating, ScoreDistribution

RULES = FindingRules(kinds=("gnoise", "gblur", "freeze", "hum", "clip", "reverb", "offset_late"))


def fact(name, modality, value, severity, spans=()):
    return Measurement(name=name, modality=modality, value=value, unit="", severity=severity, spans=list(spans))


def rated(*evidence, language="en", **scores):
    given = {a: ScoreDistribution(score=s, std=0.5, level=word(s), probs={}, mass=1.0) for a, s in scores.items()}
    media = MediaInfo(path="c.mp4", container="mp4", duration=4.0, size_bytes=1)
    return Rating(path="c.mp4", scores=given, evidence=list(evidence), media=media, language=language)


def saying(*lists):
    """A model that says these, each as likely as the next, and keeps what it was asked."""
    asked = []

    def likelihoods(branches):
        asked.extend((b.aspect, b.answer) for b in branches)
        return [[0.0 if any(said.startswith(b.answer) for said in lists) else -9.0, 0.0] for b in branches]

    likelihoods.asked = asked
    return likelihoods


def test_each_side_is_asked_for_its_own_taught_kinds_alone():
    model = saying("severe noise throughout")
    found, _ = read(model, rated(video=2.0, audio=4.5, overall=3.0), RULES, (0.0, 4.0))
    assert [(f.side, f.kind, f.severity, f.span) for f in found] == [("video", "gnoise", "severe", None)]
    assert found[0].name == "noise" and found[0].remedy and found[0].origin == "model"
    assert not any("hum" in text for side, text in model.asked if side == "video")
    assert {side for side, _ in model.asked} == {"video", "audio"}  # the sides that have a score
    assert not any("banding" in text for _, text in model.asked)  # it was never taught


def test_nothing_is_found_where_the_model_says_no_fault():
    assert read(saying("no fault"), rated(video=4.0), RULES, (0.0, 4.0)) == ([], [])


def test_a_time_is_of_the_clip_not_of_the_window():
    found, _ = read(saying("strong noise from 1 to 2.5 s"), rated(video=2.0), RULES, (8.0, 12.0))
    assert found[0].span == (9.0, 10.5)


def test_chinese_lists_begin_with_the_time():
    found, _ = read(saying("全程严重交流哼声"), rated(audio=2.0, language="zh"), RULES, (0.0, 4.0))
    assert [(f.kind, f.severity, f.name) for f in found] == [("hum", "severe", "交流哼声")]


def test_what_a_fact_refutes_is_withdrawn_and_leaves_room_for_what_it_bears_out():
    clip = rated(
        fact("dropouts", "audio", 0.0, "none"), fact("clipping", "audio", 33.0, "strong", [(1.0, 2.0)]), audio=2.0
    )
    rules = RULES.model_copy(update={"kinds": ("dropout", "clip")})
    found, _ = read(saying("severe dropouts throughout", "strong clipping throughout"), clip, rules, (0.0, 4.0))
    assert [f.kind for f in found] == ["clip"]
    found, withdrawn = read(saying("severe dropouts throughout"), clip, FindingRules(kinds=("dropout",)), (0.0, 4.0))
    assert found == [] and [c.text for c in withdrawn] == ["severe dropouts"] and "dropouts" in withdrawn[0].because


@pytest.mark.parametrize(("time", "kept"), [("throughout", []), ("from 1 to 2 s", ["hum"])])
def test_an_average_refutes_what_is_said_to_be_there_throughout_and_nothing_of_a_part(time, kept):
    clip = rated(fact("hum", "audio", 0.0, "none"), audio=2.0)
    found, nothing = read(saying(f"severe hum {time}"), clip, FindingRules(kinds=("hum",)), (0.0, 4.0))
    assert [f.kind for f in found] == ["hum"] and nothing == []
    own, withdrawn = settled(found, clip)
    assert [f.kind for f in own] == kept
    assert [c.text for c in withdrawn] == ([] if kept else ["severe hum"])


def test_findings_have_their_facts_and_their_share_of_what_the_side_lost():
    clip = rated(fact("clipping", "audio", 33.0, "strong"), fact("hum", "audio", 12.0, "slight"), audio=2.0)
    lax = RULES.model_copy(update={"threshold": 0.1})
    found, _ = read(saying("strong clipping throughout", "slight hum throughout"), clip, lax, (0.0, 4.0))
    own, _ = settled(found, clip)
    assert [(f.kind, f.facts) for f in own] == [("clip", ["clipping"]), ("hum", ["hum"])]
    assert own[0].gain > own[1].gain and sum(f.gain for f in own) == pytest.approx(3.0, abs=0.02)


def test_the_time_is_the_facts_where_they_show_another():
    clip = rated(fact("freeze", "video", 3.0, "strong", [(2.0, 4.0)]), video=2.0)
    found, _ = read(saying("strong freezing from 0 to 0.5 s"), clip, RULES, (0.0, 4.0))
    assert settled(found, clip)[0][0].span == (2.0, 4.0)


def test_without_that_training_severe_facts_speak():
    clip = rated(fact("hum", "audio", 25.0, "strong"), fact("blur", "video", 1.7, "slight"), audio=2.0, video=3.0)
    found = measured(clip, RULES)
    assert [(f.kind, f.origin, f.probability) for f in found] == [("hum", "measured", None)]
    filmed = rated(fact("overexposure", "video", 60.0, "severe"), video=2.0)  # a white wall, as often as a fault
    assert measured(filmed, FindingRules(kinds=("overexp",))) == []


def test_a_still_has_no_part_in_which_an_average_could_have_missed_a_fault():
    sharp = rated(fact("blur", "video", 0.9, "none"), video=2.0)
    model = saying("severe Gaussian blur throughout", "strong noise throughout")
    rules = RULES.model_copy(update={"threshold": 0.2, "bearing": 0.0})
    assert {f.kind for f in read(model, sharp, rules, (0.0, 4.0))[0]} == {"gnoise", "gblur"}
    sharp.media.video = VideoInfo(codec="png", width=64, height=64, pixel_format="rgb24", still=True)
    found, withdrawn = read(model, sharp, rules, (0.0, 0.0))
    assert [f.kind for f in found] == ["gnoise"] and [c.text for c in withdrawn] == ["severe Gaussian blur"]


def test_a_temperature_moves_probabilities_towards_even_odds():
    import numpy as np

    raw = np.array([0.9])
    assert 0.5 < calibrated(raw, FindingRules(temperature=3))[0] < 0.9
    assert calibrated(raw, FindingRules())[0] == pytest.approx(0.9)
    assert math.isclose(calibrated(raw, FindingRules(bias=-9))[0], 0.0, abs_tol=0.01)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_kind_has_a_remedy_that_claims_nothing_else(language):
    for name, kind in fault_kinds().items():
        told = kind.remedy.of(language)
        assert told, name
        claims = read_claims(told, language)
        assert not claims.faults or all(name in f.kinds for f in claims.faults), (name, told)
        assert not claims.clean and not claims.levels, (name, told)
