"""What is refused, with which status: one table for all ways a request can be wrong."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from mllm_avqa.rater import Rater
from mllm_avqa.schema import errors
from mllm_avqa.schema.clip import Limits
from mllm_avqa.schema.errors import AvqaError
from mllm_avqa.serving import refusals
from mllm_avqa.serving.bounds import ServerBounds
from mllm_avqa.serving.doors import Doors
from mllm_avqa.serving.refusals import STATUS, Busy, TooManyRequests, as_json, status_of

RATE, CHAT = "/v1/ratings", "/v1/chat/completions"
JSON = {"Content-Type": "application/json"}


def subclasses(error: type[AvqaError]) -> set[type[AvqaError]]:
    return {error} | {c for s in error.__subclasses__() for c in subclasses(s)}


def test_every_typed_error_has_a_status_and_what_is_wrong_inside_stays_there():
    known = subclasses(AvqaError)
    assert {errors.MediaTimeout, refusals.Busy} <= known
    for error in known:
        made = error.__new__(error)
        Exception.__init__(made, "secret")
        status = status_of(made)
        assert 400 <= status < 600
        assert ("secret" in str(as_json(made, status))) == (status != 500)
    assert set(STATUS) <= known


REFUSED = {
    "no clip": (RATE, {"data": {"text": "x"}, "files": {}}, {400, 415}),
    "text file": (RATE, {"files": {"clip": ("a.txt", b"hello " * 100)}}, {415}),
    "empty file": (RATE, {"files": {"clip": ("a.mp4", b"")}}, {415}),
    "unknown field": (RATE, {"files": {"clip": ("a.mp4", b"x"), "b": ("c", b"x")}}, {400, 422}),
    "two clips": (RATE, {"files": [("clip", ("a", b"x")), ("clip", ("b", b"y"))]}, {400}),
    "too large": (RATE, {"files": {"clip": ("a.mp4", b"0" * 2_100_000)}}, {413}),
    "too large a data URL": (RATE, {"json": {"clip": "data:;base64," + "A" * 3_000_000}}, {413}),
    "no type": (RATE, {"content": b"hello"}, {415}),
    "another type": (RATE, {"content": b"<a/>", "headers": {"Content-Type": "text/xml"}}, {415}),
    "broken JSON": (RATE, {"content": b'{"clip": ', "headers": JSON}, {400}),
    "deep JSON": (RATE, {"content": b"[" * 100_000, "headers": JSON}, {400, 422}),
    "not UTF-8": (RATE, {"content": b'{"clip": "\xff\xfe"}', "headers": JSON}, {400}),
    "wrong type": (RATE, {"json": {"clip": 5}}, {422}),
    "unknown key": (RATE, {"json": {"clip": "a", "extra": 1}}, {422}),
    "a list": (RATE, {"json": []}, {422}),
    "no base64": (RATE, {"json": {"clip": "data:video/mp4;base64,!!!"}}, {400}),
    "no data": (RATE, {"json": {"clip": "data:,hello"}}, {400}),
    "up the tree": (RATE, {"json": {"clip": "../../../etc/passwd"}}, {404}),
    "absolute": (RATE, {"json": {"clip": "/etc/passwd"}}, {404}),
    "file address": (RATE, {"json": {"clip": "file:///etc/passwd"}}, {404}),
    "encoded": (RATE, {"json": {"clip": "file:///%2e%2e/%2e%2e/etc/passwd"}}, {404}),
    "NUL": (RATE, {"json": {"clip": "a\0b"}}, {404}),
    "a folder": (RATE, {"json": {"clip": "."}}, {404}),
    "very long": (RATE, {"json": {"clip": "a/" * 5000}}, {404}),
    "another machine's file": (RATE, {"json": {"clip": "file://host/share"}}, {403}),
    "remote": (RATE, {"json": {"clip": "http://127.0.0.1/x"}}, {403}),
    "another scheme": (RATE, {"json": {"clip": "gopher://x/"}}, {404}),
    "long text": (RATE, {"files": {"clip": ("a", b"x")}, "data": {"text": "x" * 30_000}}, {400, 422}),
    "language": (RATE + "?lang=xx", {"files": {"clip": ("a", b"x")}}, {422}),
    "no number": (RATE + "?wait=soon", {"files": {"clip": ("a", b"x")}}, {422}),
    "no messages": (CHAT, {"json": {"model": "nano", "messages": []}}, {422}),
    "no clip in a chat": (CHAT, {"json": {"model": "nano", "messages": [{"role": "user", "content": "hi"}]}}, {422}),
    "unknown parameter": (CHAT, {"json": {"model": "nano", "messages": [{"role": "user"}], "tools": []}}, {422}),
    "nothing there": ("/v1/other", {"json": {}}, {404}),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_wrong_request_has_its_status_and_a_form(client: TestClient, case: str):
    place, request, allowed = REFUSED[case]
    answer = client.post(place, **request)
    assert answer.status_code in allowed, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"} and error["message"]
    assert "/tmp" not in answer.text and "root:" not in answer.text
    assert client.app.state.house.doors.taken == 0
    assert list(client.app.state.house.arrivals.spool.iterdir()) == []


def test_a_link_out_of_the_media_root_is_not_followed(serve, clip: Path, tmp_path: Path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "out.mp4").symlink_to(clip)
    client = serve(media_root=root)
    assert client.post(RATE, json={"clip": "out.mp4"}).status_code == 404


def test_pixels_and_seconds_of_a_clip_are_bounded(serve, rater: Rater, clip: Path):
    small = Rater(
        rater.backbone, rater.card, rater.weights, limits=Limits(max_pixels=1000), language="en", context="fast"
    )
    answer = serve(lambda: small).post(RATE, files={"clip": ("my.mp4", clip.read_bytes())})
    assert answer.status_code == 413 and "my.mp4" in answer.json()["error"]["message"]


def test_without_its_key_nothing_opens_but_health(serve, clip: Path):
    client = serve(keys=["correct-key"])
    for headers in ({}, {"Authorization": "Bearer wrong-key"}, {"Authorization": "Basic correct-key"}):
        for call in (client.get("/v1/models", headers=headers), client.post(RATE, json={}, headers=headers)):
            assert call.status_code == 401 and call.headers["www-authenticate"] == "Bearer"
            assert call.json()["error"]["type"] == "authentication_error"
    assert client.get("/healthz").status_code == client.get("/readyz").status_code == 200
    assert client.get("/v1/models", headers={"Authorization": "Bearer correct-key"}).status_code == 200


def test_pages_of_other_sites_may_not_ask(serve):
    client = serve(names=["testserver", "localhost"])
    assert client.get("/healthz").status_code == client.get("/", headers={"Host": "LOCALHOST:80"}).status_code == 200
    for name in ("evil.example", "evil.example:8000", "localhost.evil.example", ""):
        assert client.get("/healthz", headers={"Host": name}).status_code == 403
    assert client.post(RATE, files={"clip": ("a", b"x")}, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403


def test_while_the_model_loads_the_server_says_so(serve, rater: Rater):
    go = threading.Event()

    def load() -> Rater:
        go.wait(30)
        return rater

    client = serve(load, wait=False)
    for call in (client.get("/readyz"), client.get("/v1/models"), client.post(RATE, files={"clip": ("a", b"x")})):
        assert call.status_code == 503 and int(call.headers["retry-after"]) >= 1
    assert client.get("/healthz").status_code == 200
    go.set()


def test_more_requests_than_a_key_has_or_than_there_are_places_wait():
    now = [0.0]
    doors = Doors([], per_minute=60, places=1, clock=lambda: now[0])
    for _ in range(60):
        doors.count("me")
    with pytest.raises(TooManyRequests) as refused:
        doors.count("me")
    assert refused.value.retry == pytest.approx(1.0)  # analytic: one a second
    doors.count("other")
    now[0] = 1.0
    doors.count("me")
    place = doors.enter(retry=3)
    with pytest.raises(Busy):
        doors.enter(retry=3)
    place.leave()
    place.leave()
    assert doors.taken == 0 and doors.enter(1)


def test_rate_and_places_have_their_status(serve):
    client = serve(bounds=ServerBounds(per_minute=2))
    codes = [client.get("/v1/models") for _ in range(3)]
    assert [c.status_code for c in codes] == [200, 200, 429] and int(codes[-1].headers["retry-after"]) >= 1
    client = serve(bounds=ServerBounds(places=1))
    client.app.state.house.doors.enter(0)
    full = client.post(RATE, files={"clip": ("a", b"x")})
    assert full.status_code == 503 and full.headers["retry-after"] and full.json()["error"]["code"] == "busy"


def test_a_bug_in_a_route_tells_nothing(client: TestClient, monkeypatch: pytest.MonkeyPatch):
    def bug(*_: object) -> None:
        raise IndexError("secret")

    monkeypatch.setattr(client.app.state.house.orders, "get", bug)
    answer = client.get("/v1/ratings/x")
    assert answer.status_code == 500 and "secret" not in answer.text
