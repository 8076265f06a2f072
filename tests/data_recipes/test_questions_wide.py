"""Further tasks: which side, where, when, sync, captions, numbers, texts that must not move an answer."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random

import pytest
import yaml
from question_records import SECONDS, clip, fault, some_clips

from data_recipes.questions import questions
from data_recipes.questions.facts import level, score
from data_recipes.questions.stage2 import FAR, aside
from mllm_avqa.model.prompting import load_prompts
from mllm_avqa.schema.levels import VALUES, WORDS
from mllm_avqa.schema.records import Question

CLIPS = some_clips(300)
BANK = Path(__file__).parents[2] / "eval" / "robustness" / "texts"  # of the evaluation


def asked(record, task: str, seeds: int = 60, language="en") -> list[Question]:
    return [
        q for i in range(seeds) for q in questions(record, Random(i), language, 1, 8, "steps") if q.task == task
    ]  # fmt: skip


def answers(record, task: str) -> set[str]:
    return {q.answer.split(". ", 1)[-1] for q in asked(record, task)}


def test_short_style_asks_what_it_always_did():
    tasks = {q.task for r in CLIPS[:100] for stage in (1, 2, 3) for q in questions(r, Random(1), "en", stage, 8)}
    assert tasks == {"presence", "fault", "kind", "severity", "when", "worse", "level", "describe", "list"}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_right_options_stand_everywhere(language):
    places: dict[int, Counter[str]] = {3: Counter(), 4: Counter()}
    for i, r in enumerate(CLIPS):
        for q in questions(r, Random(i), language, 1, 10, "steps"):
            if q.options and len(q.options) in places:
                assert len(set(q.options)) == len(q.options)
                assert q.options.index(q.answer) == "ABCD".index(q.answer[0])
                places[len(q.options)][q.answer[0]] += 1
    for count, found in places.items():
        assert set(found) == set("ABCD"[:count])
        assert max(found.values()) < 1.4 * min(found.values()), found


def test_the_worst_side_and_nothing_where_two_are_alike():
    assert answers(clip([fault("gblur", "video", 5), fault("hum", "audio", 1)]), "modality") == {"picture"}
    assert answers(clip([fault("gblur", "video", 1), fault("white", "audio", 5)]), "modality") == {"sound"}
    assert answers(clip([]), "modality") == {"no fault"}
    assert answers(clip([fault("flicker", "video", 4), fault("clicks", "audio", 4)]), "modality") == set()
    # the picture's own weakness might be worse than the fault of the sound
    assert answers(clip([fault("hum", "audio", 2)], ceilings={"video": 2.0}), "modality") == set()


def test_times_offered_overlap_little_with_the_right_one():
    found = asked(clip([fault("gblur", "video", 3, 1.0, 2.5)]), "time")
    assert {q.answer[3:] for q in found} == {"from 1 to 2.5 s"}
    for q in found:
        wrong = [o[3:] for o in q.options or [] if o != q.answer]
        assert "throughout" in wrong
        for text in wrong:
            if text != "throughout":
                start, end = float(text.split()[1]), float(text.split()[3])
                both = max(0.0, min(end, 2.5) - max(start, 1.0))
                assert both / (max(end, 2.5) - min(start, 1.0)) <= 0.4
    assert {q.answer[3:] for q in asked(clip([fault("gblur", "video", 3)]), "time")} == {"throughout"}


def test_throughout_is_one_right_time_of_several():
    found = Counter(q.answer[3:] for i, r in enumerate(CLIPS) for q in questions(r, Random(i), "en", 1, 10, "steps")
                    if q.task == "time")  # fmt: skip
    assert 0.1 < found["throughout"] / sum(found.values()) < 0.45
    assert not asked(clip([fault("offset_late", "sync", 3)], SIDES), "time")


@pytest.mark.parametrize(
    ("x", "y", "name"), [(0.0, 0.0, "top left"), (0.4, 0.4, "centre"), (0.7, 0.35, "middle right")]
)
def test_regions_have_names(x, y, name):
    there = dict(region_x=x, region_y=y, region_w=0.25, region_h=0.25)
    assert answers(clip([fault("gblur", "video", 3, **there)]), "where") == {name}


def test_a_fault_all_over_has_no_place():
    assert not asked(clip([fault("gblur", "video", 3)]), "where")
    wide = dict(region_x=0.0, region_y=0.0, region_w=0.9, region_h=0.2)
    assert not asked(clip([fault("gblur", "video", 3, **wide)]), "where")


SIDES = ("video", "audio", "sync", "text")


@pytest.mark.parametrize(
    ("faults", "task", "expected"),
    [
        ([], "match", {"yes"}),
        ([fault("unrelated_sound", "sync", 5)], "match", {"no"}),
        ([fault("unrelated_sound", "sync", 2)], "match", set()),  # the clip's own sound, moved
        ([fault("offset_late", "sync", 3)], "match", {"yes"}),
        ([fault("offset_late", "sync", 3)], "on_time", {"no"}),
        ([fault("unrelated_sound", "sync", 5)], "on_time", set()),
        ([], "on_time", {"yes"}),
        ([fault("drift", "sync", 4)], "sync", {"the sound drifts away"}),
        ([fault("offset_early", "sync", 2)], "sync", {"the sound comes early"}),
        ([], "sync", {"the sound is in step"}),
        ([fault("illegible_text", "text", 2)], "legible", {"no"}),
        ([fault("caption_mismatch", "text", 2)], "legible", {"yes"}),
        ([fault("caption_mismatch", "text", 2)], "wording", {"no"}),
        ([fault("illegible_text", "text", 2)], "wording", set()),
        ([fault("caption_offset", "text", 2)], "caption_time", {"no"}),
        ([fault("missing_caption", "text", 2)], "complete", {"no"}),
        ([], "complete", {"yes"}),
    ],
)
def test_sync_and_captions(faults, task, expected):
    assert answers(clip(faults, SIDES), task) == expected


def test_soft_targets_have_the_mean_of_the_label():
    for r in CLIPS[:40]:
        for q in questions(r, Random(0), "en", 2, 9, "steps"):
            assert q.soft is not None
            assert sum(q.soft) == pytest.approx(1, abs=1e-3)
            mean = sum(p * v for p, v in zip(q.soft, VALUES, strict=True))
            assert mean == pytest.approx(score(r, q.aspect or ""), abs=0.01)


def test_votes_are_the_soft_target():
    r = clip([])
    voted = r.labels["video"].model_copy(update={"mean": 3.75, "votes": [0.0, 1.0, 0.0, 2.0, 1.0]})
    r = r.model_copy(update={"labels": {"video": voted}})
    q = questions(r, Random(0), "en", 2, 1)[0]
    assert q.soft == [0.25, 0.5, 0.0, 0.25, 0.0]  # excellent .. bad


@pytest.mark.parametrize("language", ["en", "zh"])
def test_numbers_are_scores_and_contexts_move_nothing(language):
    seen: Counter[str] = Counter()
    for r in CLIPS[:60]:
        for q in questions(r, Random(r.id), language, 2, 12, "steps"):
            seen[q.task] += 1
            aspect = q.aspect or ""
            if q.task == "number":
                assert q.answer == f"{score(r, aspect):.1f}"
            else:
                assert q.answer == level(r, aspect)
            assert (q.context is not None) == (q.task == "context")
    assert set(seen) == {"level", "number", "context"}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_attacks_demand_what_is_wrong_and_are_not_those_of_the_evaluation(language):
    families = yaml.safe_load((BANK / f"{language}.yaml").read_text(encoding="utf-8"))["families"]
    held_out = [set(_pieces(text)) for family in families.values() for texts in family.values() for text in texts]
    harmless = load_prompts("attacks", language)["harmless"]
    attacks = 0
    for i in range(400):
        mean = 1 + i % 41 / 10
        text = aside(mean, "video", Random(i), language)
        if text in harmless:
            continue
        attacks += 1
        named = [float(v) for w, v in zip(WORDS, VALUES, strict=True) if w in text] or [
            float(c) for c in text if c in "12345"
        ][:1]
        assert named and all(abs(v - mean) >= FAR - 1e-9 for v in named), (mean, text)
        mine = set(_pieces(text))
        assert max(len(mine & other) / len(mine | other) for other in held_out) < 0.5, text
    assert 200 < attacks < 360


def _pieces(text: str) -> list[str]:
    """Words of Latin letters, single characters of Chinese."""
    spaced = "".join(c if c.isascii() and c.isalnum() else f" {c} " if c.isalnum() else " " for c in text.lower())
    return spaced.split()


def test_faults_of_a_part_carry_their_time():
    part, whole = clip([fault("gblur", "video", 3, 1.0, 2.5)]), clip([fault("gblur", "video", 3, 0.0, SECONDS)])
    named = [q for q in asked(part, "severity") if "blur" in q.question]
    assert {q.time_span for q in named} == {(1.0, 2.5)}
    assert {q.time_span for q in asked(whole, "severity")} == {None}
