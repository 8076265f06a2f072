import numpy as np
import pytest
import torch
from sample_views import make_views

from mllm_avqa.corridor import Corridor, Encoded
from mllm_avqa.model.prompting import SEES, Branch, aspect_branch, prefix_segments
from mllm_avqa.model.rows import collate, pack
from mllm_avqa.model.scoring import distribution, level_logits, level_token_ids
from mllm_avqa.schema.card import Card
from mllm_avqa.schema.errors import CheckpointError
from mllm_avqa.schema.levels import WORDS


def encoded(backbone, views, facts, context):
    media = backbone.media_tensors(views)
    return [backbone.encode_segment(s, media) for s in prefix_segments(views, facts, context)], media


@pytest.fixture
def corridor(tiny):
    return Corridor(tiny, Card(name="tiny", family="qwen2_5_omni"))


def test_distribution_agrees_with_numpy():
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0, -2.0])
    d = distribution(torch.log_softmax(logits, -1), float(np.log(0.25)))
    p = np.exp([2, 1, 0, -1, -2]) / np.exp([2, 1, 0, -1, -2]).sum()  # analytic
    mean = (p * [5, 4, 3, 2, 1]).sum()
    assert d.score == pytest.approx(mean, abs=1e-4)
    assert d.std == pytest.approx(np.sqrt((p * (np.array([5, 4, 3, 2, 1]) - mean) ** 2).sum()), abs=1e-4)
    assert d.level == "good"  # the grade nearest to 4.45, not the most probable one
    assert d.mass == pytest.approx(0.25)


def test_scores_do_not_depend_on_batch_or_order(corridor, tiny, facts, context):
    clips = [Encoded(*encoded(tiny, make_views(k, 0.4 + 0.2 * k), facts, context), list(SEES)) for k in range(3)]
    batch = corridor.score(clips)
    for i in (2, 0, 1):
        alone = corridor.score([clips[i]])[0]
        for a in SEES:
            assert batch[i][a].score == pytest.approx(alone[a].score, abs=1e-3)


def test_encode_gives_the_same_scores_and_leaves_its_cache_alone(corridor, tiny, views, facts, context):
    segments, media = encoded(tiny, views, facts, context)
    plain = corridor.score([Encoded(segments, media, list(SEES))])[0]
    scores, clip = corridor.hold(Encoded(segments, media, list(SEES)))
    assert {a: s.score for a, s in scores.items()} == pytest.approx({a: s.score for a, s in plain.items()}, abs=1e-4)
    before = clip.cache.get_seq_length()
    first = clip.generate(Branch("overall", "Why?", quoted=True), max_tokens=8)
    assert clip.cache.get_seq_length() == before == clip.row.prefix_length
    clip.generate(Branch("video", "What is wrong?", quoted=True), max_tokens=8)
    assert clip.generate(Branch("overall", "Why?", quoted=True), max_tokens=8) == first


def test_cached_generation_equals_full_forward(corridor, tiny, views, facts, context):
    segments, media = encoded(tiny, views, facts, context)
    _, clip = corridor.hold(Encoded(segments, media, list(SEES)))
    branch = Branch("audio", "What is wrong?")
    e = tiny.encode_branch(branch)
    ids = list(e.ids)
    with torch.inference_mode():
        for _ in range(5):  # greedy without any cache
            e.ids = ids
            row = pack(segments, [e], media)
            hidden = tiny.hidden(collate([row], 0)).last_hidden_state
            ids = [*ids, int(tiny.head()(hidden[0, -1]).argmax())]
    new = ids[-5:]
    if tiny.end_id in new:
        new = new[: new.index(tiny.end_id)]
    assert clip.generate(branch, max_tokens=5) == tiny.tokenizer.decode(new, skip_special_tokens=True).strip()


def test_level_ids_are_five_distinct_tokens_with_their_space(tiny):
    ids = level_token_ids(tiny, list(SEES))
    assert [tiny.tokenizer.decode([i]) for i in ids] == [f" {w}" for w in WORDS]


def test_a_tokenizer_that_splits_level_words_is_refused(tmp_path):
    from mllm_avqa.model.backbones import load_backbone
    from train.config import Size
    from train.nano.tiny import build
    from train.saving import save

    model, tokenizer = build(["qqq www"] * 5, Size(vocab=300, llm=(64, 1), vision=(64, 1), audio=(64, 1), heads=2))
    card = Card(name="split", family="qwen2_5_omni")
    save(model, tokenizer, card, tmp_path)
    with pytest.raises(CheckpointError, match=r"'excellent' is not a single token.*--checkpoint"):
        level_token_ids(load_backbone(tmp_path, card, torch.float32), card.aspects)


def test_log_softmax_survives_underflow():
    hidden = torch.eye(8)[:1] * 1e4
    head = torch.nn.Linear(8, 8, bias=False)
    torch.nn.init.eye_(head.weight)
    log_probs, log_mass = level_logits(hidden, head, [1, 2, 3, 4, 5])
    assert torch.isfinite(log_probs).all()
    assert log_probs.detach().exp().sum().item() == pytest.approx(1.0)
    assert log_mass.detach().item() < -1000  # the five tokens hold nothing: said, not hidden


def test_stems_differ_by_aspect():
    assert len({aspect_branch(a, lang).stem for a in SEES for lang in ("en", "zh")}) == 10


def test_no_question_has_no_likelihood(corridor, tiny, views, facts):
    _, clip = corridor.hold(Encoded(*encoded(tiny, views, facts, None), ["video"]))
    assert corridor.likelihoods(clip, []) == []
