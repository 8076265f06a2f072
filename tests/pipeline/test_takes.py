"""Compare and pick with the embedded checkpoint, on arrays of a second each."""

from __future__ import annotations

import numpy as np
import pytest

from mllm_avqa import Arrays, Rater
from mllm_avqa.schema.errors import ConfigError, MediaError

RNG = np.random.default_rng(0)
PICTURE = np.kron(RNG.integers(0, 255, (12, 16, 3), dtype=np.uint8), np.ones((10, 10, 1), np.uint8))
FRAMES = np.stack([np.roll(PICTURE, 4 * n, 1) for n in range(12)])
NOISY = np.clip(FRAMES + RNG.normal(0, 40, FRAMES.shape), 0, 255).astype(np.uint8)
TIMES = np.arange(16_000) / 16_000
SOUND = (np.sin(2 * np.pi * 440 * TIMES) * np.interp(TIMES, np.linspace(0, 1, 9), RNG.uniform(0, 0.6, 9))).astype("f4")


def take(name: str, frames: np.ndarray = FRAMES, sound: np.ndarray | None = SOUND) -> Arrays:
    return Arrays(frames, 12, sound, 16_000, name)


@pytest.fixture(scope="module")
def rater() -> Rater:
    return Rater.from_pretrained("nano")


def test_compare_turns_with_the_order(rater: Rater) -> None:
    found = rater.compare(take("clean"), take("noisy", NOISY))
    turned = rater.compare(take("noisy", NOISY), take("clean"))
    assert found.alignment.same == ["video", "audio"]
    assert (found.first.path, found.second.path) == ("clean", "noisy")
    a, b = found.verdicts["video"], turned.verdicts["video"]
    assert (a.difference, a.probability) == (pytest.approx(-b.difference), pytest.approx(1 - b.probability, abs=1e-3))
    assert any(r.name == "noise" and r.against == "second" for r in a.why)
    assert found.verdicts["audio"].difference == 0
    assert len(found.windows) == 1


def test_pick_orders_and_names_what_it_could_not_rate(rater: Rater) -> None:
    found = rater.pick([take("noisy", NOISY), take("clean"), b"no clip", take("mute", sound=None)], aspect="video")
    assert sorted(p.index for p in found.places) == [0, 1, 3]
    assert list(found.failed) == ["bytes"]
    scores = [p.score for p in found.places]
    assert scores == sorted(scores, key=lambda s: -(s or 0))
    assert [c.second.path for c in found.against_best] == [p.path for p in found.places[1:]]
    assert found.places[0].beats_next is not None
    assert found.places[-1].beats_next is None
    with pytest.raises(ConfigError, match="at least 2"):
        rater.pick([take("one")])
    with pytest.raises(MediaError):
        rater.pick([b"no clip", b"no clip either"])


def test_the_model_itself_is_asked_where_it_was_taught_to(rater: Rater) -> None:
    paths = [take("clean"), take("noisy", NOISY)]
    encoded = []
    from mllm_avqa.media.sources import as_file

    for source in paths:
        with as_file(source, rater.reader.limits) as (path, _):
            encoded.append(rater.scorer.encode(next(rater.windows(path))))
    p, turned = (rater.corridor.better(a, b, "video", "en") for a, b in (encoded, encoded[::-1]))
    assert 0 < p < 1
    assert p + turned == pytest.approx(1, abs=1e-4)  # by construction: both orders are asked
    assert rater.corridor.better(encoded[0], encoded[0], "video", "en") == pytest.approx(0.5, abs=1e-4)
