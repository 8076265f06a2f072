"""The page as it is sent: both languages, nothing from elsewhere, nothing of strangers that is not escaped."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from mllm_avqa.schema.words import load_prompts

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>\u202e'


def shape(value: object) -> object:
    """Keys, and the places to fill in."""
    if isinstance(value, dict):
        return {k: shape(v) for k, v in value.items()}
    return len(value) if isinstance(value, list) else sorted(re.findall(r"{\w+}", str(value)))


def test_both_languages_say_the_same():
    assert shape(load_prompts("page", "en")) == shape(load_prompts("page", "zh"))


@pytest.mark.parametrize(
    ("header", "query", "lang"), [("zh-CN,en", "", "zh-CN"), ("fr", "", "en"), ("zh", "?lang=en", "en")]
)
def test_the_page_speaks_the_language_that_is_asked_for(client: TestClient, header: str, query: str, lang: str):
    page = client.get(f"/{query}", headers={"Accept-Language": header})
    assert page.status_code == 200 and f'<html lang="{lang}">' in page.text


def test_nothing_comes_from_elsewhere_and_nothing_runs_inline(client: TestClient):
    page = client.get("/")
    policy = page.headers["content-security-policy"]
    assert "script-src 'self';" in policy and "unsafe" not in policy
    for kind in ("js", "css"):
        own = client.get(f"/page.{kind}")
        assert own.status_code == 200 and own.headers["x-content-type-options"] == "nosniff"
        assert not re.search(r"https?://|@import", own.text)
    assert not re.search(r"""(src|href)=["']?(https?:)?//|\son\w+=|\sstyle=|<script>""", page.text)
    for name in ("page.py", "page.html.j2", "command.py", "..%2fapp.py", "x.y"):
        assert client.get(f"/{name}").status_code == 404


def test_names_and_texts_of_strangers_stay_text(client: TestClient, clip: Path):
    sent = {"clip": (HOSTILE.replace("/", "|"), clip.read_bytes())}
    answer = client.post("/v1/ratings?hold=true&frames=true&lang=zh", files=sent, data={"text": HOSTILE})
    name = answer.headers["location"].rsplit("/", 1)[-1]
    for part in (f"/page/ratings/{name}", f"/page/compare/{name}/{name}"):
        html = client.get(part).text
        assert "<script" not in html and "<img src=x" not in html and "\u202e" not in html
        assert " style=" not in html
    assert client.get("/page/ratings/other").status_code == 404


def test_a_clip_that_is_rated_for_the_page_can_be_asked_about_until_it_is_deleted(client: TestClient, clip: Path):
    answer = client.post("/v1/ratings?hold=true", files={"clip": ("a.mp4", clip.read_bytes())})
    assert answer.json()["explanation"]
    part = {"type": "video_url", "video_url": {"url": f"sha256:{answer.json()['content_hash']}"}}
    ask = {"model": "nano", "messages": [{"role": "user", "content": [part, {"type": "text", "text": "Noise?"}]}]}
    said = client.post("/v1/chat/completions", json=ask)
    assert said.status_code == 200 and said.json()["usage"]["prompt_tokens_details"]["cached_tokens"] > 0
    assert client.delete(answer.headers["location"]).status_code == 204
    assert client.post("/v1/chat/completions", json=ask).status_code == 404
