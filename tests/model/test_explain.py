import pytest

from mllm_avqa.evidence import FACTS, Measurement
from mllm_avqa.model.explain import CONTENT, LOCAL, MEASURES, SUPPORT_ONLY, check_claims, sentences, write
from mllm_avqa.model.prompting import load_prompts
from mllm_avqa.schema.clip import MediaInfo
from mllm_avqa.schema.rating import Rating, ScoreDistribution

CAPTION_FACTS = {"caption_offset", "caption_speed", "caption_mismatch", "caption_gap", "text_height", "text_contrast"}


def score(value):
    return ScoreDistribution(score=value, std=0.5, level="good", probs={}, mass=1.0)


@pytest.fixture
def rating():
    return Rating(
        path="clip.mp4",
        scores={"overall": score(2.1), "video": score(1.6), "audio": score(4.4), "sync": None, "text": None},
        missing={"text": "no captions"},
        evidence=[
            Measurement(name="blur", modality="video", value=3.4, unit="px", severity="strong"),
            Measurement(name="freeze", modality="video", value=0.5, unit="s", severity="moderate", spans=[(1.0, 2.0)]),
            Measurement(name="hum", modality="audio", value=0.1, unit="dB", severity="none"),
            Measurement(name="noise", modality="video", value=0.1, unit="dB", severity="faint"),
            Measurement(name="black", modality="video", value=0.0, unit="s", severity="none"),
            Measurement(name="av_start_offset", modality="sync", value=0.0, unit="ms", severity="none"),
            Measurement(name="balance", modality="audio", value=9.0, unit="dB", severity="severe"),
        ],
        media=MediaInfo(path="clip.mp4", container="mp4", size_bytes=1, duration=4.0),
    )


@pytest.mark.parametrize(
    ("text", "language", "support"),
    [
        ("The picture has strong Gaussian blur throughout.", "en", "supported"),
        ("The sound has slight hum.", "en", "unverified"),  # too small for a measure to rule it out
        ("The sound has severe hum from 1 to 2 s.", "en", "unverified"),  # the measure averages over the clip
        ("The picture has severe black frames from 1 to 2 s.", "en", "contradicted"),  # this one looks at every frame
        ("The picture has strong Gaussian blur and severe black frames.", "en", "contradicted"),
        ("The picture has severe black frames from 1 to 2 s and severe noise.", "en", "contradicted"),
        ("The timing has severe late sound.", "en", "unverified"),  # stream times agree; what is heard may not
        ("The picture is oversaturated.", "en", "unverified"),
        ("The picture suffers from moderate freezing from 1 to 2 s.", "en", "supported"),
        ("The picture suffers from moderate freezing from 3 to 4 s.", "en", "contradicted"),
        ("The sound has severe hum.", "en", "contradicted"),
        ("There is no hum in the sound.", "en", "supported"),
        ("There is no Gaussian blur in the picture.", "en", "contradicted"),
        ("The picture has slight noise.", "en", "unverified"),  # faint: neither clearly there nor clearly absent
        ("The sound has strong Gaussian blur.", "en", "contradicted"),  # right fault, wrong side
        ("The picture has faint Gaussian blur.", "en", "contradicted"),  # measured as strong
        ("The video quality is bad.", "en", "supported"),
        ("The video quality is excellent.", "en", "contradicted"),
        ("Scores: picture poor, sound good, overall poor.", "en", "supported"),
        ("Scores: picture poor, sound bad.", "en", "contradicted"),
        ("The captions are good.", "en", "contradicted"),
        ("The sound has no fault.", "en", "supported"),
        ("Nothing is wrong with the picture.", "en", "contradicted"),
        ("It was filmed on a boat.", "en", "unverified"),
        ("整体质量是 poor。", "zh", "supported"),
        ("画面质量是 excellent。", "zh", "contradicted"),
    ],
)
def test_claims_are_checked_against_evidence_and_scores(rating, text, language, support):
    claim = check_claims(text, rating, language)[0]
    assert claim.support == support
    assert claim.because or support == "unverified"


def test_a_claim_about_a_side_that_is_not_there_is_contradicted(rating):
    rating.scores["audio"] = None
    rating.missing["audio"] = "the file has no audio stream"
    claim = check_claims("The sound has no fault.", rating)[0]
    assert claim.support == "contradicted"
    assert "no audio stream" in claim.because


def test_sentences_keep_decimals_and_codec_names():
    text = "The picture has H.264 compression from 1.5 to 2.5 s. The sound is fine."
    assert sentences(text) == ["The picture has H.264 compression from 1.5 to 2.5 s.", "The sound is fine."]


def test_what_measures_cannot_refute_is_said_of_real_measures():
    assert {*LOCAL, *CONTENT} <= set(FACTS)
    for kind, names in SUPPORT_ONLY.items():
        assert set(names) <= set(MEASURES[kind])


def test_every_checked_kind_has_a_name_and_real_measures():
    for language in ("en", "zh"):
        assert set(MEASURES) <= set(load_prompts("questions", language)["names"])
    assert {m for measures in MEASURES.values() for m in measures} <= set(FACTS) | CAPTION_FACTS


class Scripted:
    """Answers by the aspect of the question, and keeps what was asked."""

    def __init__(self, answers):
        self.answers, self.asked = answers, []

    def generate(self, branch, max_tokens):
        self.asked.append((branch.aspect, branch.question))
        return self.answers.get(branch.aspect, "")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_model_that_lists_faults_writes_with_its_own_lists_before_it(language):
    clip = Scripted({"video": "severe blur", "overall": "It is blurred."})
    scores = {"overall": score(2.1), "video": score(1.2), "audio": score(4.4), "text": None}
    assert write(clip, scores, language, lists_faults=True) == "It is blurred."
    assert [aspect for aspect, _ in clip.asked] == ["video", "audio", "overall"]
    assert "video: severe blur" in clip.asked[-1][1]
    assert "audio:" not in clip.asked[-1][1]  # it had nothing to say


def test_other_models_are_asked_for_nothing_but_the_explanation():
    clip = Scripted({"overall": "Fine."})
    assert write(clip, {"overall": score(4.0)}, "en", lists_faults=False) == "Fine."
    assert clip.asked == [("overall", "Scores: overall good. Explain the rating.")]
