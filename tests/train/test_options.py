"""Shuffled options: the same names, another order, the answer still right."""

import random

from mllm_avqa.records import Question
from train.options import shuffled

OPTIONS = ["A. hum", "B. clicks", "C. no fault", "D. white noise"]


def lettered(joint: str = " ") -> Question:
    text = "Which fault is it? " + joint.join(OPTIONS)
    return Question(stage=1, task="kind", aspect="audio", question=text, options=OPTIONS, answer="B. clicks")


def test_the_answer_moves_with_its_name():
    seen = set()
    for k in range(40):
        q = shuffled(lettered(), random.Random(k))
        assert q.options is not None
        assert sorted(o[3:] for o in q.options) == sorted(o[3:] for o in OPTIONS)
        assert q.answer in q.options
        assert q.answer.endswith(". clicks")
        assert q.question == "Which fault is it? " + " ".join(q.options)
        seen.add(q.answer[0])
    assert seen == set("ABCD")


def test_the_joint_of_the_options_is_kept():
    q = shuffled(lettered("; "), random.Random(1))
    assert q.options is not None
    assert q.question.endswith("; ".join(q.options))


def test_unlettered_and_unknown_layouts_come_back_as_they_are():
    plain = Question(stage=1, task="fault", aspect="audio", question="Any fault?", answer="yes", options=["yes", "no"])
    assert shuffled(plain, random.Random(0)) is plain
    hidden = lettered().model_copy(update={"question": "Which of the above?"})
    assert shuffled(hidden, random.Random(0)) is hidden
