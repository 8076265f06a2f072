"""`/v1/ratings` from outside: every way a clip comes in, every form a rating goes out in, and nobody else's."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from mllm_avqa.rater import Rater
from mllm_avqa.schema.rating import Rating
from mllm_avqa.serving.bounds import ServerBounds


def upload(clip: Path, name: str = "clip.mp4") -> dict:
    return {"clip": (name, clip.read_bytes(), "video/mp4")}


@pytest.fixture(scope="module")
def told(rater: Rater, clip: Path) -> Rating:
    """What the rater itself says of the clip."""
    return rater.rate(clip)


def same(answer: dict, told: Rating) -> bool:
    """Scores to the last digit, and everything that follows from them."""
    mine = json.loads(told.model_dump_json())
    return all(answer[k] == mine[k] for k in ("scores", "missing", "findings", "claims", "evidence", "fingerprint"))


def test_an_uploaded_clip_gets_the_rating_that_the_library_gives(client: TestClient, clip: Path, told: Rating):
    answer = client.post("/v1/ratings", files=upload(clip, "../../etc/<b>my clip</b>.mp4"))
    assert answer.status_code == 200
    rating = Rating.model_validate(answer.json())
    assert same(answer.json(), told)
    assert rating.path == rating.media.path == "b>.mp4"  # the last part of the name, and no path of the server
    assert str(client.app.state.house.arrivals.spool) not in answer.text


def test_a_data_url_and_a_path_below_the_root_get_it_too(client: TestClient, clip: Path, told: Rating):
    url = "data:video/mp4;base64," + base64.b64encode(clip.read_bytes()).decode()
    for place in (url, clip.name, f"file://{clip}".replace(" ", "%20")):
        answer = client.post("/v1/ratings", json={"clip": place})
        assert answer.status_code == 200, answer.text
        assert same(answer.json(), told)
        assert str(clip.parent) not in answer.text


def test_uploads_are_deleted_whatever_happens(client: TestClient, clip: Path):
    client.post("/v1/ratings", files=upload(clip))
    client.post("/v1/ratings", files={"clip": ("x.mp4", b"no clip")})
    client.post("/v1/ratings", files={"clip": ("x.mp4", b"no clip"), "other": "x"})
    assert list(client.app.state.house.arrivals.spool.iterdir()) == []


def test_what_is_asked_for_is_given(client: TestClient, clip: Path):
    plain = client.post("/v1/ratings?explain=false&windows=false", files=upload(clip)).json()
    assert plain["explanation"] is None and "windows" not in plain
    chinese = client.post("/v1/ratings?lang=zh", files=upload(clip), data={"text": "a caption"}).json()
    assert chinese["language"] == "zh" and any("\u4e00" <= c <= "\u9fff" for c in chinese["explanation"])
    assert [i["text"] for i in chinese["context"]["items"] if i["origin"] == "user"] == ["a caption"]


def test_who_accepts_html_gets_the_report_with_frames_and_without_scripts_of_strangers(client: TestClient, clip: Path):
    name = "<script>alert(1)</script>.mp4"
    answer = client.post(
        "/v1/ratings", files=upload(clip, name), data={"text": "<img src=x onerror=alert(2)>"},
        headers={"Accept": "text/html"},
    )  # fmt: skip
    assert answer.headers["content-type"].startswith("text/html")
    assert "data:image/jpeg;base64," in answer.text and "Over time" not in answer.text
    assert "<script" not in answer.text and "<img src=x" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_a_rating_is_followed_asked_for_and_deleted(client: TestClient, clip: Path):
    begun = client.post("/v1/ratings?wait=0&frames=true", files=upload(clip))
    assert begun.status_code == 202 and begun.json()["state"] in ("queued", "running")
    place = begun.headers["location"]
    events = client.get(place, headers={"Accept": "text/event-stream"}).text.strip().split("\n\n")
    names = [e.split("\n")[0] for e in events]
    assert names[-1] == "event: rating" and set(names[:-1]) <= {"event: progress"} and len(names) > 1
    followed = json.loads(events[-1].partition("\ndata: ")[2])
    assert client.get(place).json() == followed
    frames = client.get(f"{place}/frames").json()
    assert frames and frames[0]["image"].startswith("data:image/jpeg;base64,")
    assert client.delete(place).status_code == 204
    assert client.get(place).status_code == client.delete(place).status_code == 404


def test_ratings_belong_to_their_key(serve, clip: Path):
    client = serve(keys=["first-key", "second-key"])
    mine, other = ({"Authorization": f"Bearer {k}"} for k in ("first-key", "second-key"))
    place = client.post("/v1/ratings", files=upload(clip), headers=mine).headers["location"]
    assert client.get(place, headers=mine).status_code == 200
    for headers in (other, {}):
        assert client.get(place, headers=headers).status_code in (401, 404)
        assert client.delete(place, headers=headers).status_code in (401, 404)
    assert client.get(place, headers=other).json() == client.get("/v1/ratings/nothing", headers=other).json()


def test_ended_ratings_are_kept_for_a_while_and_few_of_them(serve, clip: Path):
    client = serve(bounds=ServerBounds(kept=1))
    places = [client.post("/v1/ratings?explain=false", files=upload(clip)).headers["location"] for _ in range(3)]
    assert [client.get(p).status_code for p in places] == [404, 404, 200]


def test_clips_that_come_together_are_scored_together(serve, clip: Path, told: Rating):
    client = serve()
    places = [client.post("/v1/ratings?wait=0&explain=false", files=upload(clip)).headers["location"] for _ in range(6)]
    for place in places:
        client.get(place, headers={"Accept": "text/event-stream"})  # until it is done
        assert client.get(place).json()["scores"] == json.loads(told.model_dump_json())["scores"]
    runs = [line for line in client.get("/metrics").text.splitlines() if line.startswith("avqa_run_clips_")]
    count = next(float(line.split()[1]) for line in runs if line.startswith("avqa_run_clips_count"))
    assert count < 6
    assert "avqa_clips_total 6.0" in client.get("/metrics").text
