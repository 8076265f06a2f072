"""A gate: limits and faults, for new rows and for those of an earlier run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fake_rater import rating_of
from test_resume import rows, run

from mllm_avqa.batch.gates import Gate
from mllm_avqa.batch.rows import COLUMNS
from mllm_avqa.pipeline.described import described, json_schema
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.rating import Finding

HERE = Path("clip.mp4")


@pytest.mark.parametrize(
    ("gate", "reasons"),
    [
        (Gate(["video=2"]), []),
        (
            Gate(["overall=4", "video=3.2"]),
            ["overall 3.50 is under 4", "video 3.00 is under 3.2"],
        ),  # analytic: the fake's
        (Gate(["text=1"]), ["text has no score: no captions and no on-screen text found"]),
        (Gate(None, ["blur"]), ["blur is strong (3.2 px at 540p)"]),
        (Gate(None, ["blur=severe", "loudness"]), []),
        (Gate(None, ["hum=slight"]), ["hum is slight (found)"]),
        (Gate(None, ["hum"]), []),
    ],
)
def test_reasons(gate: Gate, reasons: list[str]) -> None:
    hum = Finding(side="audio", kind="hum", name="hum", severity="slight", probability=0.8)
    rating = rating_of("clip.mp4", 4, findings=[hum])
    assert gate.passed(rating, HERE) == reasons


@pytest.mark.parametrize(
    ("gate", "message"),
    [
        (Gate(["picture=3"]), "--fail-under picture=3: must be ASPECT=SCORE"),
        (Gate(["video=7"]), "1 to 5"),
        (Gate(None, ["blak"]), "--fail-on blak: no fact or fault is called 'blak'; there are: black"),
        (Gate(None, ["black=bad"]), "faint, slight, moderate"),
    ],
)
def test_gates_that_cannot_be(gate: Gate, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        gate.check()


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_rows_of_an_earlier_run_pass_the_gate_anew(clips: Path, tmp_path: Path, kind: str) -> None:
    out = tmp_path / f"out.{kind}"
    assert run(out, clips)[0].gated == []
    result, rater = run(out, clips, gate=Gate(["overall=2.4"]))
    low = {r["path"] for r in rows(out) if r["overall"] and float(r["overall"]) < 2.4}
    assert low
    assert {path for path, _ in result.gated} == low == {r["path"] for r in rows(out) if r["gate"]}
    assert len(rater.seen) == 1  # the one that failed
    run(out, clips)
    assert not any(r["gate"] for r in rows(out))


def test_schema_explains_everything() -> None:
    assert [d.name for d in described("row")] == list(COLUMNS)
    assert all(d.what.endswith(".") for what in ("row", "rating") for d in described(what))  # type: ignore[arg-type]
    units = {d.name: d.unit for d in described("row")}
    assert (units["loudness"], units["true_peak"], units["video_low"]) == ("LUFS", "dBTP", "1-5")
    assert json.loads(json.dumps(json_schema("rating")))["properties"]["scores"]["unit"] == "1-5"


def test_every_row_is_valid_by_the_schema(clips: Path, tmp_path: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    run(tmp_path / "out.jsonl", clips)
    for row in rows(tmp_path / "out.jsonl"):
        jsonschema.validate(row, json_schema("row"))
