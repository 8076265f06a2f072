"""What scores rest on: known games, the empty clip, and a random-weight model through the whole corridor."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest
from typer.testing import CliRunner

from mllm_avqa.corridor import Corridor
from mllm_avqa.model.attribution import INPUTS, MODALITIES, attribute, drop, inputs, keep
from mllm_avqa.model.views import Views
from mllm_avqa.schema.clip import MediaInfo
from mllm_avqa.schema.measurement import Measurement
from mllm_avqa.schema.rating import Rating, ScoreDistribution
from mllm_avqa.schema.text import TextContext
from mllm_avqa.windows import Prepared

POINTS = {"picture": 1.0, "video_facts": -0.5, "audio_facts": 0.25, "subtitle": 0.125}


def clip(views, facts, context, **changes):
    info = MediaInfo(path="a.mp4", container="mp4", duration=1.0, size_bytes=1, video=None, audio=None)
    return replace(Prepared(0.0, 1.0, info, views, facts, context, missing={"text": "none"}), **changes)


def dist(score):
    return ScoreDistribution(score=score, std=0.0, level="fair", probs={}, mass=1.0)


def additive(windows):
    """3 points, and those of every input that is there; the sound is worth something beside a picture only."""
    out = []
    for p in windows:
        there = inputs(p)
        both = 0.5 * ("picture" in there and "sound" in there)
        out.append({"video": dist(3 + sum(POINTS.get(i, 0.0) for i in there) + both)})
    return out


def first(scores):
    return scores[0]


def lowest(scores):
    return min(scores, key=lambda s: s.score)


def test_inputs_are_what_the_model_is_told(views, facts, context):
    p = clip(views, [*facts, Measurement(name="flicker", modality="sync", value=None, unit="%")], context)
    assert inputs(p) == [
        "picture",
        "video_facts",
        "sound",
        "audio_facts",
        "subtitle",
    ]  # the unmeasured fact is not told
    bare = keep(p, ["sound"])
    assert inputs(bare) == ["sound"] and bare.missing == p.missing and bare.views.fragments is None
    assert inputs(drop(p, ["subtitle", "picture"])) == ["video_facts", "sound", "audio_facts"]
    assert inputs(drop(p, INPUTS)) == []
    assert inputs(p) == inputs(drop(p, []))  # nothing of the clip itself was changed
    assert sorted(INPUTS) == sorted(i for names in MODALITIES.values() for i in names)


def test_shares_of_a_known_game(views, facts, context):
    found = attribute([clip(views, facts, context)], additive, first)
    s = found.inputs["video"]
    # analytic: every input has its points, picture and sound halve the 0.5 they are worth together
    assert s.shares == pytest.approx(POINTS | {"picture": 1.25, "sound": 0.25})
    assert (s.empty, s.full, found.orders) == (3.0, 4.375, 0)
    assert s.without == pytest.approx(
        {"picture": 2.875, "video_facts": 4.875, "sound": 3.875, "audio_facts": 4.125, "subtitle": 4.25}
    )
    m = found.modalities["video"]
    assert m.shares == pytest.approx({"video": 0.75, "audio": 0.5, "text": 0.125})
    assert m.without["audio"] == pytest.approx(3.625)
    assert found.coalitions == 2**5  # those of the modalities are among them


def test_too_many_inputs_are_sampled(views, facts, context):
    found = attribute([clip(views, facts, context)], additive, first, budget=16, seed=3)
    s = found.inputs["video"]
    assert found.orders == 16 // 5 and found.modalities["video"].errors == {}
    assert s.shares["subtitle"] == 0.125 and s.errors["subtitle"] == 0.0  # it adds the same in every order
    assert s.errors["picture"] > 0
    assert sum(s.shares.values()) == pytest.approx(s.full - s.empty, abs=1e-4)
    assert set(s.without) == set(s.shares)
    again = attribute([clip(views, facts, context)], additive, first, budget=16, seed=3)
    assert again == found


def test_windows_are_pooled_before_they_are_shared_out(views, facts, context):
    asked = []

    def score(windows):
        asked.append(len(windows))
        return additive(windows)

    whole = clip(views, facts, context)
    silent = clip(Views(None, None, views.sound), [], TextContext())
    s = attribute([whole, silent], score, lowest).inputs["video"]
    assert asked == [2**5 + 2]  # the second window has one input: two variants, whatever the first one has
    # analytic: the second window stays at 3, so only what lowers the first one counts
    assert (s.empty, s.full) == (3.0, 3.0) and s.shares["video_facts"] < 0 < s.shares["picture"]
    assert sum(s.shares.values()) == pytest.approx(0, abs=1e-6)


def test_a_clip_of_which_nothing_is_known(views):
    found = attribute([clip(Views(None, None, None), [], TextContext())], additive, first)
    assert found.inputs["video"].shares == {} and found.inputs["video"].empty == 3.0


# ---- with a model ---------------------------------------------------------------------------------------------------


def test_shares_of_a_model_add_up_and_media_are_made_once(tiny, views, facts, context, monkeypatch):
    from mllm_avqa.schema.card import Card

    aspects = ["overall", "video", "audio", "sync"]
    card = Card(name="tiny", family="qwen2_5_omni", aspects=aspects)
    corridor = Corridor(tiny, card)
    made = []
    monkeypatch.setattr(tiny, "media_tensors", lambda v, make=tiny.media_tensors: made.append(v) or make(v))
    p = clip(views, facts, context)
    found = attribute([p], lambda windows: corridor.score_windows(windows, "en"), first)
    assert len(made) == 2  # the picture once, the sound once
    (alone,) = corridor.score_windows([clip(Views(None, None, None), [], TextContext())], "en")
    (given,) = corridor.score_windows([p], "en")
    for level in (found.inputs, found.modalities):
        assert list(level) == aspects
        for aspect, s in level.items():
            assert sum(s.shares.values()) == pytest.approx(s.full - s.empty, abs=1e-4)
            assert s.empty == pytest.approx(alone[aspect].score, abs=2e-4)
            assert s.full == pytest.approx(given[aspect].score, abs=2e-4)
    # Isolation: what an aspect may not look at has no share in it (tests/test_rows.py holds the logits to 1e-5).
    for aspect, unseen in (("video", ("audio", "text")), ("audio", ("video", "text")), ("sync", ("text",))):
        assert all(abs(found.modalities[aspect].shares[m]) < 3e-4 for m in unseen)
    assert abs(found.inputs["video"].shares["picture"]) > 1e-3


def synth(path):
    picture = np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8)
    with av.open(str(path), "w") as out:
        video = out.add_stream("mpeg4", rate=10)
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        audio = out.add_stream("aac", rate=16000, layout="mono")
        for k in range(5):
            out.mux(video.encode(av.VideoFrame.from_ndarray(np.roll(picture, k, 1), format="rgb24")))
        out.mux(video.encode(None))
        tone = (0.3 * np.sin(np.arange(8000) / 9)).astype(np.float32)
        for i in range(0, len(tone), 1024):
            frame = av.AudioFrame.from_ndarray(tone[None, i : i + 1024], format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 16000, i, Fraction(1, 16000)
            out.mux(audio.encode(frame))
        out.mux(audio.encode(None))
    return path


def test_rate_attribution(tiny_dir, tmp_path):
    from mllm_avqa.cli import app

    path, page = synth(tmp_path / "a.mp4"), tmp_path / "a.html"
    command = ["rate", str(path), "--checkpoint", str(tiny_dir), "--context", "none", "--no-explain", "--threads", "1"]
    command += ["--text", "a red ball"]
    result = CliRunner().invoke(app, [*command, "--attribution", "--json", "--html", str(page)])
    assert result.exit_code == 0, result.output
    rating = Rating.model_validate_json(result.stdout)
    found = rating.attribution
    assert {"picture", "sound", "video_facts", "audio_facts", "user"} <= set(found.inputs["overall"].shares)
    for aspect, s in found.inputs.items():
        assert s.full == pytest.approx(rating.scores[aspect].score, abs=1e-3)
        assert sum(s.shares.values()) == pytest.approx(s.full - s.empty, abs=1e-4)
    assert "What the scores rest on" in page.read_text(encoding="utf-8")
    assert rating.seconds["attribution"] > 0
    plain = CliRunner().invoke(app, [*command, "--json"])
    assert json.loads(plain.stdout)["attribution"] is None
