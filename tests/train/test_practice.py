"""Practice rows: the teacher values facts in the right direction; kin share faults and answers."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from mllm_avqa.evidence import FACTS
from mllm_avqa.model.prompting import CHAT, Branch, explain_branch, load_prompts
from mllm_avqa.model.views import Views
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.levels import WORDS
from mllm_avqa.schema.measurement import SEVERITIES, Measurement
from mllm_avqa.schema.records import Distortion, Label, Question, Record
from mllm_avqa.schema.text import TextContext, TextItem
from train.cache import CachedWindow
from train.config import PracticeShares, Stage
from train.losses import target
from train.mini.replay import answers
from train.nano.practice import FactClips, Practice, mix, renamed
from train.nano.teacher import Teacher, _predict, code, codes, names_of
from train.questions import Sample, perceived, teaches_lists

SEEN = Views(np.zeros((2, 8, 8, 3), np.uint8), None, None)
KIND = {"video": ("blur", "gblur"), "audio": ("hum", "hum")}


def facts(blur: int, hum: int) -> list[Measurement]:
    """Two facts of given severity 0..5, their values to match."""
    out = []
    for name, level in (("blur", blur), ("hum", hum)):
        fact = FACTS[name]
        assert fact.above is not None
        value = fact.above[level - 1] if level else fact.above[0] * 0.2
        out.append(Measurement(name=name, modality=fact.modality, value=value, unit="x", severity=SEVERITIES[level]))
    return out


def clip(k: int, blur: int, hum: int) -> dict[str, object]:
    levels = {"video": blur, "audio": hum}
    labels = {a: Label(mean=4.7 - 0.7 * v) for a, v in levels.items()} | {
        "overall": Label(mean=4.7 - 0.35 * (blur + hum))
    }
    faults = [Distortion(kind=KIND[a][1], modality=a, level=v, start=0, end=3) for a, v in levels.items() if v]
    asked = [
        Question(stage=1, task="kind", aspect=a, question=f"{a}? A. x B. y", options=["A. x", "B. y"], answer="A. x")
        for a in levels
    ]
    record = Record(
        id=f"c{k}", media="c.mp4", dataset="d", group=str(k), labels=labels, distortions=faults, questions=asked
    )
    return {"record": record, "window": CachedWindow(Views(None, None, None), facts(blur, hum), TextContext(), {})}


@pytest.fixture(scope="module")
def items() -> list[dict[str, object]]:
    rng = np.random.default_rng(0)
    return [clip(k, int(rng.integers(0, 6)), int(rng.integers(0, 6))) for k in range(120)]


@pytest.fixture(scope="module")
def teacher(items) -> Teacher:
    return Teacher([i["record"] for i in items], {i["record"].id: i["window"].evidence for i in items})


def test_codes_rise_with_severity_and_with_nearness_to_it():
    ladder = [code(m) for level in range(6) for m in facts(level, 0)[:1]]
    assert ladder == sorted(ladder)
    assert ladder[1:] == [10, 11, 12, 13, 14]
    assert 0 <= ladder[0] <= 9
    assert code(None) == -1
    assert codes(facts(3, 0), names_of("video", [])).count(-1) == sum(f.modality == "video" for f in FACTS.values()) - 1
    gap = Measurement(name="caption_gap", modality="text", value=0.0, unit="s")  # of no catalogue
    assert names_of("text", [[gap]]) == ("caption_gap",)
    assert (code(gap), code(gap.model_copy(update={"severity": "faint"}))) == (0, 10)


def test_teacher_values_facts_by_side(teacher, items):
    labels = {a: target(lb) for a, lb in items[0]["record"].labels.items()}
    good, dull, both = teacher.label([(facts(0, 0), labels), (facts(5, 0), labels), (facts(5, 5), labels)])
    assert good["video"].mean > 4.2 > 2 > dull["video"].mean
    assert good["audio"].mean == dull["audio"].mean > both["audio"].mean + 2
    assert good["overall"].mean > dull["overall"].mean > both["overall"].mean
    assert sum(good["video"].probs) == pytest.approx(1)


def test_sync_is_taught_where_enough_clips_have_it(items):
    def late(severity):
        value = (0.0, *FACTS["av_duration_difference"].above)[severity]
        grade = SEVERITIES[severity]
        return Measurement(name="av_duration_difference", modality="sync", value=value, unit="ms", severity=grade)

    records = [i["record"].model_copy(update={"labels": i["record"].labels | {"sync": Label(mean=5 - k % 5)}})
               for k, i in enumerate(items)]  # fmt: skip
    shown = {r.id: [*i["window"].evidence, late(k % 5)] for k, (r, i) in enumerate(zip(records, items, strict=True))}
    labels = {a: target(lb) for a, lb in records[0].labels.items()}
    good, bad = Teacher(records, shown).label([([late(0)], labels), ([late(4)], labels)])
    assert good["sync"].mean > 4.5 > 1.5 > bad["sync"].mean
    (kept,) = Teacher([i["record"] for i in items], shown).label([([late(4)], labels)])
    assert kept["sync"] is labels["sync"]


def test_a_side_without_facts_keeps_its_label(teacher, items):
    labels = {a: target(lb) for a, lb in items[0]["record"].labels.items()}
    (out,) = teacher.label([([m for m in facts(5, 5) if m.modality == "audio"], labels)])
    assert out["video"] is labels["video"]
    assert out["audio"] is not labels["audio"]


def test_too_few_clips_are_refused():
    few = [clip(k, 1, 1) for k in range(5)]
    with pytest.raises(ConfigError, match="5 training clips have a video score"):
        Teacher([i["record"] for i in few], {i["record"].id: i["window"].evidence for i in few})


def test_clips_without_an_overall_score_are_refused(items):
    records = [i["record"] for i in items]
    sides = [r.model_copy(update={"labels": {a: r.labels[a] for a in ("video", "audio")}}) for r in records]
    with pytest.raises(ConfigError, match="no training clip has an overall score"):
        Teacher(sides, {i["record"].id: i["window"].evidence for i in items})


def test_mix_takes_about_the_share_and_keeps_the_order():
    own, other = facts(0, 0) * 100, facts(5, 5)
    mixed = mix(own, other, 0.3, random.Random(0))
    assert [m.name for m in mixed] == [m.name for m in own]
    assert 0.2 < sum(m.severity == "severe" for m in mixed) / len(mixed) < 0.4


def unasked(items, languages, rng):
    raise AssertionError("no whole rows were asked for")


def drawn(items, usual=unasked, **shares):
    clips = FactClips(items)
    practice = Practice(clips, 2, PracticeShares(**shares), usual)
    return practice.draw([i for i in clips.items if i["window"]], ["en"], random.Random(0))


def test_one_sided_rows_show_one_side_and_ask_about_it(items):
    for sample in drawn(items, overall=0, kin=0.5, strangers=0.3):
        sides = {m.modality for m in sample.window.evidence}
        assert len(sides) == 1
        assert {q.aspect for q in sample.questions} == sides
        assert sample.only is not None
        assert set(sample.only) == {"system", *sides}
        assert sample.questions[0].answer.strip(" .")  # the level comes first


def test_kin_lend_facts_of_the_same_fault(items):
    for sample in drawn(items, overall=0, kin=1, strangers=0):
        side = sample.window.evidence[0].modality
        fault = any(d.modality == side for d in sample.record.distortions)
        assert all((m.severity != "none") == fault for m in sample.window.evidence)


def test_overall_rows_show_both_sides(items):
    rows = drawn(items, overall=1, kin=0.2, strangers=0)
    assert len(rows) == 40
    for sample in rows:
        assert {m.modality for m in sample.window.evidence} == {"video", "audio"}
        assert "overall" in {q.aspect for q in sample.questions}


def test_text_beside_mixed_facts_is_any_clips_text(items):
    texts = [TextContext(items=[TextItem(origin="user", text=f"text {k}")]) for k in range(len(items))]
    items = [i | {"window": replace(i["window"], context=t)} for i, t in zip(items, texts, strict=True)]
    rows = drawn(items, overall=1, context=1)
    foreign = [t for sample in rows for t in sample.window.context.items if t.text != f"text {sample.record.group}"]
    assert len(foreign) > len(rows)
    assert not any(sample.window.context.items for sample in drawn(items, overall=1, context=0))


def test_described_rows_do_not_ask_for_the_sides_scores(items):
    items = [described(i) for i in items]
    rows = drawn(items, overall=1, described=1)
    asked = [q for sample in rows for q in sample.questions]
    assert any(q.answer == "All is well." for q in asked)
    assert {q.aspect for q in asked if q.stem} == {"overall"}


def described(item):
    more = Question(stage=3, task="describe", aspect="overall", question="What of it?", answer="All is well.")
    record = item["record"]
    return item | {"record": record.model_copy(update={"questions": [*record.questions, more]})}


def test_whole_rows_have_pixels_and_sound_again(items):
    """A third as many rows, from the clips themselves."""
    seen = []

    def whole(full, languages, rng):
        seen.extend(full)
        return [Sample(i["record"], i["window"], [], languages[0]) for i in full]

    full = [i | {"window": CachedWindow(SEEN, i["window"].evidence, TextContext(), {})} for i in items]
    rows = drawn(full, whole, whole=1)
    assert [r.record.id for r in rows] == [i["record"].id for i in items[:40]]
    assert all(r.window.views is SEEN for r in rows)


def test_a_clip_that_cannot_be_read_is_passed_on_and_lends_nothing(items):
    clips = FactClips([*items, {"record": items[0]["record"], "window": None, "error": "BadZipFile: cut"}])
    assert clips[len(items)]["error"] == "BadZipFile: cut"
    practice = Practice(clips, 2, PracticeShares(), unasked)
    assert all(len(having) == len(items) for having in map(practice.having.get, ("video", "audio")))


def test_quick_prediction_is_the_forests(teacher, items):
    rows = [codes(i["window"].evidence, names_of("video", [])) for i in items]
    forest = teacher._forest["video"]
    assert np.allclose(_predict(forest, rows), forest.predict(rows), atol=1e-9)


def with_lists(item):
    """A description, and a list of faults for each side."""
    record = described(item)["record"]
    lists = [
        Question(stage=3, task="list", aspect=a, question=f"Faults of {a}?", answer=f"{a} {levels(record, a)}")
        for a in ("video", "audio")
    ]
    return item | {"record": record.model_copy(update={"questions": [*record.questions, *lists]})}


def levels(record, side):
    return [d.level for d in record.distortions if d.modality == side]


def test_listed_rows_are_mixed_with_equal_faults_and_list_them(items):
    rows = drawn([with_lists(i) for i in items], overall=0, kin=0, strangers=0, listed=1)
    for sample in rows:
        side = sample.window.evidence[0].modality
        level = ([0, *levels(sample.record, side)])[-1]
        assert all(m.severity == SEVERITIES[level] for m in sample.window.evidence)
        assert [q.answer for q in sample.questions[1:]] == [f"{side} {levels(sample.record, side)}"]


def test_rows_of_captions_see_the_picture_of_another_clip_and_mix_their_own_facts(items):
    many = list(items)
    for k in range(0, len(items), 4):  # few clips have captions, as in life
        gap = Measurement(name="caption_gap", modality="text", value=float(k), unit="s", severity=SEVERITIES[k % 6])
        i = items[k]
        record = i["record"].model_copy(update={"labels": i["record"].labels | {"text": Label(mean=2.0)}})
        many[k] = i | {"record": record, "window": replace(i["window"], evidence=[*i["window"].evidence, gap])}
    rows = drawn(many, overall=0, kin=1, strangers=0, text=1, facts=1)
    assert len(rows) == len(items)
    assert {q.aspect for sample in rows for q in sample.questions} == {"text"}
    assert {m.modality for sample in rows for m in sample.window.evidence} == {"video", "text"}
    own = {i["record"].id: i["window"].evidence for i in many}
    for place, name in ((0, "blur"), (-1, "caption_gap")):
        facts_ = [(s.window.evidence[place], own[s.record.id][place]) for s in rows]
        assert all(shown.name == name for shown, _ in facts_)
        assert sum(shown != mine for shown, mine in facts_) > len(rows) / 5


def test_written_rows_see_no_clip_and_are_told_scores_and_faults(items, monkeypatch):
    monkeypatch.setattr("train.nano.practice.RENAMED", 0.0)
    rows = drawn([with_lists(i) for i in items], written=1)
    for sample in rows:
        assert sample.only == ("system",)
        (asked,) = sample.questions
        assert asked.answer == "All is well."
        assert f"video: video {levels(sample.record, 'video')}" in asked.question
        assert "overall " in asked.question


@pytest.mark.parametrize(
    ("language", "listed", "text"),
    [
        ("en", "strong white noise from 0 to 1 s", "The sound has {}. Scores: sound bad."),
        ("zh", "0到1秒严重白噪声", "声音有{}。评分：声音 bad。"),
    ],
)
def test_renamed_rows_say_in_the_answer_what_the_question_says(language, listed, text):
    asked = explain_branch({"audio": "bad"}, language, text.format(listed), {"audio": listed})
    kinds = {"audio": {"white", "hum", "clicks", "clip", "lowpass", "echo", "aac"}, "video": {"gblur", "mosaic"}}
    names = load_prompts("questions", language)["names"]
    seen = set()
    for seed in range(20):
        other = renamed(asked, language, kinds, random.Random(seed))
        assert not any(names[k] in other.answer for k in kinds["video"])  # a fault keeps its side
        said = other.question.split("audio: ")[1].split("." if language == "en" else "。")[0]
        assert said in other.answer
        level = next(w for w in WORDS if f"audio {w}" in other.question)
        assert level in other.answer
        seen.add(said)
    assert len(seen) > 8


def test_scrambled_texts_are_known_words_in_any_order(items):
    texts = [TextContext(items=[TextItem(origin="user", text=f"text {k}")]) for k in range(len(items))]
    items = [i | {"window": replace(i["window"], context=t)} for i, t in zip(items, texts, strict=True)]
    said = [t.text for sample in drawn(items, overall=1, context=1, scrambled=1) for t in sample.window.context.items]
    known = {"text", *map(str, range(len(items))), "A. x"}
    assert all(len(t.replace("A. x", "Ax").split()) >= 3 for t in said)
    assert {w for t in said for w in t.replace("A. x", "").split()} <= known
    assert len(set(said)) > len(said) / 2


@pytest.mark.parametrize(
    ("mixture", "practice", "taught"),
    [
        ({"stage3": 1}, None, True),
        ({"stage1": 3}, None, False),
        ({"stage3": 1}, {}, False),  # practice draws its own rows
        ({"stage3": 1}, {"whole": 0.1}, True),
        ({}, {"listed": 0.1}, True),
        ({}, {"described": 0.1}, True),
        ({}, {"described": 0.1, "overall": 0}, False),
        ({}, {"written": 0.1}, False),  # lists are read there, not made
    ],
)
def test_a_card_says_whether_lists_were_taught(items, mixture, practice, taught):
    stage = Stage.model_validate({"name": "s", "steps": 1, "mixture": mixture, "practice": practice})
    records = [with_lists(i)["record"] for i in items[:3]]
    assert teaches_lists(stage, records) is taught
    assert not teaches_lists(stage, [i["record"] for i in items[:3]])


def test_replayed_rows_ask_general_questions_and_show_no_clip(items):
    """What the base answered before it learnt to rate: its own words, behind the system prompt alone."""
    practice = Practice(FactClips(items), 1, PracticeShares(replay=1), lambda *_: pytest.fail("whole"))
    rows = practice.draw(practice.clips.items[:6], ["en"], random.Random(0))
    known = {(d["question"], d["answer"]) for d in answers()}
    assert len(rows) == 6
    assert len(known) >= 90
    for row in rows:
        (asked,) = row.questions
        assert (asked.question, asked.answer) in known
        assert (asked.aspect, asked.stem, asked.quoted, row.only, row.language) == (CHAT, "", True, ("system",), "en")


@pytest.mark.parametrize(
    ("language", "text", "options", "answer", "bare"),
    [
        ("en", "Pick the fault. echo, hum or no fault", ["echo", "hum", "no fault"], "hum", "Pick the fault."),
        (
            "zh",
            "请选出声音的问题。回声，嗡声还是没有问题",
            ["回声", "嗡声", "没有问题"],
            "没有问题",
            "请选出声音的问题。",
        ),
        ("en", "Is there hum in the sound?", None, "no", "Is there hum in the sound?"),
    ],
)
def test_a_question_with_options_is_asked_with_letters_in_its_share(language, text, options, answer, bare):
    q = Question(stage=1, task="kind", aspect="audio", language=language, question=text, answer=answer, options=options)
    assert perceived(q, 0, random.Random(1)) == Branch("audio", text, "", answer)
    seen = set()
    for seed in range(40):
        b = perceived(q, 1, random.Random(seed))
        assert b.question.startswith(bare) and b.question.count(answer) >= 1
        letter, place = b.answer[0], b.question.index(f"{b.answer[0]}. {answer}")
        assert b.answer in (f"{letter}. {answer}", f"{letter}.") and place > len(bare)
        assert b.question.count(". " + (options or ["yes"])[0]) == 1  # once, and not in the question any more
        seen.add(letter)
    assert seen == set("ABC"[: len(options or "AB")])  # at every place
    open_question = q.model_copy(update={"options": None, "answer": "severe"})
    assert perceived(open_question, 1, random.Random(1)).question == text
    given = q.model_copy(
        update={"options": ["A. hum", "B. echo"], "question": "Which? A. hum B. echo", "answer": "B. echo"}
    )
    assert perceived(given, 1, random.Random(1)) == Branch("audio", "Which? A. hum B. echo", "", "B. echo")
