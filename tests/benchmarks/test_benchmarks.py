"""The parts of the benchmarks that are not timings."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks.base import Measured, Options, Ratio, make_clip, medians
from benchmarks.batch import chosen
from benchmarks.clock import spent
from benchmarks.report import render
from benchmarks.rooms import plain_decode

ELF = Path(__file__).parents[2] / "examples" / "elf.mp4"


@pytest.mark.parametrize(("ratio", "target", "met"), [(1.05, "<= 1.10", True), (2.9, ">= 3", False), (9, None, None)])
def test_targets(ratio, target, met):
    assert Ratio("x", "1", "2", ratio, target).met is met


def test_report_has_hardware_and_verdicts_but_no_paths():
    settings = Options(checkpoint="/somewhere/runs/tiny", clip=Path("/somewhere/a.mp4"), threads=1)
    text = render([Measured("T", [Ratio("a|b", "1 s", "3 s", 3.0, ">= 4")], ["how"])], settings)
    assert "cores" in text
    assert "missed" in text
    assert "`tiny`" in text
    assert "/somewhere" not in text
    assert re.search(r"^20\d\d-\d\d-\d\d, ", text, re.MULTILINE)


def test_medians_warm_up_once_and_take_turns():
    order = []
    cost = medians({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 2)
    assert order == ["a", "b", "a", "b", "a", "b"]
    assert cost["a"].wall < 1


def test_cpu_time_is_counted():
    before = spent()
    while spent() - before < 0.05:
        np.random.default_rng(0).normal(size=100_000)
    assert spent() > before


def test_chosen_frames_are_consecutive_pairs_in_every_part():
    assert chosen(100, 4, 2) == [11, 12, 36, 37, 61, 62, 86, 87]
    assert chosen(5, 4, 2) == [0, 1, 2, 3, 4]


@pytest.mark.skipif(not ELF.is_file(), reason="the example clip is not here")
def test_made_clip_has_the_size_and_length_asked_for(tmp_path):
    import av

    path = make_clip(ELF, tmp_path / "c.mp4", height=90, seconds=0.8, start=7.8)  # loops over the end of the source
    with av.open(str(path)) as c:
        assert (c.streams.video[0].width, c.streams.video[0].height) == (136, 90)
        assert c.streams.video[0].frames == 24
        assert float(c.streams.audio[0].duration * c.streams.audio[0].time_base) == pytest.approx(0.8, abs=0.05)
    frames, samples = plain_decode(path, 0.5, [0.0])
    assert frames == 15
    assert samples == pytest.approx(0.5 * 44100, abs=2 * 1024)
