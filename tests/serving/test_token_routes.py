"""A rater whose model another server runs, here a server of this project; and the certificate that both agree."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("openai")

from eval.studies.parity import Parity
from mllm_avqa.model.served import GENERATE, RENDER, ViewsDiffer, request, runs, views_of
from mllm_avqa.model.views import Views
from mllm_avqa.rater import Rater
from mllm_avqa.schema.errors import CheckpointError, ConfigError
from mllm_avqa.serving.app import make_app


@pytest.fixture(scope="module")
def endpoint(rater, listen):
    with listen(make_app(lambda: rater, most_bytes=2_000_000)) as address:
        yield f"{address}/v1"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def views(**changes):
    rng = np.random.default_rng(0)
    given = {
        "whole": rng.integers(0, 255, (2, 28, 56, 3), dtype=np.uint8),
        "fragments": rng.integers(0, 255, (2, 28, 28, 3), dtype=np.uint8),
        "sound": rng.normal(0, 0.1, 8000).astype(np.float32),
        "seconds_per_pair": 0.3,
    }
    return Views(**(given | changes))


def test_a_server_scores_for_a_rater_that_has_no_weights(rater, endpoint, clip, no_proxy):
    here, there = rater.rate(clip), Rater.from_endpoint(endpoint, card="mllm_avqa/nano")
    try:
        told = there.rate(clip)
    finally:
        there.close()
    assert all(p.device.type == "meta" for p in there.backbone.model.parameters())
    for aspect in ("video", "audio"):
        assert told.scores[aspect].score == pytest.approx(here.scores[aspect].score, abs=1e-3)
        assert told.scores[aspect].mass == pytest.approx(here.scores[aspect].mass, abs=1e-3)
    assert told.scores["overall"] is None  # it sees segments that do not see each other: no plain prompt has that
    assert told.evidence and told.explanation and told.fingerprint["weights"] == "served-nano"


def test_the_certificate(endpoint, clip, no_proxy, capsys):
    study = Parity(clips=(clip,), endpoint=endpoint, threads=1)
    found = study.run()
    assert found["agrees"]
    asked = {(r["who"], r["aspect"]) for r in found["rows"]}
    assert {("endpoint", "video"), ("endpoint", "audio"), ("mllm-avqa serve", "overall")} <= asked
    assert ("endpoint", "overall") not in asked
    found["rows"][0]["log-probability"] = 0.5
    worse = study.report(found | {"agrees": False})
    assert worse.partial and "DIFFERS" in worse.text and "5.0e-01" in worse.text


def test_what_is_no_model_of_that_server_is_refused(endpoint, tmp_path, no_proxy):
    with pytest.raises(ConfigError, match="none of nano"):
        Rater.from_endpoint(endpoint, card="mllm_avqa/nano", model="other")
    with pytest.raises(CheckpointError):
        Rater.from_endpoint(endpoint, card=tmp_path)


def test_a_server_that_resizes_is_found_out(endpoint, no_proxy):
    there = Rater.from_endpoint(endpoint, card="mllm_avqa/nano")
    try:
        model = there.corridor.model
        inputs = model.render(views(), 16000)
        pad = model.pads["video"]
        assert inputs["video"].lengths == [2, 1]
        with pytest.raises(ViewsDiffer, match=r"in \[2, 1\] tokens, it was taught with \[2, 2\]"):
            model.levels([5, pad, pad, 5, pad, pad, 5], inputs, there.corridor.level_ids)
        told = model.levels([5, pad, pad, 5, pad, 5], inputs, there.corridor.level_ids)
        assert len(told) == 5 and all(t < 0 for t in told)
    finally:
        there.close()


def test_views_travel_whole():
    sent = request(views(), 16000)
    parts = sent["messages"][0]["content"]
    videos = [p["video_url"]["url"] for p in parts if p["type"] == "video_url"]
    back = views_of(videos, [parts[-1]["audio_url"]["url"]], sent["mm_processor_kwargs"]["fps"])
    for name in ("whole", "fragments", "sound"):
        np.testing.assert_array_equal(getattr(back, name), getattr(views(), name))
    assert back.seconds_per_pair == pytest.approx(0.3)
    assert runs([1, 7, 7, 2, 7], 7) == [(1, 2), (4, 1)]


def test_views_become_tensors_once(client, rater, monkeypatch):
    body = {"model": "nano"} | request(views(), 16000)
    features = client.post(RENDER, json=body).json()["features"]
    video, sound = (rater.backbone.pads[k] for k in ("video", "audio"))
    ids = [5, video, video, 5, video, 5, *[sound] * features["mm_placeholders"]["audio"][0]["length"], 5]
    made, make = [], rater.backbone.media_tensors
    monkeypatch.setattr(rater.backbone, "media_tensors", lambda v: made.append(v) or make(v))
    wanted = {"max_tokens": 1, "logprob_token_ids": [5, 6]}
    asked = {"model": "nano", "token_ids": ids, "features": features, "sampling_params": wanted}
    told = client.post(GENERATE, json=asked).json()["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
    assert len(made) == 1
    here = dict(zip([5, 6], rater.corridor.prompted(ids, make(views()), [5, 6]), strict=True))
    assert {t["token_id"]: t["logprob"] for t in told} == pytest.approx(here, abs=1e-4)


def test_requests_that_do_not_fit_are_refused(client, rater):
    def asked(views_, path=RENDER, **changes):
        body = {"model": "nano"} | request(views_, 16000) | changes
        return client.post(path, json=body)

    good = asked(views())
    assert good.status_code == 200
    features = good.json()["features"]
    generate = {"sampling_params": {"max_tokens": 1, "logprob_token_ids": [5, 6]}, "features": features}
    pad, sound = rater.backbone.pads["video"], rater.backbone.pads["audio"]
    n = features["mm_placeholders"]["audio"][0]["length"]
    ids = [5, pad, pad, 5, pad, 5, *[sound] * n, 5]
    told = client.post(GENERATE, json={"model": "nano", "token_ids": ids} | generate)
    assert told.status_code == 200
    top = told.json()["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
    assert {t["token_id"] for t in top} == {5, 6}
    for wrong in ([5], [*ids, pad], [*ids, 10**9]):
        assert client.post(GENERATE, json={"model": "nano", "token_ids": wrong} | generate).status_code == 422
    assert asked(views(), model="other").status_code == 404
    odd = np.zeros((2, 30, 30, 3), np.uint8)
    assert asked(views(whole=odd)).status_code == 422
    assert asked(views(fragments=np.zeros((1, 28, 28, 3), np.uint8))).status_code == 422
    large = np.zeros((2, 28 * 120, 28 * 120, 3), np.uint8)
    assert asked(views(whole=large)).status_code == 422
    assert asked(views(), mm_processor_kwargs={"do_resize": True}).status_code == 422
    assert asked(views(), messages=[{"role": "user", "content": "x"}]).status_code == 422
