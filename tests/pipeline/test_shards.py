"""Shards of one list, put together again."""

from __future__ import annotations

import csv
import sys
import types
from pathlib import Path

import pytest
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "batch"))
from fake_rater import FakeRater

from mllm_avqa.batch.inputs import in_shard, read_shard
from mllm_avqa.cli import app
from mllm_avqa.schema.errors import ConfigError


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("mllm_avqa.rater")
    module.Rater = FakeRater  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mllm_avqa.rater", module)


def cli(*arguments: object, stdin: str | None = None) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(a) for a in arguments], input=stdin)
    return result.exit_code, result.stderr


def test_shards_are_apart_and_together_all(tmp_path: Path) -> None:
    for i in range(20):
        (tmp_path / f"{i}.mp4").write_bytes(b"%d" % (i // 2))  # pairs of equal bytes
    manifest = tmp_path / "m.csv"
    manifest.write_text("path,key\n" + "".join(f"{i}.mp4,k{i}\n" for i in range(20)))
    parts = [tmp_path / f"part{k}.{kind}" for k, kind in enumerate(("csv", "jsonl", "parquet"), 1)]
    for k, part in enumerate(parts, 1):
        assert cli("score", "-o", part, "--manifest", manifest, "--id-column", "key", "--shard", f"{k}/3")[0] == 0
    code, stderr = cli("merge", *parts, "-o", tmp_path / "all.csv", "--manifest", manifest, "--id-column", "key")
    assert (code, "20 rows" in stderr) == (0, True)
    with (tmp_path / "all.csv").open(newline="") as f:
        rows = list(csv.DictReader(f))
    assert sorted(r["key"] for r in rows) == sorted(f"k{i}" for i in range(20))
    code, stderr = cli("merge", *parts[:2], "-o", tmp_path / "some.csv", "--manifest", manifest, "--id-column", "key")
    assert (code, "have no row" in stderr) == (1, True)
    assert cli("score", tmp_path / "1.mp4", "-o", tmp_path / "other.csv", "--context", "none")[0] == 0
    code, stderr = cli("merge", parts[0], tmp_path / "other.csv", "-o", tmp_path / "x.csv")
    assert (code, "context=fast" in stderr and "context=none" in stderr) == (2, True)


def test_a_clip_keeps_its_shard_whatever_it_is_called() -> None:
    assert [in_shard("abc", (k, 4)) for k in range(1, 5)].count(True) == 1
    for wrong in ("0/3", "4/3", "3", "a/b", "1/0"):
        with pytest.raises(ConfigError, match="--shard"):
            read_shard(wrong)


def test_paths_from_standard_input_and_addresses(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"a")
    assert cli("score", "-", "-o", tmp_path / "o.csv", stdin=f"{tmp_path / 'a.mp4'}\n")[0] == 0
    code, stderr = cli("score", "https://example.org/a b.mp4", "-o", tmp_path / "o.csv")
    assert (code, "curl -fL 'https://example.org/a b.mp4' | mllm-avqa rate -" in stderr) == (2, True)


def test_defaults_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"a")
    config = tmp_path / "c.toml"
    config.write_text('context = "none"\nfail_on = ["blur"]\n[score]\noutput = "o.csv"\n')
    code, stderr = cli("rate", tmp_path / "a.mp4", "--config", config)
    assert (code, "blur is strong" in stderr) == (3, True)
    config.write_text('context = "none"\n[score]\nbatch_sizes = 3\n')
    assert "no option 'batch_sizes'; there are: batch-size" in " ".join(
        cli("score", "--config", config, "-o", "x.csv")[1].split()
    )
    assert cli("rate", tmp_path / "a.mp4", "--config", config)[0] == 0  # the table of another command
    config.write_text("contxt = 1\n")
    assert cli("rate", tmp_path / "a.mp4", "--config", config)[0] == 2


def test_messages_as_json(tmp_path: Path) -> None:
    import json

    (tmp_path / "a.mp4").write_bytes(b"a")
    code, stderr = cli("score", tmp_path / "a.mp4", "-o", tmp_path / "o.csv", "--log-json")
    assert code == 0
    lines = [json.loads(line) for line in stderr.splitlines()]
    assert any("1 rated, 0 failed" in line["message"] for line in lines)
    code, stderr = cli("rate", tmp_path / "gone.mp4", "--log-json")
    assert (code, json.loads(stderr.splitlines()[-1])["level"]) == (1, "error")
    assert not cli("rate", tmp_path / "gone.mp4")[1].startswith("{")
