"""What the scores rest on, on the screen and on the page."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import pytest
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parent.parent / "batch"))
from fake_rater import rating_of

from mllm_avqa.model.attribution import INPUTS, MODALITIES
from mllm_avqa.report import digest
from mllm_avqa.report.html import render_html
from mllm_avqa.report.labels import signed
from mllm_avqa.report.terminal import render
from mllm_avqa.schema.rating import Attribution, Shares
from mllm_avqa.schema.words import load_prompts

INPUT_SHARES = {"picture": -0.8, "video_facts": 0.2, "sound": 0.001, "user": 0.4}


def attributed(errors=None, language="en"):
    shares = Shares(full=3.0, empty=3.2, shares=INPUT_SHARES, errors=errors or {})
    whole = Shares(full=3.0, empty=3.2, shares={"video": -0.6, "audio": 0.001, "text": 0.4})
    rating = rating_of("a.mp4", language=language)
    rating.attribution = Attribution(
        inputs={"overall": shares, "video": shares}, modalities={"overall": whole, "video": whole}, coalitions=16,
        orders=9 if errors else 0,
    )  # fmt: skip
    return rating


def screen(rating):
    out = io.StringIO()
    Console(file=out, width=160).print(render(rating))
    return out.getvalue()


def test_inputs_stand_below_their_modality():
    lines = digest.share_lines(attributed().attribution)
    assert [(line.player, line.part) for line in lines] == [
        ("video", False), ("picture", True), ("video_facts", True), ("audio", False), ("sound", True), ("text", False),
        ("user", True),
    ]  # fmt: skip
    assert lines[1].shares == {"overall": -0.8, "video": -0.8}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_both_reports_tell_the_shares(language):
    tables = load_prompts("words", language)
    words, rating = tables["report"], attributed({"picture": 0.05, "sound": 0.125}, language)
    estimate = words["estimated"].format(n=9, error=0.125)
    for report in (screen(rating), render_html(rating)):
        for part in (words["attribution"], words["nothing_given"], words["everything_given"], "−0.80", "+0.40", "3.20"):
            assert part in report
        assert tables["inputs"]["video_facts"] in report and tables["origins"]["user"] in report
        assert estimate.split("9")[0] in report and "0.125" in report
    exact = attributed(language=language)
    assert words["estimated"].split("{")[0] not in screen(exact)
    exact.attribution = None
    assert words["attribution"] not in screen(exact) and words["attribution"] not in render_html(exact)


def test_bars_start_in_the_middle_and_the_longest_reaches_the_edge():
    page = render_html(attributed())
    bars = re.findall(r'spans share"><i style="left: ([\d.]+)%; width: ([\d.]+)%"', page)
    assert ("0.0", "50.0") in bars  # picture, -0.8
    assert ("50.0", "12.5") in bars  # facts, +0.2
    assert all(float(left) + float(width) == 50 or float(left) == 50 for left, width in bars)


def test_every_input_and_modality_has_a_name():
    for language in ("en", "zh"):
        words = load_prompts("words", language)
        assert set(INPUTS) <= {*words["inputs"], *words["origins"]} and set(MODALITIES) <= words["aspects"].keys()


@pytest.mark.parametrize(("share", "text"), [(0.004, "0"), (-0.004, "0"), (0.006, "+0.01"), (-1.5, "−1.50")])
def test_signs(share, text):
    assert signed(share) == text
