"""Claims of an explanation against evidence and scores."""

import pytest

from mllm_avqa.evidence.catalogue import ALL_FACTS, CAPTION_FACTS, FACTS, WHOLE_FACTS
from mllm_avqa.model.verdicts import check_claims, speaks, unseen
from mllm_avqa.schema.clip import MediaInfo
from mllm_avqa.schema.faults import fault_kinds
from mllm_avqa.schema.levels import word
from mllm_avqa.schema.measurement import Measurement
from mllm_avqa.schema.names import LANGUAGES
from mllm_avqa.schema.rating import Rating, ScoreDistribution
from mllm_avqa.schema.words import load_prompts


def score(value):
    return ScoreDistribution(score=value, std=0.5, level=word(value), probs={}, mass=1.0)


@pytest.fixture
def rating():
    return Rating(
        path="clip.mp4",
        scores={"overall": score(2.1), "video": score(1.6), "audio": score(4.4), "sync": None, "text": None},
        missing={"text": "no captions"},
        evidence=[
            Measurement(name="blur", modality="video", value=3.4, unit="px", severity="strong"),
            Measurement(name="freeze", modality="video", value=0.5, unit="s", severity="moderate", spans=[(1.0, 2.0)]),
            Measurement(name="hum", modality="audio", value=0.1, unit="dB", severity="none"),
            Measurement(name="noise", modality="video", value=0.1, unit="dB", severity="faint"),
            Measurement(name="black", modality="video", value=0.0, unit="s", severity="none"),
            Measurement(name="av_start_offset", modality="sync", value=0.0, unit="ms", severity="none"),
            Measurement(name="balance", modality="audio", value=9.0, unit="dB", severity="severe"),
        ],
        media=MediaInfo(path="clip.mp4", container="mp4", size_bytes=1, duration=4.0),
    )


@pytest.mark.parametrize(
    ("text", "language", "support"),
    [
        ("The picture has strong Gaussian blur throughout.", "en", "supported"),
        ("The sound has slight hum.", "en", "unverified"),  # too small for a measure to rule it out
        ("The sound has severe hum from 1 to 2 s.", "en", "unverified"),  # the measure averages over the clip
        ("The picture has severe black frames from 1 to 2 s.", "en", "contradicted"),  # this one looks at every frame
        ("The picture has strong Gaussian blur and severe black frames.", "en", "contradicted"),
        ("The picture has severe black frames from 1 to 2 s and severe noise.", "en", "contradicted"),
        ("The timing has severe late sound.", "en", "unverified"),  # stream times agree; what is heard may not
        ("The picture is oversaturated.", "en", "unverified"),
        ("The picture suffers from moderate freezing from 1 to 2 s.", "en", "supported"),
        ("The picture suffers from moderate freezing from 3 to 4 s.", "en", "contradicted"),
        ("The sound has severe hum.", "en", "contradicted"),
        ("There is no hum in the sound.", "en", "supported"),
        ("There is no Gaussian blur in the picture.", "en", "contradicted"),
        ("The picture has slight noise.", "en", "unverified"),  # faint: neither clearly there nor clearly absent
        ("The sound has strong Gaussian blur.", "en", "contradicted"),  # right fault, wrong side
        ("The picture has faint Gaussian blur.", "en", "contradicted"),  # measured as strong
        ("The video quality is poor.", "en", "supported"),
        ("The video quality is excellent.", "en", "contradicted"),
        ("Scores: picture poor, sound good, overall poor.", "en", "supported"),
        ("Scores: picture bad, sound good, overall poor.", "en", "contradicted"),  # the level beside 1.6 is poor
        ("Scores: picture poor, sound bad.", "en", "contradicted"),
        ("The captions are good.", "en", "contradicted"),
        ("The sound has no fault.", "en", "supported"),
        ("Nothing is wrong with the picture.", "en", "contradicted"),
        ("It was filmed on a boat.", "en", "unverified"),
        ("整体质量是 poor。", "zh", "supported"),
        ("画面质量是 excellent。", "zh", "contradicted"),
    ],
)
def test_claims_are_checked_against_evidence_and_scores(rating, text, language, support):
    claim = check_claims(text, rating, language)[0]
    assert claim.support == support
    assert claim.because or support == "unverified"


def test_a_claim_about_a_side_that_is_not_there_is_contradicted(rating):
    rating.scores["audio"] = None
    rating.missing["audio"] = "the file has no audio stream"
    claim = check_claims("The sound has no fault.", rating)[0]
    assert claim.support == "contradicted"
    assert "no audio stream" in claim.because


# ---- what the reading and the checks have to tell apart -------------------------------------------------------------


def fact(name, value, severity, spans=()):
    return Measurement(
        name=name, modality=ALL_FACTS[name].modality, value=value, unit=ALL_FACTS[name].unit, severity=severity,
        spans=list(spans),
    )  # fmt: skip


def clip(*facts, missing=None, language="en", **scores):
    return Rating(
        path="c.mp4", scores={a: score(v) for a, v in scores.items()}, missing=missing or {}, evidence=list(facts),
        media=MediaInfo(path="c.mp4", container="mp4", size_bytes=1, duration=8.0), language=language,
    )  # fmt: skip


def supports(text, rating):
    return [c.support for c in check_claims(text, rating, rating.language)]


@pytest.mark.parametrize(
    ("text", "language", "support"),
    [
        ("The sound is not good.", "en", "supported"),
        ("The sound isn't good.", "en", "supported"),
        ("The sound is far from excellent, and it is bad.", "en", "supported"),
        ("The sound is not bad.", "en", "contradicted"),
        ("The sound is not only bad.", "en", "supported"),
        ("The sound has a certain goodness.", "en", "unverified"),
        ("The sound of the goods train is there.", "en", "unverified"),
        ("声音不是 good。", "zh", "supported"),
        ("声音并非 bad。", "zh", "contradicted"),
        ("声音不错，为 good。", "zh", "contradicted"),
    ],
)
def test_level_words_heed_negation_and_word_borders(text, language, support):
    assert supports(text, clip(audio=1.2, language=language)) == [support]


def test_the_level_word_is_the_one_printed_beside_the_score():
    assert supports("The sound is poor. The sound is fair.", clip(audio=2.4)) == ["supported", "contradicted"]


@pytest.mark.parametrize(
    ("text", "language", "support"),
    [
        ("The sound has excessive loudness.", "en", "supported"),
        ("The sound is too loud.", "en", "supported"),
        ("The sound has low loudness.", "en", "contradicted"),
        ("The sound is too quiet.", "en", "contradicted"),
        ("声音有音量过大的问题。", "zh", "supported"),
        ("声音有音量过小的问题。", "zh", "contradicted"),
    ],
)
def test_too_loud_is_not_too_quiet(text, language, support):
    assert supports(text, clip(fact("loudness", -4.0, "strong"), language=language)) == [support]


def test_early_is_not_late():
    rating = clip(fact("av_content_offset", 500.0, "strong"))
    assert supports("The timing has late sound. The timing has early sound.", rating) == ["supported", "contradicted"]
    quiet = clip(fact("clipping", 0.0, "none"), fact("loudness", -43.0, "moderate"))
    assert "loudness" in check_claims("The sound has excessive loudness.", quiet)[0].because
    assert "other direction" in check_claims("The timing has early sound.", rating)[0].because


@pytest.mark.parametrize(
    ("text", "language"), [("The timing has mistimed captions.", "en"), ("同步有字幕错位。", "zh")]
)
def test_a_text_fault_is_no_fault_of_the_timing(text, language):
    rating = clip(fact("caption_offset", 3.0, "moderate"), language=language)
    assert supports(text, rating) == ["contradicted"]
    assert supports({"en": "The captions are out of sync.", "zh": "字幕错位。"}[language], rating) == ["supported"]


def test_the_kinds_own_measure_comes_before_its_neighbours():
    own, other = fact("impulse_noise", 0.0, "none"), fact("noise", 20.0, "severe")
    text = "The picture has severe salt and pepper noise."
    assert supports(text, clip(own, other)) == ["contradicted"]
    assert "impulse noise" in check_claims(text, clip(own, other))[0].because
    assert supports(text, clip(other)) == ["supported"]  # nothing of its own was measured


@pytest.mark.parametrize(
    ("text", "support"),
    [
        ("A human speaks; the sound is steady.", "unverified"),  # no hum
        ("The sound is free of hum.", "contradicted"),
        ("There isn't any hum in the sound.", "contradicted"),
        ("The sound has not only hum.", "supported"),
        ("The picture is fine and the sound has strong hum.", "supported"),
    ],
)
def test_faults_heed_negation_and_word_borders(text, support):
    assert supports(text, clip(fact("hum", 25.0, "strong"))) == [support]


def test_one_fault_of_one_side_has_one_verdict():
    rating = clip(fact("freeze", 1.5, "moderate", [(1.0, 2.0)]))
    text = "The picture has moderate freezing from 5 to 6 s. The main problem is freezing. The captions are missing."
    first, second, _ = check_claims(text, rating)
    assert first.support == second.support == "contradicted"
    assert first.because == second.because
    partial = clip(fact("hum", 1.0, "none"))  # an average cannot refute a part, wherever the text comes back to it
    assert supports("Severe hum from 1 to 2 s in the sound. The main problem is hum.", partial) == ["unverified"] * 2


def test_a_side_that_is_gone_may_be_said_to_be_gone():
    gone = clip(missing={"audio": "the file has no audio stream"})
    assert supports("There is no sound. The sound has hum.", gone) == ["supported", "contradicted"]


def test_a_hint_bears_out_and_never_refutes():
    assert supports("The picture has severe HEVC compression.", clip(fact("blur", 1.7, "slight"))) == ["unverified"]
    assert supports("The picture has severe HEVC compression.", clip(fact("blur", 4.0, "severe"))) == ["supported"]


@pytest.mark.parametrize(
    ("span", "support", "because"),
    [("5 to 6", "supported", "blockiness"), ("0 to 1", "supported", "freeze"), ("2.5 to 3", "unverified", "")],
)
def test_every_fact_that_sees_a_fault_can_place_it(span, support, because):
    rating = clip(fact("freeze", 0.9, "strong", [(0.0, 1.0)]), fact("blockiness", 2.0, "moderate", [(5.0, 6.0)]))
    (claim,) = check_claims(f"The picture has strong packet loss from {span} s.", rating)
    assert claim.support == support
    assert because in claim.because


def test_what_its_measures_miss_too_often_is_borne_out_by_them_and_not_refuted():
    said, denied = "The sound has a severe telephone effect.", "The sound has no telephone effect."
    assert supports(f"{said} {denied}", clip(fact("bandwidth", 24000.0, "none"))) == ["unverified"] * 2
    assert supports(said, clip(fact("bandwidth", 3000.0, "strong"))) == ["supported"]
    assert supports(denied, clip(fact("bandwidth", 3000.0, "strong"))) == ["contradicted"]


@pytest.mark.parametrize(("severity", "told"), [("moderate", False), ("strong", True)])
def test_drums_click_and_only_more_than_they_do_speaks_of_a_fault(severity, told):
    assert speaks(fact("clicks", 7.0, severity), []) is told
    assert speaks(fact("contrast", 10.0, severity), []) is False
    assert speaks(fact("hum", 20.0, severity), []) is True


def test_of_a_fault_at_no_known_time_only_a_fact_of_every_part_says_that_it_is_not_there():
    kinds = fault_kinds()
    nothing = clip(fact("dropouts", 0.0, "none"), fact("hum", 0.0, "none"), fact("blur", 1.7, "slight"))
    assert unseen(kinds["dropout"], 5, nothing, "en").support == "contradicted"
    assert unseen(kinds["dropout"], 2, nothing, "en").support == "unverified"  # so faint that it may be missed
    assert unseen(kinds["hum"], 5, nothing, "en").support == "unverified"  # an average: it may be there for a part
    assert unseen(kinds["gblur"], 5, nothing, "en").support == "unverified"  # seen, if less badly


def test_a_hint_elsewhere_refutes_no_time():
    rating = clip(fact("dropouts", 0.5, "strong", [(0.0, 1.0)]))
    assert supports("Strong robotic syllables from 5 to 6 s.", rating) == ["unverified"]
    assert supports("Strong robotic syllables from 0 to 1 s.", rating) == ["supported"]


def test_a_hint_says_nothing_of_a_denial():
    assert supports("There is no H.264 compression.", clip(fact("blur", 4.0, "severe"))) == ["unverified"]
    assert supports("There is no H.264 compression.", clip(fact("blur", 0.2, "none"))) == ["unverified"]


@pytest.mark.parametrize(
    ("text", "language", "support"),
    [
        ("There are no sound problems.", "en", "contradicted"),
        ("There were no audio issues in the clip.", "en", "contradicted"),
        ("没有声音问题。", "zh", "contradicted"),
        ("There is no sound.", "en", "unverified"),  # no claim of being clean
        ("没有声音。", "zh", "unverified"),
    ],
)
def test_no_sound_problems_are_not_no_sound(text, language, support):
    assert supports(text, clip(fact("clipping", 0.2, "severe"), language=language)) == [support]


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The sound is missing.", "en"),
        ("The sound cannot be judged.", "en"),
        ("There is no sound in the clip.", "en"),
        ("There is no audio stream.", "en"),
        ("The picture has strong Gaussian blur, and the sound is absent.", "en"),
        ("声音缺失。", "zh"),
        ("声音无法判断。", "zh"),
        ("声音不能评价。", "zh"),
        ("没有音频流。", "zh"),
        ("没有听到声音。", "zh"),
    ],
)
def test_a_missing_side_may_be_called_missing(text, language):
    gone = clip(fact("blur", 3.4, "strong"), missing={"audio": "no audio stream"}, language=language)
    claim = check_claims(text, gone, language)[0]
    assert claim.support == "supported"
    assert "no audio stream" in claim.because or "blur" in claim.because
    there = clip(fact("hum", 0.1, "none"), language=language)
    assert "supported" not in supports(text, there)


def test_text_on_the_screen_is_part_of_the_picture():
    assert supports("The captions have strong Gaussian blur.", clip(fact("blur", 0.5, "none"))) == ["unverified"]


def test_a_plain_word_is_right_if_one_of_its_kinds_is_there():
    rating = clip(fact("blur", 3.4, "strong"), fact("resolution", 1080.0, "none"))
    assert supports("The picture is heavily blurred.", rating) == ["supported"]


@pytest.mark.parametrize("text", ["画面有严重高斯模糊。", "画面质量是 good。", "声音没有问题。", "字幕质量是 good。"])
def test_reasons_are_in_the_language_of_the_rating(text):
    rating = clip(
        fact("blur", 0.2, "none"), fact("hum", 30.0, "severe"), video=1.0, language="zh", missing={"text": "没有字幕"}
    )
    claim = check_claims(text, rating, "zh")[0]
    assert claim.support == "contradicted"
    assert not [w for w in ("blur", "hum", "score", "none", "severe", "bad", "worst") if w in claim.because]


# ---- the data -------------------------------------------------------------------------------------------------------


def test_what_is_checked_is_measured():
    named = {m.rstrip("+-") for f in fault_kinds().values() for m in (*f.measures, *f.instead, *f.hints)}
    assert named <= set(ALL_FACTS)
    for kind, fault in fault_kinds().items():
        for name in (*fault.measures, *fault.instead):
            found = ALL_FACTS[name.rstrip("+-")]
            assert found.modality in (fault.side, "video") or fault.side == "sync", kind
            if name[-1] in "+-":
                assert (found.above if name[-1] == "+" else found.below) is not None, kind


def test_facts_and_kinds_have_names_in_both_languages():
    assert all(f.zh and f.explained.keys() == {"en", "zh"} for f in ALL_FACTS.values())
    assert len(FACTS) + len(CAPTION_FACTS) + len(WHOLE_FACTS) == len(ALL_FACTS)
    for language in LANGUAGES:
        names = load_prompts("questions", language)["names"]
        assert names.keys() == fault_kinds().keys()
        assert len(set(names.values())) == len(names)
