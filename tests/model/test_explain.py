"""Explanations under a constraint: what they say is scores, findings and facts; the model chooses how to say it."""

import types

import pytest

from mllm_avqa.evidence.catalogue import ALL_FACTS
from mllm_avqa.model.claims import read_claims
from mllm_avqa.model.explain import check_claims, measured_text, sentences, slots, write, write_freely
from mllm_avqa.model.prompting import load_prompts
from mllm_avqa.schema.clip import MediaInfo
from mllm_avqa.schema.faults import fault_kinds
from mllm_avqa.schema.levels import word
from mllm_avqa.schema.measurement import Measurement
from mllm_avqa.schema.rating import Finding, Rating, Remedy, ScoreDistribution, Window


def score(value):
    return ScoreDistribution(score=value, std=0.5, level=word(value), probs={}, mass=1.0)


def finding(kind, severity, language="en", **more):
    entry = fault_kinds()[kind]
    name, remedy = entry.name(language), entry.remedy.of(language)
    return Finding(side=entry.side, kind=kind, name=name, severity=severity, remedy=remedy, **more)


def rated(findings=(), evidence=(), language="en", **scores):
    best = [f for f in findings if f.gain][:1]
    told = [Remedy(text=f.remedy, side=f.side, kinds=[f.kind], gain=1, side_gain=1, rests_on="model") for f in best]
    return Rating(
        path="c.mp4", scores={a: score(s) for a, s in scores.items()}, findings=list(findings), language=language,
        remedies=told,
        evidence=list(evidence), media=MediaInfo(path="c.mp4", container="mp4", size_bytes=1, duration=4.0),
    )  # fmt: skip


def first(branches):
    """Prefers the first wording."""
    return [[-float(n), 0.0] for n in range(len(branches))]


def last(branches):
    return [[float(n), 0.0] for n in range(len(branches))]


CLIPPED = Measurement(name="clipping", modality="audio", value=33.0, unit="%", severity="strong", spans=[(1.0, 2.5)])


def test_every_finding_is_named_once_with_time_and_value_and_the_end_says_what_helps():
    found = [
        finding("clip", "strong", span=(1.0, 2.5), facts=["clipping"], gain=2.0),
        finding("cast", "slight", gain=0.5),
    ]
    rating = rated(found, [CLIPPED], overall=3.1, video=4.3, audio=2.0)
    assert sentences(write(first, rating, "en")) == [
        "The picture may have a slight colour cast throughout.",  # nothing measured bears it out
        "The sound has strong clipping from 1 to 2.5 s (measured: clipping 33 %, fine up to 0.2).",
        "Scores: picture good (4.3), sound poor (2.0).",
        "Overall the quality is fair (3.1 of 5).",
        "It is mainly the sound that pulls it down.",
        "What would help most: lower the recording gain, worth about 1.0 points overall.",
    ]


def test_chinese_says_the_levels_in_chinese():
    found = [finding("clip", "strong", "zh", span=(1.0, 2.5), facts=["clipping"], gain=2.0)]
    rating = rated(found, [CLIPPED], "zh", overall=3.1, video=4.3, audio=2.0)
    assert write(first, rating, "zh") == (
        "画面没有发现问题。声音在1到2.5秒有明显的削波（实测：削波 33 %，0.2 以内为正常）。"
        "评分：画面良好（4.3）、声音较差（2.0）。整体质量一般（3.1分，满分5分）。主要是声音拉低了总分。"
        "最有帮助的做法是降低录音增益，总分约可提高1.0分。"
    )


def test_the_model_chooses_the_wording():
    rating = rated([finding("hum", "severe", gain=1.0)], overall=2.0, audio=2.0)
    one, other = write(first, rating, "en"), write(last, rating, "en")
    assert one != other and "hum" in one and "hum" in other


def test_it_writes_behind_scores_and_lists_in_the_form_it_was_taught():
    asked = []

    def keep(branches):
        asked.extend(b.question for b in branches)
        return first(branches)

    write(keep, rated([finding("hum", "severe")], overall=2.0, audio=1.4), "en")
    assert set(asked) == {"Scores: audio bad, overall poor. Faults: audio: severe hum throughout. Explain the rating."}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_whatever_is_found_no_statement_is_contradicted_by_its_own_scores_and_sides(language):
    for kind, entry in fault_kinds().items():
        found = finding(kind, "strong", language, span=(1.0, 2.0), gain=1.0)
        scores = {"overall": 2.2, "video": 2.6, "audio": 4.2, "sync": 4.1, "text": 4.4, entry.side: 1.7}
        rating = rated([found], language=language, **scores)
        words = load_prompts("explain", language)
        for n in range(3):
            text = words["joints"]["sentences"].join(o[n % len(o)] for o in slots(rating, words))
            claims = read_claims(text, language)
            assert [(f.side, kind in f.kinds, f.severity, f.span) for f in claims.faults] == [
                (entry.side, True, 4, (1.0, 2.0))
            ], text
            assert {(lv.aspect, lv.word) for lv in claims.levels} == {(a, word(v)) for a, v in scores.items()}, text
            assert not [c for c in check_claims(text, rating, language) if c.support == "contradicted"], text


def test_a_side_that_scores_low_without_a_finding_is_not_called_clean():
    said = sentences(write(first, rated(overall=2.5, video=2.6), "en"))
    assert said[0] == (
        "The picture is fair, but no single fault stands out: nothing that was measured explains it, so check before "
        "you act on the score."
    )
    blurred = Measurement(name="blur", modality="video", value=3.5, unit="px", severity="strong")
    said = sentences(write(first, rated(evidence=[blurred], overall=4.2, video=4.3), "en"))
    assert said[0] == "The picture is good, although its edges are blurred (measured: blur 3.5 px, fine up to 1.2)."


@pytest.mark.parametrize(
    ("language", "told"),
    [
        ("en", "so check from 8 to 16 s, where the score is lowest, before you act on the score."),
        ("zh", "请先核查得分最低的第8到16秒再处理。"),
    ],
)
def test_a_low_score_without_a_reason_says_which_window_to_look_at(language, told):
    rating = rated(language=language, overall=2.5, video=2.6)
    rating.windows = [
        Window(start=a, end=b, scores={"video": score(s)}) for a, b, s in ((0, 8, 3.0), (8, 16, 2.3), (16, 24, 2.75))
    ]
    text = write(first, rating, language)
    assert told in text
    assert not [c for c in check_claims(text, rating, language) if c.support == "contradicted"]
    rating.windows[1] = Window(start=8, end=16, scores={"video": score(2.9)})
    assert "the score is lowest" not in write(first, rating, "en")  # about the same everywhere


class Scripted:
    """Answers by the aspect of the question, and keeps what was asked."""

    def __init__(self, answers):
        self.answers, self.asked = answers, []

    def generate(self, branch, max_tokens):
        self.asked.append((branch.aspect, branch.question))
        return self.answers.get(branch.aspect, "")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_model_that_lists_faults_writes_freely_with_its_own_lists_before_it(language):
    clip = Scripted({"video": "severe blur", "overall": "It is blurred."})
    scores = {"overall": score(2.1), "video": score(1.2), "audio": score(4.4), "text": None}
    assert write_freely(clip, scores, language, lists_faults=True) == "It is blurred."
    assert [aspect for aspect, _ in clip.asked] == ["video", "audio", "overall"]
    assert "video: severe blur" in clip.asked[-1][1]
    assert "audio:" not in clip.asked[-1][1]  # it had nothing to say


def test_other_models_are_asked_for_nothing_but_the_free_explanation():
    clip = Scripted({"overall": "Fine."})
    assert write_freely(clip, {"overall": score(4.0)}, "en", lists_faults=False) == "Fine."
    assert clip.asked == [("overall", "Scores: overall good. Explain the rating.")]


def fact(name, modality, value, unit, severity):
    return Measurement(name=name, modality=modality, value=value, unit=unit, severity=severity)


def test_a_side_without_a_finding_is_explained_by_its_worst_facts_in_plain_words():
    facts = [
        fact("snr", "audio", 14.5, "dB", "slight"),
        fact("loudness", "audio", -42.8, "LUFS", "moderate"),
        fact("colourfulness", "video", 5.0, "index", "strong"),  # what was filmed, no fault
    ]
    said = sentences(write(first, rated((), facts, overall=2.0, video=4.2, audio=1.6), "en"))
    assert said[:2] == [
        "No fault was found in the picture.",
        "The sound is poor: it is very quiet (measured: loudness -42.8 LUFS, fine from -32) and it stands little above "
        "its noise (measured: snr 14.5 dB, fine from 32).",
    ]
    chinese = write(first, rated((), facts, "zh", overall=2.0, video=4.2, audio=1.6), "zh")
    assert (
        "声音较差：音量很小（实测：响度 -42.8 LUFS，-32 以上为正常），"
        "信号只比噪声略高（实测：信噪比 14.5 dB，32 以上为正常）。" in chinese
    )


def test_a_side_that_was_not_judged_is_told_with_its_reason():
    missing = {"audio": "digital silence: nothing is on it"}
    silent = rated(overall=3.0, video=3.0).model_copy(update={"missing": missing})
    said = write(first, silent, "en")
    assert "The sound could not be judged: digital silence." in said
    assert {c.support for c in check_claims(said, silent, "en") if "digital" in c.text} == {"supported"}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_fact_that_can_be_bad_has_plain_words_that_are_no_denial(language):
    words = load_prompts("explain", language)
    texts = {key: words[name]["screen"] for key, name in (("text", "texts"), ("are", "are"))}
    for name, known in ALL_FACTS.items():
        if known.content == "severe" or (known.above is None and known.below is None):
            continue
        ways = [s for s, t in (("+", known.above), ("-", known.below)) if t is not None]
        assert set(words["tells"][name]) >= set(ways), name
        for case in ("plain", "although"):
            for way in ways:
                told = words[case][known.modality][0].format(level="…", tells=words["tells"][name][way], **texts)
                claims = read_claims(told, language)
                assert not claims.clean and not any(f.denied for f in claims.said), told


def test_a_still_does_not_miss_its_sound_and_a_low_score_tells_the_worst_measure():
    from mllm_avqa.schema.clip import VideoInfo

    blurred = fact("blur", "video", 1.6, "", "faint")
    rating = rated((), [blurred], overall=2.0, video=2.0)
    still = VideoInfo(codec="mjpeg", width=64, height=64, pixel_format="yuvj420p", still=True)
    rating.media = rating.media.model_copy(update={"video": still})
    rating.missing = {"audio": "the file has no audio stream"}
    said = sentences(write(first, rating, "en"))
    assert said[:2] == [
        "The picture is poor, but no single fault stands out; the worst of what was measured is faint "
        "(measured: blur 1.6), so check before you act on the score.",
        "Scores: picture poor (2.0).",
    ]


def test_bad_facts_that_no_finding_bears_are_told_and_so_is_what_a_fix_rests_on():
    quiet = fact("loudness", "audio", -42.8, "LUFS", "moderate")
    floor = fact("noise_floor", "audio", -46.0, "dBFS", "slight")
    found = [finding("echo", "strong", probability=0.6, gain=1.0)]
    rating = rated(found, [quiet, floor], overall=2.0, audio=2.0)
    text = write(first, rating, "en")
    assert "Another point about the sound: it is very quiet (measured: loudness -42.8 LUFS, fine from -32)." in text
    noisy = rated(found, [fact("noise_floor", "audio", -32.0, "dBFS", "strong")], overall=2.0, audio=2.0)
    assert all(c.support != "contradicted" for c in check_claims(write(first, noisy, "en"), noisy, "en"))
    fix = finding("white", "slight").remedy
    rating.remedies = [
        Remedy(text=fix, side="audio", kinds=["white"], gain=1, side_gain=1, facts=["noise_floor"], rests_on="facts")
    ]
    assert (
        sentences(write(first, rating, "en"))[-1]
        == f"What would help most: {fix} (measured: noise floor -46 dBFS, fine up to -55), "
        "worth about 1.0 points overall."
    )


def test_what_facts_refute_is_withdrawn_from_the_text():
    """The claims that are left are those of the text, and the refuted one is kept with its reason."""
    from mllm_avqa.rater.scorer import Scorer

    rating = rated((), [CLIPPED], overall=2.0, audio=2.0)
    clip = Scripted({"overall": "The sound is excellent. The sound has clipping from 1 to 2.5 s."})
    card = types.SimpleNamespace(lists_faults=False)
    Scorer(None, card, "", "", free_text=True).explain(rating, clip)  # type: ignore[arg-type]
    assert rating.explanation == "The sound has clipping from 1 to 2.5 s."
    assert [c.text for c in rating.claims] == [rating.explanation]
    assert [c.text for c in rating.withdrawn] == ["The sound is excellent."] and rating.withdrawn[0].because


def test_a_clean_side_is_told_with_what_was_measured_of_it():
    sharp = fact("blur", "video", 0.7, "px at 540p", "none")
    tall = fact("resolution", "video", 1080.0, "px", "none")
    said = sentences(write(first, rated((), [sharp, tall], overall=4.2, video=4.2), "en"))
    assert said[0] == "No fault was found in the picture (measured: resolution 1080 px, blur 0.7 px at 540p)."


def test_a_limit_is_told_of_values_beyond_it_alone():
    words = load_prompts("explain", "en")
    silence = Measurement(name="silence", modality="audio", value=10.8, unit="%", severity="severe")
    assert measured_text([silence], words) == " (measured: silence 10.8 %)"  # of a whole file: graded by its span
    assert measured_text([silence.model_copy(update={"value": 45.0})], words).endswith("silence 45 %, fine up to 20)")
