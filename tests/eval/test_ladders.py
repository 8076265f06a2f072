"""Bitrate ladders: violations are counted as they are; encodes have the bits that were asked for."""

from __future__ import annotations

import json
from pathlib import Path

import av
import pytest
import small_clips
from typer.testing import CliRunner

from eval.__main__ import app
from eval.studies import ladders
from eval.studies.ladders import ENCODERS, Ladders, LadderSource, Rung, violations
from mllm_avqa.schema.errors import ConfigError

ELF = Path(__file__).parents[2] / "examples/elf.mp4"


def rung(bits: float, score: float | None, source: str = "a", encoder: str = "x264") -> Rung:
    return Rung(source=source, encoder=encoder, asked=bits, bits=bits, score=score)


def test_violations_are_pairs_in_which_more_bits_score_lower() -> None:
    good = [rung(100, 1.0), rung(200, 2.0), rung(400, 2.0)]
    found = violations([*good, rung(100, 3.0, "b"), rung(200, 2.95, "b"), rung(300, 2.0, "b"), rung(500, None, "b")])
    (result,) = found
    assert (result.ladders, result.pairs, result.violations, result.beyond) == (2, 6, 3, 2)
    assert result.share == 0.5
    assert result.depth == pytest.approx((0.05 + 0.95 + 1.0) / 3, abs=1e-4)
    assert violations([rung(100, 2.0), rung(100, 1.0)])[0].pairs == 0  # equal bits order nothing


def test_rungs_have_fewer_and_fewer_bits(tmp_path: Path) -> None:
    source = tmp_path / "s.mp4"
    small_clips.write(source, frames=20, size=(96, 160))
    material = LadderSource.read(source)
    for name in ("x264", "aac", "opus"):
        failed: dict[str, str] = {}
        files = [p for p, _ in material.ladder(ENCODERS[name], tmp_path / name, failed)]
        assert not failed
        assert len(files) == 5
        assert files[0].stat().st_size > files[-1].stat().st_size
        with av.open(str(files[0])) as f:
            assert f.duration is not None
            assert f.duration / 1e6 == pytest.approx(2.0, abs=0.15)
    small_clips.write(tmp_path / "mute.mp4", sound=False)
    assert list(LadderSource.read(tmp_path / "mute.mp4").ladder(ENCODERS["aac"], tmp_path / "m", {})) == []


def test_more_bits_do_not_score_lower(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The property itself, in small: the embedded checkpoint on both ends of two ladders of a real clip."""
    monkeypatch.setattr(ladders, "SECONDS", 1.0)
    monkeypatch.setattr(ladders, "HEIGHT", 240)
    monkeypatch.setattr(ladders, "BITS_PER_PIXEL", (0.2, 0.0125))
    monkeypatch.setattr(ladders, "KILOBITS", (160, 16))
    found = Ladders(sources=[ELF], encoders=("x264", "aac")).run()
    assert [(r.encoder, r.pairs, r.beyond) for r in found.results] == [("x264", 1, 0), ("aac", 1, 0)]
    assert found.card()["violations"].keys() == {"x264", "aac"}


def test_command_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--encoders vvc: must be of x264"):
        Ladders(sources=[ELF], encoders=("vvc",)).run()
    (tmp_path / "x.mp4").write_bytes(b"no clip")
    result = CliRunner().invoke(app, ["ladders", str(tmp_path / "x.mp4"), "--encoders", "aac", "--json"])
    assert result.exit_code != 0
    assert json.dumps(str(result.exception or result.stderr))
