"""Options read from log-probabilities: one forward gives what a forward per option gives."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from eval.probes import StageOne
from eval.questions.readout import Readout, answer_pool, best, choice, decisive, option_scores
from mllm_avqa.model.prompting import Branch, prefix_segments
from mllm_avqa.model.rows import collate, pack
from mllm_avqa.model.scoring import on_device
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.records import Question, Record

KIND = Readout("kind", "video", "What is wrong? A. blur B. noise", ("A. blur", "B. noise"), 1)
SEVERITY = Readout("severity", "audio", "How severe is the hum?", ("none", "moderate", "severe"), 0)


def question(task="severity", answer="severe", options=None, language="en"):
    return Question(stage=1, task=task, aspect="audio", language=language, question="?", answer=answer, options=options)


def record(*questions):
    return Record(id="r", media="m.mp4", dataset="d", group="g", questions=list(questions))


@pytest.fixture
def encoded(tiny, views, facts):
    media = tiny.media_tensors(views)
    return [tiny.encode_segment(s, media) for s in prefix_segments(views, facts, None)], media


@pytest.mark.parametrize("rule", ["logprob", "mean"])
def test_one_forward_equals_one_per_option(tiny, encoded, rule):
    segments, media = encoded
    together = option_scores(tiny, segments, media, [KIND, SEVERITY], True, rule)
    for c, values in zip([KIND, SEVERITY], together, strict=True):
        assert len(values) == len(c.options)
        for option, value in zip(c.options, values, strict=True):
            branch = tiny.encode_branch(Branch(c.aspect, c.question, "", option))
            row = pack(segments, [branch], media, True)
            with torch.inference_mode():
                hidden = tiny.hidden(on_device(collate([row], tiny.tokenizer.pad_token_id), tiny))
                logits = tiny.head()(hidden.last_hidden_state[0]).float()
            first = row.starts[0] + branch.stem_end
            answer = branch.ids[branch.stem_end + 1 :]
            assert answer[-1] == tiny.end_id
            # analytic: log p(token | what is before it) of the letter, or of all tokens
            parts = [float(torch.log_softmax(logits[first + k], -1)[t]) for k, t in enumerate(answer)]
            wanted = parts[0] if c is KIND else sum(parts)
            assert value == pytest.approx(sum(parts) / len(parts) if rule == "mean" else wanted, abs=1e-4)


def test_the_letter_alone_decides_wherever_it_stands():
    # A, B; then their names; the end. "(" before the letters, as in "(A) blur".
    a, b, end, bracket = [10, 30, 31], [11, 32], 2, 5
    assert decisive([[*a, end], [*b, end]], True, "logprob") == [[10], [11]]
    assert decisive([[bracket, *a, end], [bracket, *b, end]], True, "logprob") == [[bracket, 10], [bracket, 11]]
    assert decisive([[*a, end], [*b, end]], True, "mean") == [[*a, end], [*b, end]]
    assert decisive([[40, end], [40, 41, end]], False, "logprob") == [[40, end], [40, 41, end]]


def test_a_rare_name_behind_a_letter_costs_nothing(tiny, encoded):
    segments, media = encoded
    long = Readout("kind", "video", KIND.question, ("A. blur", "B. a rare fault of the picture that nobody names"), 1)
    short, rare = option_scores(tiny, segments, media, [KIND, long], True)
    assert short == pytest.approx(rare, abs=1e-4)
    by_mean = option_scores(tiny, segments, media, [KIND, long], True, "mean")
    assert by_mean[0][1] != pytest.approx(by_mean[1][1], abs=1e-3)


def test_a_model_that_was_pushed_towards_an_option_chooses_it(tiny, encoded):
    segments, media = encoded
    head = tiny.head()
    favourite = torch.tensor(tiny.text_ids("moderate"))  # all its tokens, however many the tokenizer makes of it
    handle = head.register_forward_hook(
        lambda m, i, out: out.index_add(-1, favourite, torch.full((*out.shape[:-1], len(favourite)), 30.0))
    )
    try:
        values = option_scores(tiny, segments, media, [SEVERITY], True)[0]
    finally:
        handle.remove()
    assert SEVERITY.options[best(values)] == "moderate"


def test_small_answer_sets_are_offered_whole_and_large_ones_drawn():
    pool = answer_pool([record(*(question(answer=a) for a in ("none", "severe", "faint")))])
    c = choice(question(answer="severe"), pool, "s")
    assert c.options == ("faint", "none", "severe")
    assert c.options[c.right] == "severe"
    many = answer_pool([record(*(question("when", f"from {i} to {i + 1} s") for i in range(30)))])
    c = choice(question("when", "from 3 to 4 s"), many, "s")
    assert len(c.options) == 4
    assert c.options[c.right] == "from 3 to 4 s"
    assert c == choice(question("when", "from 3 to 4 s"), many, "s")


def test_languages_are_not_mixed_and_a_lone_answer_is_no_choice():
    pool = answer_pool([record(question(answer="none"), question(answer="无", language="zh"))])
    assert pool == {("severity", "en"): ["none"], ("severity", "zh"): ["无"]}
    assert choice(question(answer="none"), pool, "s") is None


def test_own_options_must_hold_the_answer():
    c = choice(question("kind", "B. hum", ["A. echo", "B. hum"]), {}, "s")
    assert (c.options, c.right) == (("A. echo", "B. hum"), 1)
    with pytest.raises(ConfigError, match="not among its options"):
        choice(question("kind", "C. clicks", ["A. echo", "B. hum"]), {}, "s")


@pytest.mark.parametrize(
    ("options", "lettered"),
    [
        (["A. the picture", "B. the sound"], True),
        (["A、画面", "B、声音"], True),
        (["(A) blur", "(B) noise", "(C) no fault"], True),
        (["none", "moderate", "severe"], False),
        (["A. Dvořák", "Bach"], False),
        (["B. noise", "A. blur"], False),  # not the letters of their places
        (["AMR coding", "Banding"], False),
    ],
)
def test_a_choice_knows_whether_its_options_have_letters(options, lettered):
    assert choice(question("modality", options[0], options), {}, "s").lettered is lettered


def test_commonest_answer_is_counted_where_answers_have_no_letters(tiny, encoded):
    segments, media = encoded
    shuffled, tasks = ["A. the first", "B. the second"], ("kind", "modality", "time", "where", "sync")
    asked = [question(task, shuffled[0], shuffled) for task in tasks]
    clip = record(*asked, question(answer="none"), question(answer="severe"), question(answer="none"))
    corridor = SimpleNamespace(encode=lambda window, language, remember: (segments, media, []))
    rater = SimpleNamespace(backbone=tiny, card=SimpleNamespace(isolate=True), corridor=corridor)
    stage = StageOne([clip])
    stage.add(rater, SimpleNamespace(record=clip, windows=[None]), "en")
    report = stage.report()
    assert {t: report[t]["commonest"] for t in tasks} == dict.fromkeys(tasks)
    assert (report["severity"]["commonest"], report["severity"]["n"]) == (0.6667, 3)
