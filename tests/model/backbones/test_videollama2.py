"""VideoLLaMA2-AV behind the same rows: packing is exact, weights keep their published names."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
from noise_clip import noise_clip
from safetensors.torch import load_file, save_file
from videollama2_samples import directory as directory  # a fixture
from videollama2_samples import make_views, opened

from mllm_avqa.corridor import Corridor, Encoded
from mllm_avqa.model.backbones.videollama2.fbank import FLOOR
from mllm_avqa.model.backbones.videollama2.model import AUDIO, VIDEO
from mllm_avqa.model.prompting import SEES, Branch, aspect_branch
from mllm_avqa.model.rows import collate, pack
from mllm_avqa.model.scoring import encode_prefix
from mllm_avqa.model.views import Views
from mllm_avqa.schema.card import Card, Pixels, ViewSpec
from mllm_avqa.schema.errors import CheckpointError

TIGHT = 2e-5  # fp32; hidden states are of size 3


@pytest.fixture(scope="module")
def backbone(directory):
    torch.set_num_threads(1)
    return opened(directory)


@pytest.fixture
def views():
    return make_views()


def branches(backbone, aspects=tuple(SEES)):
    return [backbone.encode_branch(aspect_branch(a)) for a in aspects]


def at_stems(backbone, rows):
    """By row and aspect: the last hidden state at the stem's end."""
    with torch.inference_mode():
        hidden = backbone.hidden(collate(rows, backbone.tokenizer.pad_token_id)).last_hidden_state
    return [
        {b.aspect: hidden[i, s + b.stem_end] for s, b in zip(r.starts, r.branches, strict=True)}
        for i, r in enumerate(rows)
    ]


def worst(a, b, aspects=tuple(SEES)):
    return max(float((a[x] - b[x]).abs().max()) for x in aspects)


# ---- rows -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("isolate", [True, False])
def test_five_aspects_in_one_forward_equal_five_separate(backbone, views, facts, context, isolate):
    segments, media = encode_prefix(backbone, views, facts, context)
    together = at_stems(backbone, [pack(segments, branches(backbone), media, isolate)])[0]
    alone = {}
    for b in branches(backbone):
        alone |= at_stems(backbone, [pack(segments, [b], media, isolate)])[0]
    assert worst(together, alone) < TIGHT


def test_batch_and_order_do_not_matter(backbone, facts, context):
    clips = [make_views(0), make_views(1, 0.3, height=28), dataclasses.replace(make_views(2), sound=None)]
    rows = []
    for k, v in enumerate([*clips, Views(None, None, make_views(3, 0.5).sound), Views(None, None, None)]):
        segments, media = encode_prefix(backbone, v, facts[k % 3 :], context)
        rows.append(pack(segments, branches(backbone), media))
    ahead, back = at_stems(backbone, rows), at_stems(backbone, rows[::-1])[::-1]
    for k, row in enumerate(rows):
        assert worst(ahead[k], back[k]) < TIGHT
        assert worst(ahead[k], at_stems(backbone, [row])[0]) < TIGHT


def test_unisolated_row_is_a_plain_qwen2_row_with_the_media_in_their_places(backbone, views, facts, context):
    segments, media = encode_prefix(backbone, views, facts, context)
    row = pack(segments, branches(backbone, ["overall"]), media, isolate=False)
    model = backbone.core.model
    with torch.inference_mode():
        seen = model.visual(media["pixel_values_videos"], media["video_grid_thw"])
        heard = model.audio_tower(media["input_features"], media["feature_attention_mask"])
        embeds = [model.language_model.embed_tokens(i) if i >= 0 else None for i in row.ids]
        for token, values in ((VIDEO, seen), (AUDIO, heard)):
            for place, value in zip((row.ids == token).nonzero().flatten().tolist(), values, strict=True):
                embeds[place] = value
        expected = model.language_model(inputs_embeds=torch.stack(embeds)[None]).last_hidden_state
        found = backbone.hidden(collate([row], 0)).last_hidden_state
    assert (found - expected).abs().max() < TIGHT


def test_a_segment_shows_only_what_it_may(backbone, views, facts, context):
    def scores(v):
        segments, media = encode_prefix(backbone, v, facts, context)
        return at_stems(backbone, [pack(segments, branches(backbone), media)])[0]

    before = scores(views)
    sound = scores(dataclasses.replace(views, sound=make_views(7, 0.4).sound))  # of another length
    pictures = scores(dataclasses.replace(make_views(8, height=28), sound=views.sound))  # of another size
    assert worst(before, sound, ["video", "text"]) < TIGHT
    assert worst(before, pictures, ["audio"]) < TIGHT
    for aspect in ("audio", "sync", "overall"):
        assert (before[aspect] - sound[aspect]).abs().max() > 1e-3
    for aspect in ("video", "sync", "text", "overall"):
        assert (before[aspect] - pictures[aspect]).abs().max() > 1e-3


def test_tokens_of_a_segment(backbone, views):
    segments, media = encode_prefix(backbone, views, [], None)
    ids = {s.name: s.ids for s in segments}
    assert ids["video"].count(VIDEO) == 2 * (2 * 3) + 2 * (2 * 2)  # pairs of frames, 28 pixels square
    frames = (11200 - 400) // 160 + 1
    assert media["input_features"].shape == (1, 128, frames)
    assert ids["audio"].count(AUDIO) == backbone.sound_tokens(frames) == frames // 16 * 8
    assert backbone.sound_tokens(2998) == 1496  # 30 s, as published
    assert all(torch.equal(s.positions[0], torch.arange(len(s.ids))) for s in segments)
    assert media["pixel_values_videos"].shape == (4 * 4 * 6 + 4 * 4 * 4, 3 * 14 * 14)


def test_pixels_are_normalised_as_the_card_says(backbone, directory, tmp_path, views):
    shutil.copytree(directory, tmp_path, dirs_exist_ok=True)
    card = Card.load(directory)
    card.pixels = Pixels(mean=0.25, std=0.5)
    card.save(tmp_path)
    white = dataclasses.replace(views, whole=views.whole * 0 + 255, fragments=views.fragments * 0)
    values = backbone.media_tensors(white)["pixel_values_videos"]
    assert (values.min(), values.max()) == (-1, 1)  # published: preprocessor_config.json of the tower
    values = opened(tmp_path).media_tensors(white)["pixel_values_videos"]
    assert (values.min(), values.max()) == (-0.5, 1.5)


def test_short_sound_has_tokens_too(backbone, views):
    short = dataclasses.replace(views, sound=views.sound[:1600])
    segments, media = encode_prefix(backbone, short, [], None)
    assert sum(s.ids.count(AUDIO) for s in segments) == 8
    assert at_stems(backbone, [pack(segments, branches(backbone), media)])[0]["audio"].isfinite().all()


def test_sound_is_filled_up_with_silence_as_the_configuration_says(directory, tmp_path, views):
    shutil.copytree(directory, tmp_path, dirs_exist_ok=True)
    config = json.loads((directory / "config.json").read_text())
    config["audio_config"]["pad_seconds"] = 10.0
    (tmp_path / "config.json").write_text(json.dumps(config))
    media = opened(tmp_path).media_tensors(views)
    assert media["feature_attention_mask"].sum() == 998  # silence is heard, not masked: so the model was trained
    assert torch.equal(media["input_features"][..., -1], torch.full((1, 128), float(np.log(FLOOR))))
    config["audio_config"]["pad_seconds"] = 5.0
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"views.window_seconds is 8.0, this model hears 5.0 s at once"):
        opened(tmp_path)


def test_cached_answer_equals_the_answer_without_cache(backbone, views, facts, context):
    segments, media = encode_prefix(backbone, views, facts, context)
    corridor = Corridor(backbone, Card(name="v", family="videollama2"))
    scores, clip = corridor.hold(Encoded(segments, media, list(SEES)))
    assert set(scores) == set(SEES)
    encoded = backbone.encode_branch(Branch("audio", "What is wrong?"))
    start = len(encoded.ids)
    with torch.inference_mode():
        for _ in range(4):
            hidden = backbone.hidden(collate([pack(segments, [encoded], media)], 0)).last_hidden_state
            encoded.ids = [*encoded.ids, int(backbone.head()(hidden[0, -1]).argmax())]
    expected = backbone.tokenizer.decode(encoded.ids[start:], skip_special_tokens=True).strip()
    assert clip.generate(Branch("audio", "What is wrong?"), max_tokens=4) == expected


def test_half_precision_gives_nearly_the_same(backbone, directory, views, facts):
    segments, media = encode_prefix(backbone, views, facts, None)
    row = pack(segments, branches(backbone), media)
    half = at_stems(opened(directory, dtype=torch.bfloat16, device_map="cpu"), [row])[0]
    assert 0 < worst(at_stems(backbone, [row])[0], half) < 0.5


# ---- checkpoints ----------------------------------------------------------------------------------------------


def test_weights_are_stored_under_their_published_names_and_come_back(backbone, directory, tmp_path):
    stored = load_file(directory / "model.safetensors")
    published = (
        "model.embed_tokens.weight", "model.layers.1.mlp.up_proj.weight", "model.norm.weight", "lm_head.weight",
        "model.vision_tower.vision_tower.vision_model.encoder.layers.2.self_attn.k_proj.bias",
        "model.mm_projector.s1.b1.downsample.bn.weight", "model.mm_projector.readout.2.bias",
        "model.audio_tower.encoder.pos_conv.0.weight_g", "model.audio_tower.encoder.layers.0.self_attn.grep_a",
        "model.audio_tower.encoder.layers.0.self_attn.relative_attention_bias.weight", "model.mm_projector_a.0.bias",
    )  # fmt: skip
    assert set(published) < set(stored)
    assert len(stored) == len(backbone.model.state_dict())  # one name each
    assert not any("language_model" in k or "beats" in k for k in stored)
    backbone.model.save_pretrained(tmp_path)
    again = load_file(tmp_path / "model.safetensors")
    assert again.keys() == stored.keys()
    assert all(torch.equal(again[k], stored[k]) for k in stored)


def test_what_a_published_file_holds_beside_the_model_is_passed_over(backbone, directory, tmp_path):
    shutil.copytree(directory, tmp_path, dirs_exist_ok=True)
    weights = load_file(directory / "model.safetensors")
    table = "model.audio_tower.encoder.layers.{}.self_attn.relative_attention_bias.weight"
    weights[table.format(1)] = weights[table.format(0)].clone()
    weights["model.audio_tower.predictor.weight"] = torch.ones(527, 32)
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    again = opened(tmp_path)
    for (name, a), (_, b) in zip(backbone.model.named_parameters(), again.model.named_parameters(), strict=True):
        assert torch.equal(a, b), name


@pytest.mark.parametrize("name", ["model.mm_projector_a.0.bias", "model.layers.0.mlp.up_proj.weight"])
def test_a_missing_weight_is_refused(directory, tmp_path, name):
    shutil.copytree(directory, tmp_path, dirs_exist_ok=True)
    weights = load_file(directory / "model.safetensors")
    del weights[name]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"lacks 1 weights .* the first is model\."):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patch": 32}, r"views.patch is 32, neither 28 \(any size\) nor 56 \(published size\)"),
        ({"audio_rate": 48000}, r"views.audio_rate is 48000, this model hears 16000 Hz"),
    ],
)
def test_a_card_that_does_not_fit_the_model_is_refused(directory, tmp_path, change, message):
    shutil.copytree(directory, tmp_path, dirs_exist_ok=True)
    card = Card.load(directory)
    card.views = card.views.model_copy(update=change)
    card.save(tmp_path)
    with pytest.raises(CheckpointError, match=message):
        opened(tmp_path)


def test_a_tokenizer_of_another_model_is_refused(directory, tmp_path):
    shutil.copytree(directory, tmp_path, dirs_exist_ok=True)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        text = (tmp_path / name).read_text().replace("<|im_end|>", "<|end|>")
        (tmp_path / name).write_text(text)
    with pytest.raises(CheckpointError, match=r"the tokenizer lacks one of .*<\|im_end\|>"):
        opened(tmp_path)


@pytest.mark.parametrize("published", [False, True])
def test_rater_rates_a_clip(directory, tmp_path, published):
    from mllm_avqa.rater import Rater

    checkpoint = tmp_path / "checkpoint"
    shutil.copytree(directory, checkpoint)
    if published:  # whole frames and one native square, each in the tower's own size
        card = Card.load(directory)
        card.views = ViewSpec(patch=56, global_pixels=56 * 56, fragment_grid=(1, 1))
        card.save(checkpoint)
    rater = Rater.from_pretrained(str(checkpoint), threads=1)
    try:
        rating = rater.rate(noise_clip(tmp_path / "a.mp4"), explain=False)
    finally:
        rater.close()
    assert {a for a, s in rating.scores.items() if s is not None} == {"overall", "video", "audio", "sync"}
    assert (rating.inputs["windows"][0]["global_size"] == [56, 56]) == published
