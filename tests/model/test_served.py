"""What vLLM 0.32 answered when it served an export of a tiny model, recorded: no level is lost, and it agrees."""

import json
from pathlib import Path

import pytest
from sample_views import make_views

from mllm_avqa.model.endpoint import Endpoint, EndpointUnavailable
from mllm_avqa.model.served import GENERATE, RENDER, ServedModel

TOLD = json.loads((Path(__file__).parent / "vllm_exchange.json").read_text())


@pytest.fixture
def asked(monkeypatch):
    """The bodies that are sent; answers are the recorded ones."""
    bodies = []

    def call(self, path, body):
        bodies.append((path, body))
        if path == RENDER:
            return TOLD["render"]
        return next(a["answer"] for a in TOLD["aspects"].values() if a["ids"] == body["token_ids"])

    monkeypatch.setattr(Endpoint, "call", call)
    return bodies


@pytest.fixture
def model():
    return ServedModel(Endpoint("http://127.0.0.1:1/v1/chat/completions", "tiny"), TOLD["pads"])


@pytest.mark.parametrize("aspect", TOLD["aspects"])
def test_the_recorded_answers_are_those_of_rate(model, asked, aspect):
    inputs = model.render(make_views(), 16000)
    found = model.levels(TOLD["aspects"][aspect]["ids"], inputs, TOLD["wanted"])
    assert found == pytest.approx(TOLD["aspects"][aspect]["rate"], abs=1e-3)
    path, body = asked[-1]
    assert path == GENERATE and body["sampling_params"]["logprob_token_ids"] == TOLD["wanted"]
    assert set(body["features"]["mm_placeholders"]) == set(TOLD["aspects"][aspect]["shown"])
    assert body["features"]["kwargs_data"] == {k: inputs[k].data for k in TOLD["aspects"][aspect]["shown"]}


def test_a_level_that_is_not_told_is_no_zero(model, asked):
    inputs = model.render(make_views(), 16000)
    ids = next(iter(TOLD["aspects"].values()))["ids"]
    with pytest.raises(EndpointUnavailable, match="did not tell all of the level tokens"):
        model.levels(ids, inputs, [*TOLD["wanted"], 3])


def test_older_versions_name_tokens_by_text(model, monkeypatch):
    place = {"top_logprobs": [{"token": "token_id:7", "logprob": -1.0}, {"token": "token_id:8", "logprob": -2.0}]}
    monkeypatch.setattr(Endpoint, "call", lambda *_: {"choices": [{"logprobs": {"content": [place]}}]})
    assert model.levels([1, 2], {}, [8, 7]) == [-2.0, -1.0]
