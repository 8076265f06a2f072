"""Data files of the benchmarks as items: formats, traps, and how a question is put."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
import yaml

from eval.questions.readers import direction, read_items, right_option, split_pair
from eval.questions.task import Task, TaskItem, ask, load_task, names, sides
from mllm_avqa.model.prompting import load_prompts
from mllm_avqa.schema.bench_item import BenchItem, write_bench
from mllm_avqa.schema.errors import ConfigError

LLVISIONQA = Path(__file__).parents[3] / "shared" / "fixtures" / "qbench" / "llvisionqa_dev.json"
A1 = {
    "type": 1,
    "concern": 2,
    "question": "What is wrong?",
    "img_path": "a.jpg",
    "candidates": ["Noise", "Blur", "Haze"],
    "correct_ans": "Blur",
}


def save(path, rows):
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def a1(tmp_path, **changes):
    row = {k: v for k, v in (A1 | changes).items() if v is not ...}
    return read_items(load_task("qbench_a1"), save(tmp_path / "d.json", [row]))[0]


# ---- tasks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["qbench_a1", "qbench_a2", "qbench_a3", "qbench_video", "av_questions"])
def test_every_task_is_a_short_file_whose_words_exist(name):
    task = load_task(name)
    assert task.name == name
    assert name in names()
    for language in ("en", "zh"):
        words = load_prompts("bench", language)
        assert task.form in words["forms"]
        assert set(task.judge) <= set(load_prompts("judge", language)["bench"])


def test_both_languages_have_the_same_keys():
    def keys(x, at=""):
        return {at} | {k for n, v in x.items() for k in keys(v, f"{at}/{n}")} if isinstance(x, dict) else {at}

    assert keys(load_prompts("bench", "en")) == keys(load_prompts("bench", "zh"))


def test_a_task_can_be_a_file_and_unknown_ones_are_refused(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump({"name": "own", "version": "1", "about": "", "source": "", "licence": ""}))
    assert load_task(str(path)).name == "own"
    path.write_text("name: own\nextra: 1\n")
    with pytest.raises(ConfigError, match=r"own\.yaml"):
        load_task(str(path))
    path.write_text("name: [")
    with pytest.raises(ConfigError, match=r"own\.yaml"):
        load_task(str(path))
    with pytest.raises(ConfigError, match="qbench_a1"):
        load_task("nothing")


# ---- Q-Bench A1 -----------------------------------------------------------------------------------------------------


def test_a1_row(tmp_path):
    item = a1(tmp_path)
    assert (item.media, item.options, item.right) == (("a.jpg",), ("Noise", "Blur", "Haze"), 1)
    assert item.groups == {"type": "what", "concern": "in-context distortion"}
    assert item.aspect == "video"


def test_a_withheld_key_is_no_key(tmp_path):
    assert a1(tmp_path, correct_ans=...).right is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"type": 7}, "known: 0, 1, 2"),
        ({"candidates": ["one"]}, "two or more"),
        ({"candidates": ["Noise", "noise"]}, "twice"),
        ({"correct_ans": "Banding"}, "not among the options"),
        ({"img_path": ...}, "no 'img_path'"),
        ({"concern": ...}, "no 'concern'"),
    ],
)
def test_rows_that_are_no_items_are_refused_with_their_place(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message) as e:
        a1(tmp_path, **changes)
    assert "d.json: row 0" in str(e.value)


def test_lines_byte_order_mark_and_files_that_are_neither(tmp_path):
    task, path = load_task("qbench_a1"), tmp_path / "d.jsonl"
    path.write_text("\ufeff" + json.dumps(A1) + "\n\n" + json.dumps(A1) + "\n", encoding="utf-8")
    assert [i.id for i in read_items(task, path)] == ["0", "1"]
    for content, message in (
        ("[1]", "not an object"),
        ('[{"a": "\\ud800"}]', "not a character"),
        ("[", "not JSON"),
        ("[]", "no items"),
    ):
        path.write_text(content)
        with pytest.raises(ConfigError, match=message):
            read_items(task, path)
    with pytest.raises(ConfigError, match="does not exist"):
        read_items(task, tmp_path / "none.json")
    with pytest.raises(ConfigError, match="is a folder"):
        read_items(task, tmp_path)


def test_ids_must_differ(tmp_path):
    task = load_task("qbench_a1").model_copy(update={"fields": load_task("qbench_a1").fields.model_copy()})
    task.fields.id = "img_path"
    with pytest.raises(ConfigError, match=r"id 'a\.jpg'"):
        read_items(task, save(tmp_path / "d.json", [A1, A1]))


@pytest.mark.parametrize("key", ["Blur", " blur ", "B", "b.", 1])
def test_a_key_is_a_text_a_letter_or_a_place(key):
    assert right_option(key, ["Noise", "Blur"], "x") == 1


def test_a_text_wins_over_a_letter():
    assert right_option("A", ["B", "A"], "x") == 1
    for key in ("C", 2, -1, "", "AB", True):
        with pytest.raises(ConfigError, match="x: the right answer"):
            right_option(key, ["Noise", "Blur"], "x")


@pytest.mark.skipif(not LLVISIONQA.is_file(), reason="the Q-Bench file is not here")
def test_the_published_dev_set_reads_completely():
    items = read_items(load_task("qbench_a1"), LLVISIONQA)
    assert len(items) == 1495  # published: size of the dev set
    assert all(i.right is not None for i in items)
    assert Counter(i.groups["type"] for i in items) == {"yes-no": 550, "how": 493, "what": 452}
    assert Counter(i.right for i in items) == {0: 562, 1: 558, 2: 287, 3: 88}  # what the task's note says


# ---- A2, A3 ---------------------------------------------------------------------------------------------------------


def test_a2_takes_a_folder_or_rows(tmp_path):
    for name in ("b.PNG", "a.jpg", "notes.txt"):
        (tmp_path / name).touch()
    task = load_task("qbench_a2")
    assert [i.media for i in read_items(task, tmp_path)] == [("a.jpg",), ("b.PNG",)]
    rows = [{"img_path": "a.jpg", "reference": "Blurred."}, {"img_path": "b.PNG"}]
    assert [i.reference for i in read_items(task, save(tmp_path / "d.json", rows))] == ["Blurred.", None]


def test_a3_scores_are_numbers(tmp_path):
    task = load_task("qbench_a3")
    rows = [{"img_path": "a.jpg", "gt_score": "3.5"}, {"img_path": "b.jpg", "gt_score": 2}]
    assert [i.score for i in read_items(task, save(tmp_path / "d.json", rows))] == [3.5, 2.0]
    with pytest.raises(ConfigError, match="gt_score is 'x', not a number"):
        read_items(task, save(tmp_path / "d.json", [{"img_path": "a.jpg", "gt_score": "x"}]))


# ---- Q-Bench-Video --------------------------------------------------------------------------------------------------


def video_row(**changes):
    row = {
        "video_name": "a.mp4",
        "question": "Is the video stable?",
        "answers": ["Yes", "No"],
        "video_type": "Natural",
        "question_type": "yes-or-no",
        "context": "Global",
        "correct_choice": "B",
    }
    return row | changes


def test_q_bench_video_rows(tmp_path):
    pair = {"video_name": "a.mp4_cat_b.mp4.mp4", "context": ["Compare", "Coarse"]}
    better = {"question": "Which video has better overall quality?", "answers": ["The first", "The second"]}
    rows = [
        video_row(),
        video_row(question_type=["open_ended", "what/how"], answers=[], correct_choice="It shakes."),
        video_row(question_type="open_ended", answers="It shakes.", correct_choice=None),
        video_row(question_type="open_ended", answers=["It shakes."], correct_choice=None),
        video_row(question_type="open_ended", answers=[], correct_choice=""),
        video_row(**pair, **better),
        video_row(**pair),
        video_row(**pair, question_type="open_ended"),
    ]
    items = read_items(load_task("qbench_video"), save(tmp_path / "d.json", rows))
    assert (items[0].options, items[0].right) == (("Yes", "No"), 1)
    assert items[0].groups == {"type": "yes-or-no", "video": "Natural", "context": "Global"}
    assert [i.reference for i in items[1:5]] == ["It shakes.", "It shakes.", "It shakes.", None]
    assert all(i.options == () for i in items[1:5])
    assert items[5].media == ("a.mp4", "b.mp4")
    assert items[5].groups["context"] == "Compare/Coarse"
    assert [i.compare for i in items[5:]] == ["better", None, None]


@pytest.mark.parametrize(
    ("name", "media"),
    [
        ("a.mp4_cat_b.mp4.mp4", ("a.mp4", "b.mp4")),
        ("a.mp4_cat_b.mp4", ("a.mp4", "b.mp4")),
        ("a_cat_b.mp4", ("a.mp4", "b.mp4")),
        ("cat.mp4", ("cat.mp4",)),
        ("v1.2_cat_w.mp4", ("v1.2", "w.mp4")),  # a name with a full stop is taken as it is: the file decides
    ],
)
def test_names_of_pairs(name, media):
    assert split_pair(name) == media


@pytest.mark.parametrize(
    ("question", "wanted"),
    [
        ("Which video has better overall quality?", "better"),
        ("Of the two, whose visual quality is higher?", "better"),
        ("Which one is of poorer quality?", "worse"),
        ("Which video has better sharpness and quality?", None),  # a part of the quality is not the score
        ("Which video has more noise?", None),
        ("Is the quality the same?", None),
        ("Does the worse video have the better quality?", None),
    ],
)
def test_which_comparisons_ask_for_the_quality_as_a_whole(question, wanted):
    assert direction(question, "en") == wanted


# ---- the bench of this project --------------------------------------------------------------------------------------


def test_av_bench_items(tmp_path):
    made = BenchItem(
        id="x", media="a.mp4", media_b="b.mp4", question="Which clip is better?",
        options=["the second", "the first", "about the same"], correct=1, question_type="compare", modality="audio",
        concern="quality", context={"user": "t"}, time_span=(0.0, 3.0), source="s",
    )  # fmt: skip
    single = made.model_copy(update={"id": "y", "media_b": None, "question_type": "what", "context": {}})
    write_bench(tmp_path / "b.jsonl", [made, single])
    pair, one = read_items(load_task("av_questions"), tmp_path / "b.jsonl")
    assert (pair.media, pair.spans, pair.compare) == (("a.mp4", "b.mp4"), ((0.0, 3.0), None), "better")
    assert pair.groups == {"type": "compare", "modality": "audio", "concern": "quality", "context": "given"}
    assert sides(pair) == {"second": 0, "first": 1, "same": 2}
    assert (one.media, one.compare, one.groups["context"]) == (("a.mp4",), None, "none")


# ---- wording --------------------------------------------------------------------------------------------------------


def item(*options, kind="what", question="What?"):
    return TaskItem("i", ("a.mp4",), question, options, 0, groups={"type": kind})


def task(**settings):
    return Task(name="t", version="1", about="", source="", licence="", **settings)


def test_as_many_rotations_as_options_put_each_at_every_place():
    orders = ask(item("x", "y", "z"), task(form="qbench"), 9)
    assert [a.order for a in orders] == [(0, 1, 2), (1, 2, 0), (2, 0, 1)]
    assert orders[1].text == "What?\nChoose between one of the options as follows:\nA. y\nB. z\nC. x"
    assert orders[1].answers == ("A. y", "B. z", "C. x")
    assert orders[1].options == ("y", "z", "x")


def test_forms():
    assert ask(item("x", "y"), task(form="compact"), 1)[0].text == "What? A. x B. y"
    assert ask(item("x", "y"), task(form="letter"), 1)[0].answers == ("A.", "B.")
    plain = ask(item("x", "y", kind="how"), task(form="compact", plain=["how"]), 4)
    assert [(a.text, a.answers, a.lettered) for a in plain] == [("What?", ("x", "y"), False)]  # no order to rotate
    with pytest.raises(ConfigError, match="form 'odd' is not one of"):
        ask(item("x", "y"), task(form="odd"), 1)
    with pytest.raises(ConfigError, match="at most 10"):
        ask(item(*map(str, range(11))), task(), 1)


def test_braces_in_a_question_or_an_option_stay():
    odd = item("{letter}", "{question}", question="{options} {x}")
    assert ask(odd, task(form="compact"), 1)[0].text == "{options} {x} A. {letter} B. {question}"


@pytest.mark.parametrize(
    "options", [("left", "right"), ("The first", "The first one"), ("first", "same"), ("the first or second", "second")]
)
def test_options_that_do_not_name_both_clips(options):
    assert sides(item(*options)) is None
