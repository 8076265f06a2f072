"""Questions: balance, truth against the record, both languages, length, determinism."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from data_recipes.distortions import REGISTRY, kinds
from data_recipes.questions import Style, alike, describe_clip, lists, questions, short
from data_recipes.questions.facts import known
from data_recipes.questions.short import length
from data_recipes.synthesis.pseudo_mos import labels
from mllm_avqa.model.prompting import list_branch, load_prompts
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.levels import WORDS, word
from mllm_avqa.schema.records import Distortion, Record

SECONDS = 4.0


def record(rng: Random) -> Record:
    """A random clip in the proportions of the nano recipe."""
    present = ["video", "audio", *(["sync"] if rng.random() < 0.4 else []), *(["text"] if rng.random() < 0.2 else [])]
    faults = []
    for modality in present:
        if rng.random() < {"video": 0.7, "audio": 0.7, "sync": 0.3, "text": 0.6}[modality]:
            kind = rng.choice(kinds(modality))
            start, end = (
                (0.0, SECONDS) if kind.whole_clip or rng.random() < 0.7 else (rng.uniform(0, 2), rng.uniform(2.5, 4))
            )
            faults.append(
                Distortion(kind=kind.kind, modality=kind.modality, level=rng.randint(1, 5), start=start, end=end)
            )
    return Record(
        id="r", media="r.mp4", start=0.0, end=SECONDS, dataset="d", group="g",
        labels=labels(faults, SECONDS, present), distortions=faults,
    )  # fmt: skip


@pytest.fixture(scope="module")
def records() -> list[Record]:
    rng = Random(3)
    return [record(rng) for _ in range(600)]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_kind_has_its_own_name(language: str) -> None:
    names = load_prompts("questions", language)["names"]
    assert {k.kind for k in kinds(named=REGISTRY)} == set(names)
    assert len(set(names.values())) == len(names)


def test_languages_have_the_same_shape() -> None:
    def shape(node: object) -> object:
        return {k: shape(v) for k, v in node.items()} if isinstance(node, dict) else type(node).__name__

    assert shape(dict(load_prompts("questions", "en"))) == shape(dict(load_prompts("questions", "zh")))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_yes_and_no_are_balanced_and_true(records: list[Record], language: str) -> None:
    words = load_prompts("questions", language)
    kind_of = {name: kind for kind, name in words["names"].items()}
    counts: Counter[str] = Counter()
    for i, r in enumerate(records):
        for q in questions(r, Random(i), language, 1, 6):  # type: ignore[arg-type]
            if q.task != "presence":
                continue
            counts[q.answer] += 1
            # the longest name that occurs: "noise" is part of "white noise"
            kind = kind_of[max((n for n in kind_of if n in q.question), key=len)]
            here = {d.kind for d in r.distortions if d.modality == q.aspect}
            if q.answer == words["answers"]["yes"]:
                assert kind in here, q
            else:
                assert not any(kind in alike(k) for k in here), q
    share = counts[words["answers"]["yes"]] / sum(counts.values())
    assert sum(counts.values()) > 300
    assert 0.42 < share < 0.58


@pytest.mark.parametrize("style", ["short", "steps"])
def test_the_right_option_is_everywhere_and_right(records: list[Record], style: Style) -> None:
    words = load_prompts("questions", "en")
    places: Counter[int] = Counter()
    for i, r in enumerate(records):
        for q in questions(r, Random(i), "en", 1, 6, style):
            if q.task != "kind":
                continue
            assert q.options is not None
            assert all(o[1:3] == ". " for o in q.options) == (style == "steps")  # letters are for benchmarks
            assert q.answer in q.options
            assert all(o in q.question for o in q.options)
            names = {words["names"][d.kind] for d in r.distortions if d.modality == q.aspect}
            assert q.answer.split(". ", 1)[-1] in (names or {words["answers"]["none"]})
            others = {o.split(". ", 1)[-1] for o in q.options if o != q.answer}
            assert not others & names
            if len(q.options) == 4:
                places[q.options.index(q.answer)] += 1
    assert len(places) == 4
    assert max(places.values()) < 1.5 * min(places.values())


def test_severity_when_and_worse_agree_with_the_record() -> None:
    faults = [
        Distortion(kind="gblur", modality="video", level=4, start=1.2, end=2.6),
        Distortion(kind="hum", modality="audio", level=1, start=0.0, end=SECONDS),
    ]
    r = Record(
        id="r", media="m", start=0.0, end=SECONDS, dataset="d", group="g",
        labels=labels(faults, SECONDS, ["video", "audio"]), distortions=faults,
    )  # fmt: skip
    asked = {(q.task, q.aspect, q.answer) for i in range(80) for q in questions(r, Random(i), "en", 1, 6)}
    assert {a for t, s, a in asked if t == "severity" and s == "video"} == {"strong"}
    assert {a for t, s, a in asked if t == "severity" and s == "audio"} == {"faint"}
    assert {a for t, s, a in asked if t == "when" and s == "video"} == {"from 1 to 2.5 s"}
    assert {a for t, s, a in asked if t == "when" and s == "audio"} == {"throughout"}
    assert {a for t, _, a in asked if t == "worse"} == {"picture"}
    assert {s for t, s, _ in asked if t == "worse"} == {"overall"}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_levels_are_the_words_of_the_labels(records: list[Record], language: str) -> None:
    for r in records[:50]:
        asked = questions(r, Random(0), language, 2, 9)  # type: ignore[arg-type]
        assert {q.aspect for q in asked} == set(r.labels)
        for q in asked:
            assert q.answer in WORDS
            assert q.answer == word(r.labels[q.aspect or ""].mean)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_descriptions_are_short_and_end_with_the_overall_level(records: list[Record], language: str) -> None:
    words = load_prompts("questions", language)
    for i, r in enumerate(records):
        whole = questions(r, Random(i), language, 3, 3)[0]  # type: ignore[arg-type]
        assert whole.task == "describe"
        assert whole.aspect == "overall"
        assert length(whole.answer, language) <= 60
        assert word(r.labels["overall"].mean) in whole.answer.replace("。", ".").rstrip(".").split(".")[-1]
        if not r.distortions:
            assert any(c in whole.answer for c in words["describe"]["nokey"])


def test_a_side_with_faults_is_never_called_clean() -> None:
    # so many faults that some sentences have to go
    faults = [
        Distortion(kind=k.kind, modality=m, level=3, start=0.5, end=1.5)
        for m in ("video", "audio")
        for k in kinds(m)[:6]
    ]
    r = Record(
        id="r", media="m", start=0.0, end=SECONDS, dataset="d", group="g",
        labels=labels(faults, SECONDS, ["video", "audio"]), distortions=faults,
    )  # fmt: skip
    clean = load_prompts("questions", "en")["describe"]["clean"]
    for i in range(20):
        text = describe_clip(r, Random(i), "en")
        assert length(text, "en") <= 60
        assert not any(c in text for c in (*clean["video"], *clean["audio"]))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_poor_source_without_a_made_fault_is_not_called_clean(language: str) -> None:
    r = Record(
        id="r", media="m", start=0.0, end=SECONDS, dataset="d", group="g",
        labels=labels([], SECONDS, ["video", "audio"], {"video": 3.4}),
    )  # fmt: skip
    words = load_prompts("questions", language)
    for i in range(40):
        text = describe_clip(r, Random(i), language)  # type: ignore[arg-type]
        assert not any(c in text for c in (*words["describe"]["clean"]["video"], *words["describe"]["nokey"]))
        assert "fair" in text
        asked = questions(r, Random(i), language, 1, 6)  # type: ignore[arg-type]
        assert not [q for q in asked if q.aspect == "video"]


def test_side_questions_do_not_leak_the_other_side(records: list[Record]) -> None:
    """A question about the picture has the same answer whatever happens to the sound."""
    words = load_prompts("questions", "en")
    for r in records[:100]:
        for q in questions(r, Random(1), "en", 3, 5):
            if q.aspect in ("video", "audio"):
                others = {words["names"][d.kind] for d in r.distortions if d.modality != q.aspect}
                mine = {words["names"][d.kind] for d in r.distortions if d.modality == q.aspect}
                assert not any(o in q.answer for o in others if not any(o in m for m in mine)), q


@pytest.mark.parametrize("language", ["en", "zh"])
def test_lists_name_the_faults_of_every_known_side_as_descriptions_do(records: list[Record], language: str) -> None:
    words = load_prompts("questions", language)
    for r in records[:200]:
        made = lists(r, language)  # type: ignore[arg-type]
        assert [q.aspect for q in made] == known(r)
        assert made == [q for q in questions(r, Random(0), language, 3, 1) if q.task == "list"]  # type: ignore[arg-type]
        for q in made:
            mine = [d for d in r.distortions if d.modality == q.aspect]
            assert (q.answer == words["answers"]["none"]) == (not mine)
            assert all(words["names"][d.kind] in q.answer for d in mine[:3])
            text = short.describe_aspect(r, q.aspect or "", Random(0), words)
            assert not mine or q.answer in text
            assert q.question == list_branch(q.aspect or "", language).question


def test_same_seed_same_questions_other_seed_others(records: list[Record]) -> None:
    for stage in (1, 2, 3):
        once = questions(records[0], Random(5), "en", stage, 3)  # type: ignore[arg-type]
        assert once == questions(records[0], Random(5), "en", stage, 3)  # type: ignore[arg-type]
    assert len({questions(records[0], Random(i), "en", 1, 1)[0].question for i in range(30)}) > 10


def test_stage_and_label_errors_are_typed(records: list[Record]) -> None:
    with pytest.raises(ConfigError, match="stage 4"):
        questions(records[0], Random(0), "en", 4, 1)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="overall label"):
        describe_clip(records[0].model_copy(update={"labels": {}}), Random(0), "en")
    assert questions(records[0].model_copy(update={"labels": {}}), Random(0), "en", 1, 3) == []
