"""Descriptions in five steps: different from each other, true to the record, readable by the check of claims."""

from __future__ import annotations

import re
from random import Random

import pytest
from question_records import clip, fault, some_clips

from data_recipes.questions import describe_clip, questions
from data_recipes.questions.facts import level, rounded, score, seconds
from data_recipes.questions.reading import read
from data_recipes.questions.steps import explains, loss
from mllm_avqa.evidence.catalogue import ALL_FACTS
from mllm_avqa.model.claims import WHOLE
from mllm_avqa.model.explain import check_claims, sentences
from mllm_avqa.model.prompting import load_prompts
from mllm_avqa.schema.clip import MediaInfo
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.faults import fault_kinds
from mllm_avqa.schema.measurement import SEVERITIES, Measurement
from mllm_avqa.schema.rating import Rating, ScoreDistribution

CLIPS = some_clips(1000)
LANGUAGES = ("en", "zh")


def rating(record) -> Rating:
    """What a perfect rater would have measured and scored."""
    facts = []
    for f in record.distortions:
        for measure in fault_kinds()[f.kind].measures[:1]:
            fact = ALL_FACTS[measure.rstrip("+-")]
            worse = fact.below if measure.endswith("-") or fact.above is None else fact.above
            facts.append(
                Measurement(
                    name=measure.rstrip("+-"), modality=f.modality, value=worse[f.level - 1], unit="ratio",
                    severity=SEVERITIES[f.level], spans=[(f.start, f.end)],
                )
            )  # fmt: skip
    touched = {d.modality for d in record.distortions}
    facts += [
        Measurement(name="other", modality=a, value=0.0, unit="ratio")
        for a in ("video", "audio", "sync", "text") if a in record.labels and a not in touched
    ]  # fmt: skip
    scores = {
        a: ScoreDistribution(score=score(record, a), std=0.5, level=level(record, a), probs={}, mass=1.0)
        if a in record.labels
        else None
        for a in ("overall", "video", "audio", "sync", "text")
    }
    return Rating(
        path="c.mp4", scores=scores, missing={a: "absent" for a in ("video", "audio") if a not in record.labels},
        evidence=facts, media=MediaInfo(path="c.mp4", container="mp4", size_bytes=1, duration=4.0),
    )  # fmt: skip


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_two_of_a_thousand_are_equal(language):
    rng = Random(1)
    assert len({describe_clip(r, rng, language, "steps") for r in CLIPS}) == len(CLIPS)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_fault_statement_can_be_read_back(language):
    """Kind, severity and time of every fault stand in one sentence that states nothing else."""
    words, rng = load_prompts("questions", language), Random(2)
    for r in CLIPS[:200]:
        text = describe_clip(r, rng, language, "steps")
        facts = read(text, language)
        assert facts.clear, text
        said = {(kinds, degree, time) for kinds, _, degree, time in facts.faults}
        for f in r.distortions:
            span = rounded(f, seconds(r))
            assert (frozenset({f.kind}), f.level, tuple(span) if span else WHOLE) in said, text
        assert len(said) == len(r.distortions), text
        assert not any(k for _, k in facts.denied), text
        assert all(words["names"][k] for k in facts.key)


@pytest.mark.parametrize("style", ["short", "steps"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_no_claim_is_contradicted_by_a_perfect_rating(language, style):
    rng = Random(3)
    for r in CLIPS[:200]:
        for c in check_claims(describe_clip(r, rng, language, style), rating(r), language):
            assert c.support != "contradicted", (r.id, c.text, c.because)


@pytest.mark.parametrize("language", LANGUAGES)
def test_levels_and_numbers_are_those_of_the_labels(language):
    rng = Random(4)
    for r in CLIPS[:200]:
        text = describe_clip(r, rng, language, "steps")
        said = {(a, w) for a, w, _ in read(text, language).levels}
        assert said == {(a, level(r, a)) for a in r.labels}, text
        last = sentences(text)[-1]
        assert level(r, "overall") in last
        assert set(re.findall(r"\d\.\d(?!\d)", last)) <= {f"{score(r, 'overall'):.1f}"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_absent_side_is_not_spoken_of(language):
    words = load_prompts("claims", language)["aspects"]
    for side, other in (("video", "audio"), ("audio", "video")):
        for seed in range(30):
            text = describe_clip(clip([], [side]), Random(seed), language, "steps").lower()
            assert not any(w in text for w in words[other]), text


def test_the_key_fault_is_the_one_that_costs_most():
    r = clip([fault("gblur", "video", 5), fault("hum", "audio", 1)])
    assert loss(r, r.distortions[0]) > loss(r, r.distortions[1])
    assert explains(r, r.distortions[0])
    for seed in range(30):
        facts = read(describe_clip(r, Random(seed), "en", "steps"), "en")
        assert facts.key == {"gblur"}
        assert all("hum" not in kinds for aspect, _, kinds in facts.levels if aspect == "overall")


def test_a_small_fault_is_not_blamed_for_a_poor_source():
    r = clip([fault("shake", "video", 1, 2.0, 3.0)], ceilings={"video": 2.0})
    assert not explains(r, r.distortions[0])
    for seed in range(60):
        text = describe_clip(r, Random(seed), "en", "steps")
        end = sentences(text)[-1]
        assert "camera shake" not in end, text
        assert not re.search(r"(?:^|\. )(?:With|Given|Due to|Because of) camera shake", text), text


def test_a_side_without_listed_faults_is_clean_only_if_it_was_made():
    """People voted on the clip and nobody listed faults: nothing may be called clean or denied."""
    made = clip([])
    voted = made.model_copy(
        update={"labels": {a: lb.model_copy(update={"pseudo": False}) for a, lb in made.labels.items()}}
    )
    for language in LANGUAGES:
        for seed in range(20):
            assert read(describe_clip(made, Random(seed), language, "steps"), language).denied
            sides = {s for s, _ in read(describe_clip(voted, Random(seed), language, "steps"), language).denied}
            assert not any(sides), sides
            assert not [q for q in questions(voted, Random(seed), language, 1, 6, "steps") if q.task != "worse"]


def test_scores_of_other_scales_are_converted():
    r = clip([])
    mos = {a: lb.model_copy(update={"mean": 10.0, "std": 5.0, "scale": (0.0, 100.0), "higher_is_better": False})
           for a, lb in r.labels.items()}  # fmt: skip
    r = r.model_copy(update={"labels": mos})
    assert level(r, "overall") == "excellent"  # 10 of 100 where lower is better is 4.6 of 5
    assert score(r, "video") == pytest.approx(4.6)
    assert {q.answer for q in questions(r, Random(0), "en", 2, 3)} == {"excellent"}


def test_a_fault_of_a_region_is_said_to_be_there():
    where = dict(region_x=0.0, region_y=0.7, region_w=0.3, region_h=0.3)
    r = clip([fault("gblur", "video", 4, **where)])
    assert "strong Gaussian blur in the bottom left" in describe_clip(r, Random(0), "en", "steps")
    assert "位于左下的明显的高斯模糊" in describe_clip(r, Random(0), "zh", "steps")


def test_languages_have_the_same_sections():
    for name in ("steps", "tasks", "attacks", "rewrite"):
        en, zh = load_prompts(name, "en"), load_prompts(name, "zh")

        def keys(node):
            return {k: keys(v) for k, v in node.items() if k != "forms"} if isinstance(node, dict) else None

        assert keys(dict(en)) == keys(dict(zh))


def test_an_unknown_style_names_the_flag():
    with pytest.raises(ConfigError, match="--style"):
        questions(CLIPS[0], Random(0), "en", 1, 1, "long")  # type: ignore[arg-type]
