import pytest

from mllm_avqa.model.explain import write
from mllm_avqa.schema.levels import word
from mllm_avqa.schema.rating import ScoreDistribution


def score(value):
    return ScoreDistribution(score=value, std=0.5, level=word(value), probs={}, mass=1.0)


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
