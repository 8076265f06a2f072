"""What a cached window belongs to."""

from __future__ import annotations

import pytest

from mllm_avqa.schema.card import ViewSpec
from mllm_avqa.schema.records import Record
from train import cache

RECORD = Record(id="r", media="m.mp4", dataset="d", group="g")


@pytest.fixture
def media(tmp_path):
    path = tmp_path / "m.mp4"
    path.write_bytes(b"x")
    return path


def test_a_window_of_other_code_is_not_taken(media, tmp_path, monkeypatch):
    """The package's version is the same in every checkout: it cannot tell their windows apart."""
    now = cache.cache_path(tmp_path, RECORD, media, ViewSpec(), "fast")
    assert cache.cache_path(tmp_path, RECORD, media, ViewSpec(), "fast") == now
    monkeypatch.setattr(cache, "code_hash", lambda *modules: f"other {'mllm_avqa.windows' in modules}")
    assert cache.cache_path(tmp_path, RECORD, media, ViewSpec(), "fast") != now


@pytest.mark.parametrize("change", [{"start": 1.0}, {"end": 2.0}, {"context": {"user": "words"}}])
def test_a_window_of_another_span_or_text_is_not_taken(media, tmp_path, change):
    one, other = RECORD, RECORD.model_copy(update=change)
    assert len({cache.cache_path(tmp_path, r, media, ViewSpec(), "fast") for r in (one, other)}) == 2
