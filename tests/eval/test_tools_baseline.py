"""Existing tools as baselines: what is refused, what fails by name, and the numbers that come of the rest."""

from __future__ import annotations

import json
from dataclasses import replace

import av
import numpy as np
import pytest
from typer.testing import CliRunner

from eval.__main__ import app
from eval.studies import tools
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.records import Label, Record, write_records


def wav(path, level):
    with av.open(str(path), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=16000, layout="mono")
        tone = (level * 32767 * np.sin(np.arange(8000) * 0.2)).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(tone, format="s16", layout="mono")
        frame.sample_rate = 16000
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


@pytest.fixture
def records(tmp_path):
    made = []
    for n in range(7):
        if n < 6:
            wav(tmp_path / f"{n}.wav", 0.1 * (n + 1))
        labels = {"audio": Label(mean=4.5 - 0.5 * n), "overall": Label(mean=3.0 + 0.1 * n)}
        made.append(Record(id=f"c{n}", media=f"{n}.wav", dataset="d", group=f"g{n}", split="test", labels=labels))
    write_records(tmp_path / "records.jsonl", made)
    return tmp_path / "records.jsonl"


def loudness(clip):
    level = float(np.abs(clip.audio.samples).max())
    if level < 0.15:
        raise ValueError("too quiet")
    return level


@pytest.fixture
def peak(monkeypatch):
    """A tool of one line in the place of an optional package: its number falls with quality."""
    tool = replace(tools.TOOLS["dnsmos"], name="peak", falls=True, packages=("numpy",), open=lambda: loudness)
    monkeypatch.setitem(tools.TOOLS, "peak", tool)


def test_numbers_failures_and_direction(records, peak, tmp_path):
    out = tmp_path / "o.csv"
    done = CliRunner().invoke(app, ["tools", str(records), "--tool", "peak", "-o", str(out), "--json"])
    assert done.exit_code == 1  # one clip is not there, one too quiet
    result = json.loads(done.stdout)
    assert set(result["failed"]) == {"c0, peak", "c6"}
    audio, overall = result["tools"]
    assert (audio["n"], audio["m"], audio["srcc"]["value"]) == (5, 7, 1.0)  # analytic: louder is worse, by the labels
    assert overall["srcc"]["value"] == -1.0
    lines = out.read_text().splitlines()
    assert lines[0] == "id,path,peak"
    assert lines[1] == "c0,0.wav,"
    assert float(lines[2].split(",")[2]) == pytest.approx(0.2, abs=0.001)


def test_refusals(monkeypatch, records):
    monkeypatch.setitem(tools.TOOLS, "dnsmos", replace(tools.TOOLS["dnsmos"], packages=("no_such_module",)))
    with pytest.raises(ConfigError, match=r"no_such_module.*pip install 'mllm-avqa\[dnsmos\]'.*--tool"):
        tools.open_tools(["dnsmos"])
    done = CliRunner().invoke(app, ["tools", str(records), "--tool", "nothing"])
    assert done.exit_code == 2
    assert "allowed: dnsmos" in done.stderr


@pytest.mark.skipif(bool(tools.missing(tools.TOOLS["dnsmos"])), reason="speechmos is not installed")
def test_dnsmos_hears_noise(tmp_path):
    wav(tmp_path / "a.wav", 0.5)
    r = Record(id="a", media="a.wav", dataset="d", group="g")
    numbers, failed = tools.measure_all([r], tmp_path, tools.open_tools(["dnsmos"]))
    assert not failed
    assert 1.0 <= numbers["a"]["dnsmos"] < 3.0  # a tone is no clean speech
