"""Written answers are read strictly; every way to have none has its reason."""

from __future__ import annotations

import pytest

from eval.judging import Judgement, read_score
from eval.questions.answer import read_answer

FAULTS = ("Motion blur", "Noise", "Overexposure", "Blur")
YES_NO = ("Yes", "No")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("B", 1),
        ("b.", 1),
        (" B) ", 1),
        ("(B)", 1),
        ("(B) Noise", 1),
        ("B. Noise", 1),
        ("B: noise.", 1),
        ("**B. Noise**", 1),
        ("B. It is full of grain", 1),
        ("Noise", 1),
        ("NOISE!", 1),
        ("motion   blur", 0),
        ("A. motion blur, so it is not sharp", 0),  # the shorter "Blur" is inside the option's own text
        ("The answer is B.", 1),
        ("The correct answer is: (D) Blur", 3),
        ("Answer: noise", 1),
        ("Option C", 2),
        ("Ｂ．", 1),  # full-width forms
        ("Noise, mostly in the sky", 1),
        ("Noise\nbecause of the dark scene", 1),
    ],
)
def test_an_answer_that_names_one_option_is_read(text, place):
    assert read_answer(text, FAULTS).place == place


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        (" .\n", "empty"),
        ("E", "letter of no option"),
        ("E. Noise", "letter of no option"),
        ("A. Noise", "names more than one option"),  # letter and text disagree
        ("A. B.", "names more than one option"),
        ("A) or B)", "names more than one option"),
        ("Noise. Overexposure.", "names more than one option"),
        ("Noise, or A.", "names more than one option"),
        ("Noise and overexposure", "names more than one option"),
        ("The picture shows noise", "names no option"),  # a mention is no answer: it could be denied
        ("It is not noise", "names no option"),
        ("A man in the fog", "names no option"),  # an article, not a letter
        ("Banding", "names no option"),
        ("The answer", "names no option"),
        ("answering is hard", "names no option"),
    ],
)
def test_anything_else_is_no_answer(text, why):
    reading = read_answer(text, FAULTS)
    assert reading.place is None
    assert reading.why == why


def test_yes_and_no():
    assert read_answer("Yes, it is blurred.", YES_NO).place == 0
    assert read_answer("no.", YES_NO).place == 1
    assert read_answer("Yes and no", YES_NO).why == "names more than one option"
    assert read_answer("Not really", YES_NO).why == "names no option"


def test_letters_count_only_where_they_were_shown():
    assert read_answer("A", YES_NO).place == 0
    assert read_answer("A", YES_NO, lettered=False).why == "names no option"


def test_an_option_that_is_a_letter_is_its_text():
    assert read_answer("B", ("B", "A")).place == 0


def test_chinese():
    options = ("噪声", "模糊")
    assert read_answer("答案是B。", options, "zh").place == 1
    assert read_answer("模糊，因为对焦不准", options, "zh").place == 1
    assert read_answer("A：噪声", options, "zh").place == 0
    assert read_answer("不是噪声", options, "zh").why == "names no option"
    assert read_answer("噪声和模糊", options, "zh").why == "names more than one option"


@pytest.mark.parametrize(
    ("reply", "score"),
    [
        ("Score: 2", 2),
        ("score：0.", 0),
        (" 1 ", 1),
        ("**Score: 1**", 1),
        ("**Score**: 1", 1),
        ("2.0", 2),
        ("<think>Perhaps Score: 0? No: it names the blur.\nScore: 2 then.</think>\nScore: 1", 1),
        ("It names the blur.</think>Score: 2", 2),
        ('```json\n{"score": 2, "reason": "names the blur"}\n```', 2),
        ('{"Score": "1"}', 1),
        ("Here is my verdict:\n```\nScore: 0\n```", 0),
        ("The text names the blur, not the noise.\n\n**Final score: 1**", 1),
    ],
)
def test_judge_replies(reply, score):
    assert read_score(reply) == Judgement(score)


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ("Score: 3", "a score of 3, not 0, 1 or 2"),
        ("Score: -1", "a score of -1, not 0, 1 or 2"),
        ("Score: 1.5", "a score of 1.5, not 0, 1 or 2"),
        ('{"score": 20}', "a score of 20, not 0, 1 or 2"),
        ("2 of 2", "no score"),
        ("I'm sorry, but I can't help with rating this text.", "no score"),
        ("I would give it 2 points, or maybe 1.", "no score"),
        ('{"points": 2}', "no score"),
        ('{"score": null}', "no score"),
        ('{"score": true}', "no score"),
        ("Score: 1\nScore: 2", "several scores"),
        ("<think>Score: 2 would be fair, but", "cut off while thinking"),
        ("<think>Score: 2</think>", "empty, cut off or filtered"),
        ("", "empty, cut off or filtered"),
    ],
)
def test_what_holds_no_points_is_not_guessed(reply, why):
    assert read_score(reply) == Judgement(None, why)
