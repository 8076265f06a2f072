"""`python -m eval attribution`: rows of every clip, their sums, and what is lost without a part of the input."""

from __future__ import annotations

import json

import av
import numpy as np
import pytest
from typer.testing import CliRunner

from eval.__main__ import app
from eval.importance import importance, importance_markdown, removals, removals_markdown
from eval.stats import average
from eval.studies.attribution import CLASSES, Attributed
from mllm_avqa.schema.records import Distortion, Label, Record, write_records


def row(i, player, share, without, level="modality", full=None, **changes):
    """Clip i has the label i and, unless told otherwise, the score i."""
    values = {"id": f"c{i}", "group": f"g{i}", "aspect": "overall", "level": level, "player": player, "share": share}
    return (
        values
        | {"error": None, "full": i if full is None else full, "empty": 3.0, "without": without, "label": i}
        | changes
    )


def test_weights_and_percentages():
    rows = [row(i, "video", 0.5 * (-1) ** i, 3.0, **{"class": "odd" if i % 2 else "even"}) for i in range(1, 9)]
    rows += [row(i, "audio", 0.25, 3.0, **{"class": "even"}) for i in (2, 4)]  # the others are silent
    found = {(i.of, i.player): i for i in importance(rows, 100)}
    assert list(found) == [(of, p) for of, p in found if of == "all"] + [
        ("even", "video"),
        ("even", "audio"),
        ("odd", "video"),
    ]
    every = found["all", "video"]
    assert (every.n, every.weight.value, every.share.value, every.empty, every.full) == (8, 0.5, 0.0, 3.0, 4.5)
    assert every.weight.low == every.weight.high == 0.5 and every.share.low < 0 < every.share.high
    assert every.percent == pytest.approx(100 * 4 / 4.5, abs=0.1) and found["all", "audio"].n == 2
    assert found["all", "audio"].percent == pytest.approx(100 * 0.5 / 4.5, abs=0.1)
    assert found["odd", "video"].percent == 100 and "contents, at least" in found["odd", "video"].weight.note
    text = importance_markdown(list(found.values()))
    assert "### odd, by modality" in text and "| audio (2)" in text and "0.500 [0.500, 0.500] 89 %" in text


def test_what_is_lost_without_it():
    flat = [3.0, 3.1, 3.0, 3.1, 3.0, 3.1]
    rows = [row(i, "video", 0.1, flat[i - 1]) for i in range(1, 7)]
    rows += [row(i, "text", 0.1, i - 0.5) for i in (2, 3)]  # the other clips have no text and keep their score
    found = {r.player: r for r in removals(rows, 100)}
    assert found["video"].srcc.value == 1.0 and found["video"].srcc_without.value == pytest.approx(0.2928, abs=1e-3)
    assert found["video"].srcc_change.value == pytest.approx(-0.7072, abs=1e-3) and found["video"].srcc_change.high < 0
    assert found["video"].change.value == pytest.approx(np.mean(flat) - 3.5, abs=1e-4)
    assert (found["text"].n, found["text"].labelled, found["text"].change.value) == (2, 6, -0.5)
    assert found["text"].srcc_change.value == 0.0  # 1, 1.5, 2.5, 4, 5, 6 is still in order
    without = [r | {"label": None} for r in rows]
    assert removals(without, 100)[0].srcc.note == "0 clips, at least 5 needed"
    text = removals_markdown(list(found.values()))
    assert "| text (2)" in text and "1.000 (+0.000 [+0.000, +0.000])" in text


def test_average_has_an_interval_by_content():
    x = np.array([1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 4.0, 5.0, 5.0])
    found = average(x, [f"g{i // 2}" for i in range(10)], 2000)
    assert found.value == 3.0
    # analytic: the mean of 5 redrawn contents has a standard deviation of sqrt(2 / 5)
    assert (found.low, found.high) == pytest.approx((3 - 1.96 * 0.4**0.5, 3 + 1.96 * 0.4**0.5), abs=0.2)
    assert average(x[:4], ["a", "a", "b", "b"], 100).note == "2 contents, at least 5 needed for an interval"


def test_classes():
    d = [Distortion(kind=k, modality=m, level=1, start=0, end=1) for k, m in (("hum", "audio"), ("blur", "video"))]
    record = Record(id="a", media="a.mp4", dataset="d", group="g", distortions=d)
    assert [CLASSES[by](record) for by in CLASSES] == ["d", "g", "hum", "audio+video"]
    assert CLASSES["fault"](Record(id="b", media="b", dataset="d", group="g")) == "none"


def synth(path, seed):
    picture = np.random.default_rng(seed).integers(0, 255, (64, 96, 3), dtype=np.uint8)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for k in range(4):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.roll(picture, k, 1), format="rgb24")))
        out.mux(stream.encode(None))


def test_command(tmp_path, tiny_dir):
    records = []
    for i in range(3):
        if i < 2:
            synth(tmp_path / f"{i}.mp4", i)
        else:
            (tmp_path / "2.mp4").write_bytes(b"not a clip")
        context = {"user": "a ball"} if i == 0 else {}
        label = {"overall": Label(mean=2 + i)}
        kind = [Distortion(kind="blur", modality="video", level=2, start=0, end=1)] if i == 0 else []
        records.append(
            Record(id=f"r{i}", media=f"{i}.mp4", dataset="d", group=f"g{i}", split="test", labels=label,
                   context=context, distortions=kind)
        )  # fmt: skip
    write_records(tmp_path / "r.jsonl", records)
    out = tmp_path / "out" / "a.json"
    command = ["attribution", str(tmp_path / "r.jsonl"), "--checkpoint", str(tiny_dir), "--context", "none"]
    options = ["--by", "fault", "--budget", "8", "--threads", "1", "--draws", "100", "-o", str(out)]
    result = CliRunner().invoke(app, [*command, *options])
    assert result.exit_code == 1, result.output  # the broken clip
    assert "r2: not_media" in result.stderr
    assert "### blur, by modality" in result.stdout and "### SRCC without it" in result.stdout
    study = Attributed.model_validate_json(out.read_text(encoding="utf-8"))
    assert study.sampled >= 1 and not list(out.parent.glob("*.part"))
    for name in ("r0", "r1"):
        for level in ("modality", "input"):
            own = [r for r in study.rows if (r["id"], r["level"], r["aspect"]) == (name, level, "overall")]
            assert sum(r["share"] for r in own) == pytest.approx(own[0]["full"] - own[0]["empty"], abs=1e-4)
            assert ("user" in {r["player"] for r in own}) == (name == "r0" and level == "input")
            assert all((r["error"] is None) == (level == "modality") for r in own if name == "r0")
    assert {r["class"] for r in study.rows} == {"blur", "none"}
    assert json.loads(out.read_text())["failed"].keys() == {"r2"}
    assert CliRunner().invoke(app, [*command, "--split", "nothing"]).exit_code == 2
