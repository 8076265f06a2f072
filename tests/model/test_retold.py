"""Other facts behind a held prefix give the scores of a window that was encoded with them."""

from functools import partial

import pytest
from sample_views import make_views

from mllm_avqa.corridor import Corridor
from mllm_avqa.model.prompting import Branch
from mllm_avqa.model.retold import Change
from mllm_avqa.model.tree import together
from mllm_avqa.schema.card import Card
from mllm_avqa.schema.measurement import Measurement
from mllm_avqa.schema.text import TextContext


class Window:
    """A window as the corridor needs it."""

    def __init__(self, evidence):
        self.views, self.evidence, self.context, self.missing = make_views(), evidence, TextContext(), {}


def facts(hum, blur=1.0):
    return [
        Measurement(name="blur", modality="video", value=blur, unit="px at 540p"),
        Measurement(name="hum", modality="audio", value=hum, unit="dB", severity="strong" if hum > 20 else "none"),
        Measurement(name="loudness", modality="audio", value=-20.0, unit="LUFS"),
    ]


@pytest.mark.parametrize("style", ["values", "grades"])
def test_scores_are_those_of_a_window_encoded_with_the_other_facts(tiny, tiny_dir, style):
    corridor = Corridor(tiny, Card.load(tiny_dir).model_copy(update={"facts": style}))
    held, other = facts(25.0), facts(1.0)
    before, clip = corridor.hold(corridor.encode(Window(held), "en"))
    told = corridor.otherwise(
        clip, held,
        [Change("audio", other, ["audio", "overall", "video"]), Change("video", facts(25.0, 3.0), ["video"])], "en",
    )  # fmt: skip
    assert told is not None
    (right,) = corridor.score([corridor.encode(Window(other), "en")])
    for aspect in ("audio", "overall", "video"):
        assert told[0][aspect].score == pytest.approx(right[aspect].score, abs=2e-4)
    assert told[0]["video"].score == pytest.approx(before["video"].score, abs=2e-4)
    assert told[0]["audio"].score != pytest.approx(before["audio"].score, abs=1e-6)
    (blurred,) = corridor.score([corridor.encode(Window(facts(25.0, 3.0)), "en")])
    assert told[1]["video"].score == pytest.approx(blurred["video"].score, abs=2e-4)
    again, _ = corridor.hold(corridor.encode(Window(held), "en"))
    assert corridor.otherwise(clip, held, [], "en") == [] and again["audio"].score == before["audio"].score


def test_what_it_was_not_encoded_with_cannot_be_retold(tiny, tiny_dir):
    corridor = Corridor(tiny, Card.load(tiny_dir))
    _, clip = corridor.hold(corridor.encode(Window([]), "en"))
    assert corridor.otherwise(clip, facts(25.0), [Change("audio", facts(1.0), ["audio"])], "en") is None


def test_many_short_rows_tell_what_one_long_row_tells(tiny, tiny_dir, monkeypatch):
    corridor = Corridor(tiny, Card.load(tiny_dir))
    held = facts(25.0)
    _, clip = corridor.hold(corridor.encode(Window(held), "en"))
    changes = [Change("audio", facts(v), ["audio", "overall"]) for v in (1.0, 9.0)]
    changes += [Change("video", facts(25.0, 3.0), ["video"]), Change("video", held, [])]
    asked = [Branch(a, f"Is there {w}?", answer="yes") for a in ("audio", "video", "audio") for w in ("hum", "blur")]
    found = []
    for most in (10**6, 1, 10**6):
        monkeypatch.setattr("mllm_avqa.corridor.together", partial(together, most=most))
        scores = corridor.otherwise(clip, held, changes, "en")
        assert scores is not None and [list(s) for s in scores] == [c.aspects for c in changes]
        values = [d.score for s in scores for d in s.values()]
        found.append([*values, *(x for told in corridor.likelihoods(clip, asked) for x in told)])
    assert found[1] == pytest.approx(found[0], abs=2e-4)
    assert found[2] == pytest.approx(found[0], abs=1e-6)  # the held clip is left as it was
