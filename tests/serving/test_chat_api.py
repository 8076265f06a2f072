"""`/v1/chat/completions` through the `openai` client, on a real port."""

from __future__ import annotations

import base64
import json
import math
from pathlib import Path

import pytest

openai = pytest.importorskip("openai")
from mllm_avqa.rater import Rater  # noqa: E402


@pytest.fixture(scope="module")
def chat(address: str):
    """A client with the first key."""
    return client_of(address, "first-key")


def client_of(address: str, key: str):
    http = openai.DefaultHttpxClient(trust_env=False)
    return openai.OpenAI(base_url=f"{address}/v1", api_key=key, max_retries=0, http_client=http)


def data_url(clip: Path) -> str:
    return "data:video/mp4;base64," + base64.b64encode(clip.read_bytes()).decode()


def about(url: str, question: str, kind: str = "video_url") -> list[dict]:
    return [{"role": "user", "content": [{"type": kind, kind: {"url": url}}, {"type": "text", "text": question}]}]


def test_models_say_what_is_served(chat, rater: Rater):
    model = chat.models.retrieve("nano")
    assert [m.id for m in chat.models.list()] == ["nano"]
    assert model.fingerprint == rater.fingerprint
    with pytest.raises(openai.NotFoundError):
        chat.models.retrieve("other")


def test_several_turns_about_a_clip_that_is_encoded_once_answer_as_the_library_does(chat, rater: Rater, clip: Path):
    session = rater.chat(clip)
    fresh = rater.chat(clip)
    first = chat.chat.completions.create(model="nano", messages=about(data_url(clip), "Is there noise?"))
    answer = first.choices[0]
    assert answer.message.content == session.ask("Is there noise?") and answer.finish_reason == "stop"
    assert first.usage.prompt_tokens == session.asked_tokens("Is there noise?")
    assert first.usage.total_tokens == first.usage.prompt_tokens + first.usage.completion_tokens
    assert first.usage.prompt_tokens_details.cached_tokens == 0
    turns = [
        *about(f"file://{clip}".replace(" ", "%20"), "Is there noise?"),
        {"role": "assistant", "content": answer.message.content},
        {"role": "user", "content": "What is wrong with the sound?"},
    ]
    second = chat.chat.completions.create(model="nano", messages=turns)
    assert second.choices[0].message.content == session.ask("What is wrong with the sound?")
    assert second.usage.prompt_tokens_details.cached_tokens == session.clip.row.prefix_length
    assert second.clip == first.clip == f"sha256:{session.rating.content_hash}"
    again = [*about(first.clip, "What is wrong with the sound?"), *turns[1:2], {"role": "user", "content": "And why?"}]
    fresh.ask("What is wrong with the sound?")
    assert chat.chat.completions.create(model="nano", messages=again).choices[0].message.content == fresh.ask(
        "And why?"
    )
    third = chat.chat.completions.create(model="nano", messages=about(first.clip, "Is there noise?"))
    assert third.choices[0].message.content == answer.message.content


def test_a_held_clip_is_held_for_its_key_alone(address: str, chat, clip: Path):
    held = chat.chat.completions.create(
        model="nano",
        messages=about(
            data_url(clip),
            "Noise?",
        ),
    ).clip
    other = client_of(address, "second-key")
    with pytest.raises(openai.NotFoundError):
        other.chat.completions.create(model="nano", messages=about(held, "Noise?"))
    fresh = other.chat.completions.create(model="nano", messages=about(data_url(clip), "Noise?"))
    assert fresh.usage.prompt_tokens_details.cached_tokens == 0


def test_a_stream_is_the_same_answer_in_pieces(chat, clip: Path):
    question = about(data_url(clip), "What is wrong with the sound?")
    whole = chat.chat.completions.create(model="nano", messages=question)
    pieces = list(
        chat.chat.completions.create(
            model="nano", messages=question, stream=True, stream_options={"include_usage": True}
        )
    )
    told = [c.choices[0].delta.content or "" for c in pieces if c.choices]
    assert "".join(told) == whole.choices[0].message.content and sum(map(bool, told)) > 1
    assert pieces[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in pieces if c.choices][-1] == "stop"
    assert pieces[-1].usage.completion_tokens == whole.usage.completion_tokens
    short = chat.chat.completions.create(model="nano", messages=question, max_tokens=2)
    assert short.choices[0].finish_reason == "length" and short.usage.completion_tokens == 2


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_question_of_an_aspect_gives_its_level_and_the_log_probabilities_of_all(chat, rater, clip: Path, lang: str):
    from mllm_avqa.model.prompting import load_prompts

    words = load_prompts("rating", lang)["aspects"]["video"]
    said = chat.chat.completions.create(
        model="nano", messages=about(data_url(clip), words["question"]), logprobs=True, top_logprobs=5,
        extra_body={"lang": lang},
    ).choices[0]  # fmt: skip
    (entry,) = said.logprobs.content
    assert said.message.content == f"{words['stem']}{entry.token}."
    if lang == "en":
        expected = rater.rate(clip, explain=False).scores["video"]
        found = {t.token.strip(): math.exp(t.logprob) for t in entry.top_logprobs}
        mass = sum(found.values())
        assert mass == pytest.approx(expected.mass, abs=1e-3)
        assert {w: p / mass for w, p in found.items()} == pytest.approx(expected.probs, abs=1e-3)


def test_what_cannot_be_told_is_said_in_the_client_s_own_errors(chat, address: str, clip: Path):
    url = data_url(clip)

    def refused(error: type[Exception], **changed: object) -> dict:
        with pytest.raises(error) as told:
            chat.chat.completions.create(**({"model": "nano", "messages": about(url, "Noise?")} | changed))
        return told.value.body

    assert refused(openai.NotFoundError, model="gpt-4")["param"] == "model"
    assert refused(openai.UnprocessableEntityError, logprobs=True)["param"] == "logprobs"
    assert refused(openai.UnprocessableEntityError, n=2)["param"] == "n"
    assert (
        refused(openai.PermissionDeniedError, messages=about("http://example.com/a.mp4", "?"))["code"] == "not_allowed"
    )
    assert refused(openai.APIStatusError, messages=about("data:video/mp4;base64,AAAA", "?"))["code"] == "not_media"
    two = [{"role": "user", "content": about(url, "a")[0]["content"] + about(url, "b")[0]["content"]}]
    assert refused(openai.UnprocessableEntityError, messages=two)["param"] == "messages"
    with pytest.raises(openai.AuthenticationError):
        client_of(address, "no-such-key").models.list()


def test_sound_comes_as_the_protocol_has_it(chat, tmp_path: Path):
    import wave

    import numpy as np

    tone = (8000 * np.sin(2 * np.pi * 440 * np.arange(8000) / 16000)).astype(np.int16)
    with wave.open(str(tmp_path / "a.wav"), "wb") as out:
        out.setparams((1, 2, 16000, 0, "NONE", ""))
        out.writeframes(tone.tobytes())
    data = base64.b64encode((tmp_path / "a.wav").read_bytes()).decode()
    part = {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}
    ask = {"type": "text", "text": "Rate the video quality."}
    said = chat.chat.completions.create(model="nano", messages=[{"role": "user", "content": [part, ask]}])
    assert "no video" in said.choices[0].message.content  # the reason, not a score
    assert json.loads(said.model_dump_json())["choices"][0]["logprobs"] is None
