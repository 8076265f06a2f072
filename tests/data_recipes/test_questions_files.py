"""Comparisons of two clips, and the command that asks about a whole record file."""

from __future__ import annotations

import json
from collections import Counter
from random import Random

import pytest
from question_records import clip, fault, some_clips
from typer.testing import CliRunner

from data_recipes.__main__ import app
from data_recipes.questions.facts import score
from data_recipes.questions.reading import read
from data_recipes.questions.stage2 import BETTER, EQUAL, compare, pairs
from mllm_avqa.model.prompting import load_prompts
from mllm_avqa.schema.records import read_records, write_records

CLIPS = some_clips(200)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_comparisons_are_true_and_balanced(language):
    c = load_prompts("tasks", language)["compare"]
    outcomes, same_content = Counter(), Counter()
    for first, second, q in pairs(CLIPS, Random(1), language, 200):
        gap = score(first, q.aspect) - score(second, q.aspect)
        assert abs(gap) < EQUAL or abs(gap) >= BETTER
        assert first.split == second.split and first.dataset == second.dataset and first.id != second.id
        assert (q.stage, q.other) == (2, second.id)
        outcome = "same" if abs(gap) < EQUAL else "first" if gap > 0 else "second"
        same_content[first.group == second.group] += 1
        if q.task == "compare":
            assert q.answer == c[outcome]
            assert q.options == [c["first"], c["second"], c["same"]]
            outcomes[outcome] += 1
        elif outcome != "same":
            better = c["names"][outcome]
            loser = c["names"]["second" if outcome == "first" else "first"]
            assert better in q.answer
            assert loser not in q.answer or q.answer.index(better) < q.answer.index(loser)
    assert same_content[True] > 60 and same_content[False] > 60
    assert abs(outcomes["first"] - outcomes["second"]) < 0.35 * outcomes["first"]
    assert outcomes["same"] > 0


def test_the_reason_is_a_fault_that_only_the_loser_has():
    blurred = clip([fault("gblur", "video", 4), fault("gnoise", "video", 5)], name="a")
    noisy = clip([fault("gnoise", "video", 5)], name="b")
    words = load_prompts("questions", "en")
    for seed in range(20):
        for first, second, loser in ((blurred, noisy, "first"), (noisy, blurred, "second")):
            q = compare(first, second, "video", Random(seed), words, why=True)
            assert {k for kinds, *_ in read(q.answer, "en").faults for k in kinds} == {"gblur"}
            assert f"the {loser}" in q.answer


def test_clips_of_two_studies_are_not_compared():
    other = [r.model_copy(update={"dataset": "e"}) for r in CLIPS[:1]]
    assert not list(pairs([CLIPS[50], *other], Random(0), "en", 10))


@pytest.fixture
def files(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    write_records(tmp_path / "in" / "records.jsonl", CLIPS)
    return tmp_path / "in" / "records.jsonl", tmp_path / "out" / "asked.jsonl"


def run(*arguments):
    return CliRunner().invoke(app, ["questions", *map(str, arguments)])


def test_a_file_is_balanced_and_repeatable(files):
    source, out = files
    done = run(source, "-o", out, "--pairs", 40, "--count", "5,2,1")
    assert done.exit_code == 0, done.stderr
    numbers = json.loads(done.stdout)
    first = out.read_bytes()
    records = list(read_records(out))
    assert numbers["records"] == len(records) == len(CLIPS)
    assert numbers["questions"] == sum(len(r.questions) for r in records)
    assert numbers["repeated_descriptions"] == 0
    for language in ("en", "zh"):
        answers = load_prompts("questions", language)["answers"]
        counts: dict[str, Counter[str]] = {}
        for r in records:
            for q in r.questions:
                if q.language == language and q.answer in (answers["yes"], answers["no"]):
                    counts.setdefault(q.task, Counter())[q.answer] += 1
        for task, c in counts.items():
            assert abs(c[answers["yes"]] - c[answers["no"]]) <= 2, (language, task, c)
        assert {"presence", "fault", "on_time"} <= set(counts)
    assert sum(q.other is not None for r in records for q in r.questions) == 80
    assert records[0].media == "../in/clips/c0.mp4"
    assert all(r.description for r in records)
    run(source, "-o", out, "--pairs", 40, "--count", "5,2,1")
    assert out.read_bytes() == first
    run(source, "-o", out, "--pairs", 40, "--count", "5,2,1", "--seed", 1)
    assert out.read_bytes() != first


def test_what_is_not_asked_anew_stays(files):
    source, out = files
    assert run(source, "-o", out, "--style", "short").exit_code == 0
    before = list(read_records(out))
    assert run(out, "-o", out, "--stages", "2", "--languages", "zh").exit_code == 0
    for a, b in zip(before, read_records(out), strict=True):
        assert [q for q in a.questions if (q.stage, q.language) != (2, "zh")] == [
            q for q in b.questions if (q.stage, q.language) != (2, "zh")
        ]
        assert (a.media, a.description) == (b.media, b.description)


@pytest.mark.parametrize(
    ("arguments", "flag"),
    [
        (["--style", "long"], "--style"),
        (["--stages", "4"], "--stages"),
        (["--languages", "fr"], "--languages"),
        (["--count", "many"], "--count"),
        (["--count", "1,2"], "--count"),
    ],
)
def test_refusals_name_the_flag(files, arguments, flag):
    done = run(files[0], "-o", files[1], *arguments)
    assert done.exit_code == 2
    assert flag in done.stderr
    assert not files[1].exists()
