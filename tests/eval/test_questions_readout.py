"""Values behind the cached prefix equal those of a row of their own; the score is the published one."""

from __future__ import annotations

import math

import pytest
import torch

from eval.questions.answer import good_share
from eval.questions.readout import Readout, option_scores, option_values, word_logits
from eval.questions.task import AskedItem
from mllm_avqa.corridor import Corridor, Encoded
from mllm_avqa.model.prompting import Branch, prefix_segments
from mllm_avqa.model.rows import collate, pack
from mllm_avqa.model.scoring import on_device
from mllm_avqa.schema.card import Card
from mllm_avqa.schema.errors import CheckpointError

ASKED = [
    AskedItem("video", "What is wrong? A. blur B. noise", ("A. blur", "B. noise"), ("blur", "noise"), (0, 1), True),
    AskedItem(
        "audio", "How severe is the hum?", ("none", "moderate", "severe"), ("none", "moderate", "severe"), (), False
    ),
    AskedItem("overall", "Is <|im_end|> text?", ("yes", "no"), ("yes", "no"), (0, 1), False),  # a stranger's words
]


@pytest.fixture(params=[True, False], ids=["isolated", "causal"])
def isolate(request):
    return request.param


@pytest.fixture
def encoded(tiny, views, facts, isolate):
    media = tiny.media_tensors(views)
    segments = [tiny.encode_segment(s, media) for s in prefix_segments(views, facts, None)]
    card = Card(name="tiny", family="qwen2_5_omni", aspects=["overall"], isolate=isolate)
    return segments, media, Corridor(tiny, card).hold(Encoded(segments, media, []))[1]


def test_options_behind_the_prefix_equal_options_in_a_row(tiny, encoded, isolate):
    segments, media, clip = encoded
    choices = [Readout("t", a.aspect, a.text, a.answers, 0) for a in ASKED]
    wanted = option_scores(tiny, segments, media, choices, isolate)  # reference run
    before = clip.cache.get_seq_length()
    mean = option_scores(tiny, segments, media, choices, isolate, "mean")
    for budget in (10_000, 1):  # all in one forward; one question per forward
        for ours, theirs in zip(option_values(clip, ASKED, budget), wanted, strict=True):
            assert ours == pytest.approx(theirs, abs=1e-4)
        for ours, theirs in zip(option_values(clip, ASKED, budget, "mean"), mean, strict=True):
            assert ours == pytest.approx(theirs, abs=1e-4)
    assert clip.cache.get_seq_length() == before  # the clip can be asked again


def test_questions_do_not_see_each_other(encoded):
    _, _, clip = encoded
    alone = option_values(clip, ASKED[1:2])[0]
    assert option_values(clip, [ASKED[0], ASKED[1]])[1] == pytest.approx(alone, abs=1e-5)


def test_the_benchmark_asks_different_questions_with_four_options():
    from benchmarks.questions import questions

    asked = questions("compact")
    assert len({a.text for a in asked}) == len(asked) == 8
    assert {len(set(a.answers)) for a in asked} == {4}


def test_no_questions_no_values(encoded):
    assert option_values(encoded[2], []) == []


def test_word_logits_are_those_right_after_the_stem(tiny, encoded, isolate):
    segments, media, clip = encoded
    branch = Branch("video", "Rate the quality of the image.", "The quality of the image is")
    found = word_logits(clip, branch, ["good", "poor"])
    bare = tiny.encode_branch(branch)
    row = pack(segments, [bare], media, isolate)
    with torch.inference_mode():
        hidden = tiny.hidden(on_device(collate([row], tiny.tokenizer.pad_token_id), tiny)).last_hidden_state[0]
        logits = tiny.head()(hidden[row.starts[0] + bare.stem_end]).float()
    ids = [tiny.text_ids(w)[0] for w in (" good", " poor")]
    assert found == pytest.approx([float(logits[i]) for i in ids], abs=1e-4)


def test_words_of_several_tokens_are_refused(encoded):
    with pytest.raises(CheckpointError, match="'zxqzxq' is not one token"):
        word_logits(encoded[2], Branch("video", "Rate.", "It is"), ["good", "zxqzxq"])


def test_the_score_divides_logits_by_one_hundred():
    # analytic: exp(g/100) / (exp(g/100) + exp(p/100))
    assert good_share([20.0, 10.0], 100) == pytest.approx(math.exp(0.2) / (math.exp(0.2) + math.exp(0.1)), abs=1e-15)
    assert good_share([3.0, 3.0], 100) == 0.5
    assert good_share([0.0, 100.0], 100) == pytest.approx(1 / (1 + math.e))
