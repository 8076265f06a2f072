"""Reading claims in both languages."""

import pytest

from mllm_avqa.model.claims import WHOLE, read_claims, sentences
from mllm_avqa.schema.names import LANGUAGES
from mllm_avqa.schema.words import load_prompts


def faults(text, language="en"):
    return [(f.name, f.side, f.severity, f.span) for f in read_claims(text, language).faults]


def test_sentences_keep_decimals_and_codec_names():
    text = "The picture has H.264 compression from 1.5 to 2.5 s. The sound is fine."
    assert sentences(text) == ["The picture has H.264 compression from 1.5 to 2.5 s.", "The sound is fine."]


@pytest.mark.parametrize("name", ["claims", "words", "judge"])
def test_both_languages_have_the_same_keys(name):
    en, zh = (load_prompts(name, x) for x in LANGUAGES)
    assert set(en) == set(zh)
    for k, v in en.items():
        if isinstance(v, dict) and k not in ("keys", "known"):  # English is said and keyed as it is
            assert set(v) == set(zh[k])


@pytest.mark.parametrize(
    ("text", "language", "wanted"),
    [
        (
            "There is strong Gaussian blur from 1 to 2.5 s and slight noise throughout in the picture.",
            "en",
            [("gblur", "video", 4, (1.0, 2.5)), ("gnoise", "video", 2, WHOLE)],
        ),
        (
            "1到2秒轻微高斯模糊，全程明显画面噪点。",
            "zh",
            [("gblur", "video", 2, (1.0, 2.0)), ("gnoise", "video", 4, WHOLE)],
        ),
        ("From 1 to 2 s, the sound has hum to a faint degree.", "en", [("hum", "audio", 1, (1.0, 2.0))]),
        ("The image is heavily blurred between 1 and 2 seconds.", "en", [("blur", "video", 4, (1.0, 2.0))]),
        ("The sound is noisy.", "en", [("noisy", "audio", None, None)]),
        ("The picture is noisy.", "en", [("noisy", "video", None, None)]),
        ("声音有噪声。", "zh", [("噪声", "audio", None, None)]),
        ("The sound has strong Gaussian blur.", "en", [("gblur", "audio", 4, None)]),  # the wrong side is kept
        ("The main problem is hum. The sound has slight hum.", "en", [("hum", "audio", 2, None)]),  # one claim
        (
            "Slight hum from 0 to 1 s. Severe hum from 2 to 3 s.",
            "en",
            [("hum", "audio", 2, (0.0, 1.0)), ("hum", "audio", 5, (2.0, 3.0))],
        ),
        ("The sound has hum but no clipping.", "en", [("hum", "audio", None, None)]),
        ("The picture has no noise, banding or flicker.", "en", []),
        ("The video is blurred without noise.", "en", [("blur", "video", None, None)]),
        ("画面没有模糊，但声音有混响。", "zh", [("reverb", "audio", None, None)]),
        ("音画不同步。", "zh", [("音画不同步", "sync", None, None)]),
        ("", "en", []),
    ],
)
def test_faults_are_read(text, language, wanted):
    assert faults(text, language) == wanted


def test_clean_sides_levels_and_numbers_are_read():
    c = read_claims(
        "The picture is clean, but the sound has hum. Scores: picture good, sound poor. Overall 2.4 of 5.", "en"
    )
    assert [x.side for x in c.clean] == ["video"]
    assert [(x.aspect, x.value) for x in c.levels] == [("video", 4.0), ("audio", 2.0)]
    assert c.score == 2.4
    assert [x.side for x in read_claims("Nothing disturbs.", "en").clean] == [None]
    assert [x.side for x in read_claims("声音干净。整体质量为 fair。", "zh").clean] == ["audio"]


def test_one_word_on_two_sides_is_two_faults():
    assert [side for _, side, *_ in faults("The picture has noise. The sound has noise.")] == ["video", "audio"]
    assert [side for _, side, *_ in faults("The picture has blur. The sound has blur.")] == ["video", "audio"]


@pytest.mark.parametrize(
    ("text", "language", "score"),
    [
        ("Overall 3.5/5.", "en", 3.5),
        ("Overall 13.5/5.", "en", None),
        ("Overall 13 of 5.", "en", None),
        ("总体 3.5 分。", "zh", 3.5),
        ("总体 13.5 分。", "zh", None),
        ("5 分中的 3.5 分。", "zh", 3.5),
    ],
)
def test_a_score_is_a_whole_number(text, language, score):
    assert read_claims(text, language).score == score


@pytest.mark.parametrize(
    ("text", "language", "absent"),
    [
        ("There are no sound problems.", "en", [("audio", False)]),
        ("没有画面问题。", "zh", [("video", False)]),
        ("No picture, no sound.", "en", [("video", True), ("audio", True)]),
        ("The sound is not missing.", "en", [("audio", False)]),
        ("The sound is missing.", "en", [("audio", True)]),
    ],
)
def test_absence_ends_with_the_side(text, language, absent):
    assert [(c.side, c.absent) for c in read_claims(text, language).clean] == absent
