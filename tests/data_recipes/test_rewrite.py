"""Rewriting through a chat-completions server: a stub on localhost that speaks the protocol."""

from __future__ import annotations

import json
from random import Random

import pytest
from chat_server import serving
from question_records import clip, fault, some_clips
from typer.testing import CliRunner

from data_recipes.__main__ import app
from data_recipes.questions import describe_clip, questions
from data_recipes.questions.reading import read
from data_recipes.sets import rewrite
from mllm_avqa.model.endpoint import GIVE_UP, Endpoint, EndpointUnavailable
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.records import read_records, write_records

KEY = "key-that-must-not-be-printed"


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving() as s:
        yield s


@pytest.fixture
def records(tmp_path):
    made = []
    for i, r in enumerate(some_clips(6)):
        asked = [q for lang in ("en", "zh") for q in questions(r, Random(i), lang, 3, 1, "steps")]
        made.append(r.model_copy(update={"questions": asked, "description": asked[0].answer}))
    path = tmp_path / "records.jsonl"
    write_records(path, made)
    return path


def endpoint(server, **more):
    return Endpoint(server.url + "/chat/completions", "m", **more)


def reworded(text: str) -> str:
    return text.replace("suffers from", "is marked by").replace("The picture", "Here the picture") + " "


def answers(path):
    return [q.answer for r in read_records(path) for q in r.questions]


def test_good_rewrites_are_taken_and_the_protocol_is_spoken(server, records, tmp_path, monkeypatch):
    monkeypatch.setenv("AVQA_TEST_KEY", KEY)
    server.reply = reworded
    out = tmp_path / "out" / "new.jsonl"
    done = CliRunner().invoke(
        app, ["rewrite", str(records), "-o", str(out), "--endpoint", server.url, "--model", "m", "--key-env",
              "AVQA_TEST_KEY", "--temperature", "0.7"],
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    numbers = json.loads(done.stdout)
    assert numbers == {"texts": 12, "rewritten": 12, "changed": 0, "empty": 0, "unclear": 0, "failed": 0}
    assert len(server.seen) == 12  # a description and the answer it was copied from are one text
    body = server.seen[0]
    assert (body["path"], body["key"], body["model"]) == ("/v1/chat/completions", f"Bearer {KEY}", "m")
    assert [m["role"] for m in body["messages"]] == ["system", "user"]
    assert body["temperature"] == 0.7
    for before, after in zip(read_records(records), read_records(out), strict=True):
        assert [" ".join(reworded(q.answer).split()) for q in before.questions] == [q.answer for q in after.questions]
        assert after.description == after.questions[0].answer
        assert after.media == "../" + before.media
    assert KEY not in out.read_text() + done.stdout + done.stderr
    assert [p.name for p in out.parent.iterdir()] == ["new.jsonl"]


BASE = clip([fault("gblur", "video", 4, 1.0, 2.5), fault("hum", "audio", 2)])


@pytest.mark.parametrize(
    ("old", "new", "fact"),
    [
        ("Gaussian blur", "noise", "faults"),  # type
        ("strong", "faint", "faults"),  # severity
        ("strong", "very bad", "faults"),
        ("from 1 to 2.5 s", "from 1 to 2 s", "faults"),  # time
        ("from 1 to 2.5 s", "for a while", "faults"),
        ("in the sound", "in the picture", "faults"),  # side
        ("picture is poor", "picture is fair", "levels"),  # score
        ("overall poor", "overall good", "levels"),
        ("2.4 of 5", "3.4 of 5", "numbers"),
        ("The key fault: Gaussian blur.", "The key fault: hum.", "key"),
        ("The key fault: Gaussian blur.", "The key fault: Gaussian blur. The timing is clean.", "denied"),
    ],
)
def test_a_changed_fact_is_noticed(old, new, fact):
    text = (
        "The picture has strong Gaussian blur from 1 to 2.5 s. One hears slight hum in the sound. "
        "The key fault: Gaussian blur. Because of Gaussian blur, the picture is poor. The sound is good. "
        "The verdict: overall poor, at 2.4 of 5."
    )
    assert old in text
    assert read(text, "en").difference(read(text.replace(old, new), "en")) == fact
    assert read(text, "en").difference(read(text.replace("The picture has", "We see, in the picture,"), "en")) is None


@pytest.mark.parametrize("language", ["en", "zh"])
def test_another_clip_never_has_the_same_facts(language):
    described = [describe_clip(r, Random(1), language, "steps") for r in some_clips(60)]
    assert all(read(t, language).clear for t in described)
    faulty = [t for t in described if read(t, language).faults]
    same = [(a, b) for a in faulty for b in faulty if a != b and read(a, language) == read(b, language)]
    assert not same


@pytest.mark.parametrize("bad", [lambda t: "The picture is excellent.", lambda t: "", lambda t: t + " x" * 2000])
def test_bad_answers_keep_the_original(server, records, tmp_path, bad):
    server.reply = bad
    numbers = rewrite.rewrite_records(records, tmp_path / "o.jsonl", endpoint(server), 2)
    assert numbers["changed"] + numbers["empty"] == 12
    assert answers(tmp_path / "o.jsonl") == answers(records)
    assert len(server.seen) == 24  # each was asked for twice


def test_a_sentence_with_several_faults_is_not_sent(server, tmp_path):
    r = clip([fault("gblur", "video", 4), fault("gnoise", "video", 1)])
    write_records(tmp_path / "r.jsonl", [r.model_copy(update={"description": describe_clip(r, Random(0), "en")})])
    numbers = rewrite.rewrite_records(tmp_path / "r.jsonl", tmp_path / "o.jsonl", endpoint(server))
    assert (numbers["unclear"], server.seen) == (1, [])


def test_passing_failures_are_retried(server):
    replies = iter([(429, {"Retry-After": "0.02"}), (503, {}), b"not json", b'{"choices": []}', "fine"])
    server.reply = lambda _: next(replies)
    assert endpoint(server).chat("s", "u") == "fine"
    assert len(server.seen) == 5


def test_lasting_failures_end_with_what_was_wrong(server):
    server.reply = lambda _: (500, {})
    with pytest.raises(EndpointUnavailable, match=r"failed 3 times.*500"):
        endpoint(server, attempts=3).chat("s", "u")
    server.reply = lambda _: (401, {})
    with pytest.raises(ConfigError, match=r"401.*--key-env"):
        endpoint(server, key=KEY).chat("s", "u")
    assert KEY not in repr(endpoint(server, key=KEY))


def test_a_redirect_does_not_carry_the_key_away(server):
    server.reply = lambda _: (302, {"Location": server.url + "/elsewhere"})
    with pytest.raises(ConfigError, match="302"):
        endpoint(server, key=KEY).chat("s", "u")
    assert [s["path"] for s in server.seen] == ["/v1/chat/completions"]


def test_no_key_of_the_environment_is_sent(server, monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, KEY)
    assert endpoint(server).chat("s", "u") == "U"
    assert server.seen[0]["key"] is None
    assert KEY not in str(server.headers[0])


def test_an_answer_that_was_cut_off_is_none(server):
    cut = {"choices": [{"message": {"content": "half a"}, "finish_reason": "length"}]}
    server.reply = lambda _: json.dumps(cut).encode()
    assert endpoint(server).chat("s", "u") is None


def test_an_interrupted_call_goes_on(server, records, tmp_path):
    out = tmp_path / "o.jsonl"
    journal = tmp_path / "o.jsonl.rewrites.jsonl"
    served = []

    def first_five(text):
        served.append(text)
        return reworded(text) if len(served) <= 5 else (500, {})

    server.reply = first_five
    numbers = rewrite.rewrite_records(records, out, endpoint(server, attempts=1), 1)
    assert (numbers["rewritten"], numbers["failed"]) == (5, 7)
    assert len(journal.read_text().splitlines()) == 5
    with journal.open("a") as f:
        f.write('{"key": "cut o')  # the process died while writing
    server.reply, server.seen = reworded, []
    numbers = rewrite.rewrite_records(records, out, endpoint(server), 3)
    assert (numbers["rewritten"], numbers["failed"], len(server.seen)) == (12, 0, 7)
    assert not journal.exists()


def test_a_dead_server_is_given_up(server, records, tmp_path):
    server.reply = lambda _: (500, {})
    numbers = rewrite.rewrite_records(records, tmp_path / "o.jsonl", endpoint(server, attempts=1), 1)
    assert numbers["failed"] == 12
    assert len(server.seen) == GIVE_UP
    assert answers(tmp_path / "o.jsonl") == answers(records)


@pytest.mark.parametrize(
    ("arguments", "flag"),
    [
        (["--endpoint", "file:///etc"], "--endpoint"),
        (["--endpoint", "http://x/v1", "--key-env", "UNSET_9"], "--key-env"),
    ],
)
def test_refusals_name_the_flag(records, tmp_path, arguments, flag):
    done = CliRunner().invoke(app, ["rewrite", str(records), "-o", str(tmp_path / "o"), "--model", "m", *arguments])
    assert done.exit_code == 2
    assert flag in done.stderr
