import numpy as np
import pytest

from mllm_avqa.evidence.captions import (
    caption_measurements,
    length,
    reading_length,
    uncovered,
    union,
    wcag_contrast,
    word_errors,
    words,
)
from mllm_avqa.schema.text import TextContext, TextItem

NAMES = [
    "caption_speed",
    "caption_gap",
    "caption_overlap",
    "caption_timing",
    "caption_offset",
    "caption_mismatch",
    "text_height",
    "text_contrast",
]


def cue(start: float, end: float, text: str, detail: str = "clip.srt") -> TextItem:
    return TextItem(origin="sidecar", text=text, start=start, end=end, detail=detail)


def said(start: float | None, end: float | None, text: str) -> TextItem:
    return TextItem(origin="asr", text=text, start=start, end=end)


def user(text: str) -> TextItem:
    return TextItem(origin="user", text=text)


@pytest.fixture
def measure(make_clip):
    def run(*items: TextItem) -> dict:
        found = caption_measurements(make_clip(), TextContext(items=list(items)))
        assert [m.name for m in found] == NAMES and {m.modality for m in found} == {"text"}
        return {m.name: m for m in found}

    return run


def test_nothing_to_measure_says_why(measure) -> None:
    for m in measure().values():
        assert m.value is None and m.note and m.severity == "none" and not m.spans


def test_speed_is_the_fastest_cue(measure) -> None:
    m = measure(cue(0, 2, "x" * 20), cue(3, 4, "y" * 26))["caption_speed"]
    assert (m.value, m.severity, m.spans) == (26.0, "moderate", [(3.0, 4.0)])  # analytic; 25 <= 26 < 32
    assert measure(cue(0, 1, "今天天气很好呀"))["caption_speed"].value == 14.0  # 7 wide characters
    assert reading_length("ab 中") == 5


def test_gap_overlap(measure) -> None:
    m = measure(said(0, 4, "a b c"), said(6, 8, "d e f"), cue(1, 4, "a b c"))
    assert m["caption_gap"].value == 50.0 and m["caption_gap"].severity == "moderate"  # 3 of 6 s
    assert m["caption_gap"].spans == [(0.0, 1.0), (6.0, 8.0)]
    m = measure(cue(0, 3, "one"), cue(2, 4, "two"), cue(0, 4, "zwei", "clip.de.srt"))["caption_overlap"]
    assert m.value == 25.0 and m.spans == [(2.0, 3.0)]  # the other language stands there by intent


def test_offset_is_signed_and_graded_by_size(measure) -> None:
    late = measure(said(1, 2, "the quick brown fox"), cue(3.5, 4.5, "The quick, brown fox!"))["caption_offset"]
    assert (late.value, late.severity) == (2.5, "moderate")
    early = measure(said(3.5, 4.5, "the quick brown fox"), cue(1, 2, "the quick brown fox"))["caption_offset"]
    assert (early.value, early.severity) == (-2.5, "moderate")
    assert (
        measure(said(1, 2, "something else entirely"), cue(1, 2, "the quick brown fox"))["caption_offset"].value is None
    )


def test_mismatch_against_recognised_speech(measure) -> None:
    speech = said(0, 4, "one two three four five six seven eight nine ten")
    m = measure(speech, cue(0, 4, "One, two, THREE; four five six seven [music] eight nine ten."))["caption_mismatch"]
    assert (m.value, m.severity) == (0.0, "none")
    m = measure(speech, cue(0, 4, "one two three four five x x x nine ten"))["caption_mismatch"]
    assert (m.value, m.severity) == (30.0, "moderate")
    m = measure(speech, cue(0, 4, "a b c d e f g h i j"))["caption_mismatch"]
    assert (m.value, m.severity) == (100.0, "severe")


def test_mismatch_takes_the_captions_in_the_spoken_language(measure) -> None:
    speech = said(0, 4, "one two three four")
    both = (cue(0, 4, "eins zwei drei vier", "clip.de.srt"), cue(0, 4, "one two three four", "clip.en.srt"))
    assert measure(speech, *both)["caption_mismatch"].value == 0.0
    other = measure(speech, cue(0, 4, "一二三四"))["caption_mismatch"]
    assert other.value is None and "script" in other.note


def test_users_transcript_may_be_longer_but_a_remark_is_none(measure) -> None:
    film = user("before all this one two three four five and much more after it")
    assert measure(film, cue(0, 4, "one two three four six"))["caption_mismatch"].value == 20.0
    remark = measure(user("please tell me how good this is"), cue(0, 4, "one two three four"))["caption_mismatch"]
    assert remark.value is None and "no transcript" in remark.note


def test_cues_mostly_outside_the_window_are_not_compared(measure) -> None:
    m = measure(said(0, 7, "one two three"), cue(0, 3, "one two three"), cue(7.5, 12, "next chapter begins"))
    assert m["caption_mismatch"].value == 0.0


def test_words_and_errors() -> None:
    assert words("BOB: It’s 5 o'clock (laughs) ♪") == ["it's", "5", "o'clock"]
    assert words("看video吧") == ["看", "video", "吧"]
    assert word_errors(["kitten", "a", "b", "c"], list("abc")) == 1
    assert word_errors(list("kitten"), list("sitting")) == 3  # published textbook example (Levenshtein)
    assert word_errors(list("xxkittenyy"), list("kitten"), inside=True) == 0
    assert word_errors([], list("ab")) == 2 and word_errors(list("ab"), []) == 2


def test_spans() -> None:
    assert union([(3, 4), (0, 1), (0.5, 2)]) == [(0, 2), (3, 4)]
    assert uncovered([(0, 10)], [(2, 3), (2.5, 4), (9, 12)]) == [(0, 2), (4, 9)]
    assert uncovered([(0, 1)], []) == [(0, 1)] and uncovered([(0, 1)], [(0, 1)]) == []
    assert length([(0, 1), (0.5, 2)]) == 2


def test_wcag_ratios() -> None:
    patch = np.zeros((10, 10, 3), np.uint8)
    patch[3:5] = 255
    assert wcag_contrast(patch) == pytest.approx(21.0)  # published: black on white
    patch[:] = 255
    patch[2:4] = 119
    assert wcag_contrast(patch) == pytest.approx(4.478, abs=0.01)  # published: #777 on white fails 4.5:1
    assert wcag_contrast(patch[:2]) is None and wcag_contrast(patch[:0]) is None


@pytest.mark.parametrize(("size", "expected", "severity"), [(36, 10.0, "none"), (10, 2.8, "slight")])
def test_height_from_boxes(make_clip, size: int, expected: float, severity: str) -> None:
    high = size / 0.85 / 360
    line = TextItem(origin="ocr", text="words", start=0, end=0, box=(0.1, 0.5, 0.4, 0.5 + high), confidence=0.9)
    clip = make_clip(np.zeros((1, 360, 640, 3), np.uint8))
    found = {m.name: m for m in caption_measurements(clip, TextContext(items=[line]))}
    assert found["text_height"].value == pytest.approx(expected, abs=0.05)
    assert found["text_height"].severity == severity
    assert found["text_contrast"].value is None  # a black box holds no text
