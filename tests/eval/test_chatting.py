"""What counts as a right answer follows from the rating, not from how answers are made."""

import pytest

from eval.chatting import BankItem, RatingTruth, bank, outcome
from mllm_avqa.schema.clip import MediaInfo
from mllm_avqa.schema.faults import fault_kinds
from mllm_avqa.schema.measurement import Measurement
from mllm_avqa.schema.rating import Finding, Rating, ScoreDistribution


def score(value):
    return ScoreDistribution(score=value, std=0.5, level="fair", probs={}, mass=1.0)


def rated():
    hum = fault_kinds()["hum"]
    return Rating(
        path="c.mp4", scores={"overall": score(2.5), "video": score(3.42), "audio": score(1.93)},
        findings=[
            Finding(
                side="audio", kind="hum", name="hum", severity="strong", span=(1, 2.5), gain=2.0, remedy=hum.remedy.en
            )
        ],
        evidence=[Measurement(name="clicks", modality="audio", value=7.0, unit="1/s", severity="moderate")],
        media=MediaInfo(path="c.mp4", container="mp4", size_bytes=1, duration=4.0),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("want", "text", "how"),
    [
        ({"want": "score", "of": "audio"}, "It gets 1.93 points.", "right"),
        ({"want": "score", "of": "audio"}, "It gets 3.42 points.", "wrong"),
        ({"want": "limit", "of": "video", "limit": 4}, "No, it is 3.42.", "right"),
        ({"want": "limit", "of": "video", "limit": 4}, "Yes, it is 3.42.", "wrong"),
        ({"want": "presence", "kinds": ["hum"]}, "Yes, there is.", "right"),
        ({"want": "presence", "kinds": ["echo"]}, "Yes, there is.", "wrong"),
        ({"want": "presence", "kinds": ["clicks"]}, "Hard to tell: drums click.", "right"),
        ({"want": "presence", "kinds": ["clicks"]}, "No.", "wrong"),
        ({"want": "worst"}, "Hum is worst.", "right"),
        ({"want": "when"}, "From 1 to 2.5 s.", "right"),
        ({"want": "when"}, "Throughout.", "wrong"),
        ({"want": "worst_side"}, "The sound, 1.93.", "right"),
        ({"want": "duration"}, "4 s", "right"),
        ({"want": "fix"}, "Check the grounding, or filter out the mains frequency.", "right"),
        ({"want": "helps"}, "No fault has to be mended.", "right"),
        ({"want": "helps"}, "Buy a microphone.", "wrong"),
        ({"want": "streams", "of": "text"}, "No captions.", "right"),
        ({"want": "streams", "of": "text"}, "Yes.", "wrong"),
    ],
)
def test_outcomes(want, text, how):
    assert outcome(BankItem(ask="?", **want), rated(), "en", text, False) == how


def test_refusing_is_right_only_where_nothing_can_be_known():
    assert outcome(BankItem(ask="?", want="refuse"), rated(), "en", "", True) == "refused rightly"
    assert outcome(BankItem(ask="?", want="refuse"), rated(), "en", "He is Tom.", False) == "wrong"
    assert outcome(BankItem(ask="?", want="score"), rated(), "en", "", True) == "refused"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_bank_is_sixty_questions_of_which_half_is_unseen(language):
    from mllm_avqa.model.talk.reading import reader

    unseen, seen = bank(language, "unseen"), bank(language, "seen")
    assert len(unseen) == len(seen) == 30
    assert all(i.want == "refuse" or hasattr(RatingTruth, i.want) for i in unseen + seen)
    learnt = set(reader(language).texts)
    assert not learnt & {i.ask.lower().rstrip("?？") for i in unseen}
