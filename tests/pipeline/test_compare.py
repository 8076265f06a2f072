"""Two clips against each other: probabilities, reasons, alignment; what people read of it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "batch"))
from fake_rater import rating_of

from mllm_avqa.rater.aligning import Signature, align
from mllm_avqa.rater.comparing import by_interval, compared, levels, ordered
from mllm_avqa.report.takes import picked_text, render_takes, text
from mllm_avqa.schema.clip import AudioTrack, Clip, VideoTrack
from mllm_avqa.schema.comparison import (
    Alignment,
    AspectVerdict,
    ComparedClips,
    PairRules,
    PickedTakes,
    TakePlace,
    beats,
)
from mllm_avqa.schema.measurement import Measurement
from mllm_avqa.schema.rating import Finding, Interval, Rating

RULES = PairRules(scales={"video": {"same": 0.2, "other": 0.6}}, weights="w")
SAME = Alignment(same=["video"])


def clip(start: float = 0.0, seed: int = 0, seconds: float = 6.0, noise: float = 0.0) -> Clip:
    """A pattern that drifts under a tone that comes and goes, seen from `start` on."""
    rng = np.random.default_rng(seed)
    base = np.kron(rng.integers(0, 255, (12, 40)), np.ones((8, 8)))
    times = np.arange(int(seconds * 25)) / 25
    thumbs = np.stack([np.roll(base, int(20 * (t + start)), 1)[:, :160] for t in times])
    thumbs = np.clip(thumbs + np.random.default_rng(9).normal(0, noise, thumbs.shape), 0, 255).astype(np.uint8)
    t = np.arange(int(seconds * 16_000)) / 16_000 + start
    loud = np.interp(t, np.arange(0, 20, 0.2), np.random.default_rng(seed + 1).uniform(0, 1, 100))
    sound = (loud * np.sin(2 * np.pi * 440 * t)).astype(np.float32)
    video = VideoTrack(np.zeros((0, 8, 8, 3), np.uint8), np.zeros(0), thumbs, times)
    return Clip(rating_of("x").media, 0.0, seconds, video, AudioTrack(sound[None], 16_000, 0.0))


def aligned(one: Clip, other: Clip) -> Alignment:
    return align(Signature.of(one), Signature.of(other))


def test_the_same_content_is_found_with_its_delay() -> None:
    found = aligned(clip(), clip(start=1.2, noise=20))
    assert (found.same, found.lag) == (["video", "audio"], -1.2)  # what the first shows at 1.2 s, the second at once
    assert aligned(clip(), clip(noise=20)).lag == 0.0
    other = aligned(clip(), clip(seed=5))
    assert (other.same, other.lag) == ([], 0.0)
    dubbed = clip()
    dubbed.audio = clip(seed=5).audio
    assert aligned(clip(), dubbed).same == ["video"]
    dubbed.audio = None
    assert aligned(clip(), dubbed).sound is None


def test_probabilities() -> None:
    a, b = (rating_of("x", level).scores["overall"] for level in (4, 2))
    assert a is not None
    assert b is not None
    assert levels(a, a) == pytest.approx(0.5)
    assert levels(a, b) + levels(b, a) == pytest.approx(1)
    # analytic: half of the votes on 4 and on 2, the other half evenly on all grades: (1 + 2 * 3.5 / 5 + .5) / 4
    assert levels(a, b) == pytest.approx(0.725)
    assert by_interval(a, b) is None
    for d in (a, b):
        d.interval = Interval(low=d.score - 1.645, high=d.score + 1.645, coverage=0.9)
    assert by_interval(a, b) == pytest.approx(beats(a.score - b.score, 2**0.5), abs=1e-3)  # analytic: std 1 each
    assert beats(0.0, 1.0) == 0.5
    assert beats(1.645, 1.0) == pytest.approx(0.95, abs=1e-3)


def test_a_card_settles_how_sure_a_difference_is() -> None:
    better, worse = rating_of("a.mp4", 4), rating_of("b.mp4", 3)
    same = compared(better, worse, SAME, RULES, {}).verdicts["video"]
    other = compared(better, worse, Alignment(), RULES, {}).verdicts["video"]
    assert (same.better, same.sure, same.by, same.least) == ("first", "clear", "pairs", pytest.approx(0.329, abs=1e-3))
    assert (other.sure, other.by) == ("likely", "pairs")
    assert compared(worse, better, SAME, RULES, {}).verdicts["video"].better == "second"
    assert compared(better, worse, SAME, RULES, {}).missing == {"text": "no captions and no on-screen text found"}
    asked = compared(better, worse, SAME, RULES.model_copy(update={"by": "question"}), {"video": 0.2})
    assert (asked.verdicts["video"].better, asked.verdicts["video"].by) == ("second", "question")


def noisy() -> Rating:
    noise = Measurement(name="noise", modality="video", value=12.0, unit="levels of 255", severity="strong")
    blur = Measurement(name="blur", modality="video", value=3.2, unit="px", severity="strong")
    hum = Finding(side="audio", kind="hum", name="hum", severity="moderate", probability=0.8)
    return rating_of("b.mp4", 2, evidence=[noise, blur], findings=[hum])


def test_reasons_name_what_is_worse() -> None:
    quiet = Measurement(name="noise", modality="video", value=1.0, unit="levels of 255")
    blur = Measurement(name="blur", modality="video", value=3.2, unit="px", severity="strong")
    found = compared(rating_of("a.mp4", 4, evidence=[quiet, blur]), noisy(), SAME, None, {})
    (video,) = found.verdicts["video"].why
    assert (video.name, video.against, video.first, video.second) == ("noise", "second", 1.0, 12.0)
    assert [r.name for r in found.verdicts["audio"].why] == ["hum"]
    assert {r.name for r in found.differing} == {"noise", "hum"}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_people_read(language: str) -> None:
    first = rating_of("<b>a.mp4", 4, language=language)
    second = noisy().model_copy(update={"language": language})
    found = compared(first, second, Alignment(same=["video"], lag=1.5), RULES, {})
    told, page = text(found), render_takes(found, {}, limits="limits")
    assert {"en": "the first is clearly better", "zh": "第一个明显更好"}[language] in told
    assert {"en": "1.5 s late", "zh": "晚 1.5 秒"}[language] in told
    assert "&lt;b&gt;a.mp4" in page
    assert "<b>a.mp4" not in page
    assert ComparedClips.model_validate_json(found.model_dump_json()) == found
    places = [TakePlace(rank=n, index=n - 1, path=r.path, score=3.0) for n, r in enumerate((first, second), 1)]
    picked = PickedTakes(aspect="video", places=places, against_best=[found], failed={"c.mp4": "broken"})
    assert "c.mp4: broken" in picked_text(picked, language)
    assert {"en": "number 1 is clearly better", "zh": "第 1 个明显更好"}[language] in render_takes(picked, {})


def test_order_puts_clips_without_a_score_last() -> None:
    assert ordered([rating_of("a", 2), rating_of("b", 4), rating_of("c", 3)], "overall") == [1, 2, 0]
    mute = rating_of("d", 5)
    mute.scores["audio"] = None
    assert ordered([mute, rating_of("b", 1)], "audio") == [1, 0]
    assert AspectVerdict.of(0.1, 0.6, "levels", None, []).sure == "open"
