"""Qwen3-Omni behind the same rows: packing is exact, deepstack and the mixture included."""

import dataclasses
import json
import shutil

import pytest
import torch
from noise_clip import noise_clip
from qwen3_samples import open_qwen3, wide_views

from mllm_avqa.corridor import Corridor, Encoded
from mllm_avqa.model.prompting import SEES, Branch, aspect_branch
from mllm_avqa.model.rows import collate, pack
from mllm_avqa.model.scoring import encode_prefix
from mllm_avqa.schema.card import Card
from mllm_avqa.schema.errors import CheckpointError

TIGHT = 1e-5  # fp32; measured 5e-7 at hidden states of size 3


def branches(backbone, aspects=tuple(SEES)):
    return [backbone.encode_branch(aspect_branch(a)) for a in aspects]


def at_stems(backbone, rows):
    """By row and aspect: the last hidden state at the stem's end and the experts each layer chose there."""
    chosen = []
    gates = [layer.mlp.gate for layer in backbone.core.model.language_model.layers]
    hooks = [g.register_forward_hook(lambda _m, _i, out: chosen.append(out[2].sort(-1).values)) for g in gates]
    batch = collate(rows, backbone.tokenizer.pad_token_id)
    with torch.inference_mode():
        hidden = backbone.hidden(batch).last_hidden_state
    for h in hooks:
        h.remove()
    experts = torch.stack(chosen, -1).view(*hidden.shape[:2], -1)
    return [
        {
            b.aspect: (hidden[i, s + b.stem_end], experts[i, s + b.stem_end])
            for s, b in zip(r.starts, r.branches, strict=True)
        }
        for i, r in enumerate(rows)
    ]


def worst(a, b, aspects=tuple(SEES)):
    for aspect in aspects:
        assert torch.equal(a[aspect][1], b[aspect][1]), f"{aspect}: other experts"
    return max(float((a[x][0] - b[x][0]).abs().max()) for x in aspects)


# ---- packing --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("isolate", [True, False])
def test_five_aspects_in_one_forward_equal_five_separate(qwen3, views, facts, context, isolate):
    segments, media = encode_prefix(qwen3, views, facts, context)
    together = at_stems(qwen3, [pack(segments, branches(qwen3), media, isolate)])[0]
    alone = {}
    for b in branches(qwen3):
        alone |= at_stems(qwen3, [pack(segments, [b], media, isolate)])[0]
    assert worst(together, alone) < TIGHT


def test_batch_and_order_do_not_matter(qwen3, facts, context):
    rows = []
    for k, v in enumerate([wide_views(0), wide_views(1, 0.4), dataclasses.replace(wide_views(2), sound=None)]):
        segments, media = encode_prefix(qwen3, v, facts[k:], context)
        rows.append(pack(segments, branches(qwen3), media))
    ahead, back = at_stems(qwen3, rows), at_stems(qwen3, rows[::-1])[::-1]
    for k in range(3):
        assert worst(ahead[k], back[k]) < TIGHT
        assert worst(ahead[k], at_stems(qwen3, [rows[k]])[0]) < TIGHT


def test_unisolated_row_equals_the_stock_forward(qwen3, facts, context):
    """Reference: the model's own call with a plain mask and the positions it computes itself."""
    segments, media = encode_prefix(qwen3, wide_views(pair=1.0), facts, context)
    row = pack(segments, branches(qwen3, ["overall"]), media, isolate=False)
    ids = row.ids[None]
    with torch.inference_mode():
        expected = qwen3.model(input_ids=ids, attention_mask=torch.ones_like(ids), **media).logits
        found = qwen3.head()(qwen3.hidden(collate([row], 0)).last_hidden_state)
    assert (found - expected).abs().max() < TIGHT


def test_positions_are_the_stock_ones_in_whole_steps(qwen3, views, facts, context):
    segments, media = encode_prefix(qwen3, views, facts, context)
    row = pack(segments, [], media, isolate=False)
    ids = row.ids[None]
    lengths = media["feature_attention_mask"].sum(-1)
    seconds = media["video_second_per_grid"]
    stock, _ = qwen3.core.model.get_rope_index(
        ids, None, media["video_grid_thw"], torch.ones_like(ids), False, lengths, seconds
    )
    assert not torch.equal(stock, stock.floor())  # 0.7 s between pairs are 9.1 of its time steps
    assert row.positions.dtype == torch.long
    assert torch.equal(row.positions, stock[:, 0].floor().long())


def test_deepstack_reaches_the_scores(qwen3, views):
    segments, media = encode_prefix(qwen3, views, [], None)
    row = pack(segments, branches(qwen3), media)
    before = at_stems(qwen3, [row])[0]
    merger = qwen3.core.model.visual.merger_list[0]
    hook = merger.register_forward_hook(lambda _m, _i, out: torch.zeros_like(out))
    after = at_stems(qwen3, [row])[0]
    hook.remove()
    assert (before["video"][0] - after["video"][0]).abs().max() > 1e-4
    assert worst(before, after, ["audio"]) < TIGHT  # and only those that may see the pictures


def test_another_sound_leaves_video_and_text_alone(qwen3, views, facts, context):
    def rows(v):
        segments, media = encode_prefix(qwen3, v, facts, context)
        return at_stems(qwen3, [pack(segments, branches(qwen3), media)])[0]

    before = rows(views)
    after = rows(dataclasses.replace(views, sound=wide_views(7, 0.5).sound))  # of another length
    assert worst(before, after, ["video", "text"]) < TIGHT
    for aspect in ("audio", "sync", "overall"):
        assert (before[aspect][0] - after[aspect][0]).abs().max() > 1e-4


# ---- media ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("absent", [("sound",), ("whole", "fragments"), ("whole", "fragments", "sound")])
def test_clips_without_a_part(qwen3, views, facts, absent):
    views = dataclasses.replace(views, **dict.fromkeys(absent))
    segments, media = encode_prefix(qwen3, views, facts, None)
    (scores,) = Corridor(qwen3, Card(name="q", family="qwen3_omni")).score([Encoded(segments, media, ["overall"])])
    assert 1 <= scores["overall"].score <= 5
    ids = [i for s in segments for i in s.ids]
    assert (qwen3.ids["<|audio_pad|>"] in ids) == ("sound" not in absent)
    assert (qwen3.ids["<|video_pad|>"] in ids) == ("whole" not in absent)


def test_sound_tokens_follow_the_stock_formula(qwen3):
    from transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe import _get_feat_extract_output_lengths

    frames = torch.arange(1, 1000)
    assert [qwen3.sound_tokens(int(n)) for n in frames] == _get_feat_extract_output_lengths(frames).tolist()
    assert qwen3.sound_tokens(800) == 104  # 13 a second


def test_frames_become_tokens_of_32_pixels_with_the_tower_s_statistics(qwen3, views):
    media = qwen3.media_tensors(views)
    assert media["video_grid_thw"].tolist() == [[2, 4, 6], [2, 2, 4]]  # pairs, then 16-pixel patches
    assert media["pixel_values_videos"].shape == (64, 3 * 2 * 16 * 16)
    white = dataclasses.replace(views, whole=views.whole * 0 + 255, fragments=views.fragments * 0)
    values = qwen3.media_tensors(white)["pixel_values_videos"]
    assert values.max() == pytest.approx(1, abs=1e-6)  # (1 - 0.5) / 0.5, published preprocessor_config.json
    assert values.min() == pytest.approx(-1, abs=1e-6)


# ---- corridor -------------------------------------------------------------------------------------------------


def test_cached_answer_equals_the_answer_without_cache(qwen3, views, facts, context):
    segments, media = encode_prefix(qwen3, views, facts, context)
    corridor = Corridor(qwen3, Card(name="q", family="qwen3_omni"))
    scores, clip = corridor.hold(Encoded(segments, media, list(SEES)))
    assert set(scores) == set(SEES)
    encoded = qwen3.encode_branch(Branch("audio", "What is wrong?"))
    ids = list(encoded.ids)
    with torch.inference_mode():
        for _ in range(4):
            encoded.ids = ids
            hidden = qwen3.hidden(collate([pack(segments, [encoded], media)], 0)).last_hidden_state
            ids = [*ids, int(qwen3.head()(hidden[0, -1]).argmax())]
    expected = qwen3.tokenizer.decode(ids[-4:], skip_special_tokens=True).strip()
    assert clip.generate(Branch("audio", "What is wrong?"), max_tokens=4) == expected


def test_saved_and_reloaded_is_the_same_model(qwen3, qwen3_dir, tmp_path):
    from train.saving import save

    save(qwen3.model, qwen3.tokenizer, Card.load(qwen3_dir), tmp_path)
    again = open_qwen3(tmp_path)
    for (name, a), (_, b) in zip(qwen3.model.named_parameters(), again.model.named_parameters(), strict=True):
        assert torch.equal(a, b), name
    assert again.text_ids("Rate 你好") == qwen3.text_ids("Rate 你好")


def test_a_published_full_model_gives_its_thinker(qwen3, qwen3_dir, tmp_path):
    """The hub's layout: `thinker.*` beside `talker.*` and `code2wav.*`, the config nested."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(qwen3_dir, tmp_path, dirs_exist_ok=True)
    weights = {f"thinker.{k}": v for k, v in load_file(qwen3_dir / "model.safetensors").items()}
    save_file(weights | {"talker.norm": torch.ones(2)}, tmp_path / "model.safetensors", metadata={"format": "pt"})
    thinker = json.loads((qwen3_dir / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen3_omni_moe", "thinker_config": thinker}))
    loaded = open_qwen3(tmp_path)
    assert loaded.core.config.position_id_per_seconds == 13
    for (name, a), (_, b) in zip(qwen3.model.named_parameters(), loaded.model.named_parameters(), strict=True):
        assert torch.equal(a, b), name


def test_rater_rates_a_clip(qwen3_dir, tmp_path):
    from mllm_avqa.rater import Rater

    rater = Rater.from_pretrained(str(qwen3_dir), threads=1)
    try:
        rating = rater.rate(noise_clip(tmp_path / "a.mp4"), explain=False)
    finally:
        rater.close()
    assert {a for a, s in rating.scores.items() if s is not None} == {"overall", "video", "audio", "sync"}
    size = rating.inputs["windows"][0]["global_size"]
    assert [side % 32 for side in size] == [0, 0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patch": 28}, r"views.patch is 28, one visual token of this model is 32 pixels"),
        ({"audio_rate": 48000}, r"views.audio_rate is 48000, this model hears 16000 Hz"),
    ],
)
def test_a_card_that_does_not_fit_the_model_is_refused(qwen3_dir, tmp_path, change, message):
    shutil.copytree(qwen3_dir, tmp_path, dirs_exist_ok=True)
    card = Card.load(qwen3_dir)
    card.views = card.views.model_copy(update=change)
    card.save(tmp_path)
    with pytest.raises(CheckpointError, match=message):
        open_qwen3(tmp_path)


def test_a_tokenizer_of_another_model_is_refused(qwen3_dir, tmp_path):
    shutil.copytree(qwen3_dir, tmp_path, dirs_exist_ok=True)
    config = json.loads((qwen3_dir / "config.json").read_text())
    config["audio_token_id"] += 1
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"<\|audio_pad\|> is token 3 of the tokenizer and 4 of the model"):
        open_qwen3(tmp_path)


def test_quoted_text_holds_no_control_token(qwen3):
    ids = qwen3.text_ids("<|im_end|><|video_pad|> hi", quoted=True)
    assert not qwen3.special.intersection(ids)
