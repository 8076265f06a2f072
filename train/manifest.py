"""What a run was made of, written when it starts: another one can be made the same, and a difference explained."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from mllm_avqa.schema.files import whole_file
from train import ranks
from train.arguments import deepspeed_settings
from train.config import Config

FILE = "manifest.json"
PACKAGES = ("mllm-avqa", "torch", "transformers", "accelerate", "peft", "deepspeed", "numpy", "av", "tokenizers")


def write_manifest(config: Config) -> Path:
    """Adds this start to `output`/manifest.json: a resumed run has several, the data of each by its hash."""
    path = config.output / FILE
    runs = json.loads(path.read_text(encoding="utf-8"))["runs"] if path.is_file() else []
    runs.append(
        {
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": sys.argv,
            "source": revision(),
            "versions": {p: v for p in PACKAGES if (v := _version(p))}
            | {"python": platform.python_version(), "torch": torch.__version__},
            "machine": {
                "platform": platform.platform(),
                "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
                "processes": ranks.world(),
            },
            "deepspeed": deepspeed_settings(config),
            "data": {str(d.records): _data(d.records) for d in config.sources},
            "config": json.loads(config.model_dump_json()),
        }
    )
    with whole_file(path) as part:
        part.write_text(json.dumps({"runs": runs}, indent=1, ensure_ascii=False), encoding="utf-8")
    return path


def revision(folder: Path = Path(__file__).parent) -> dict[str, Any] | None:
    """Commit of the checkout and whether files differ from it; None outside a checkout."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True).stdout

    try:
        return {"commit": git("rev-parse", "HEAD").strip(), "changed": bool(git("status", "--porcelain").strip())}
    except (OSError, subprocess.CalledProcessError):
        return None


def _data(records: Path) -> dict[str, Any]:
    with records.open("rb") as f:
        digest = hashlib.file_digest(f, "sha256").hexdigest()
        f.seek(0)
        return {"sha256": digest, "records": sum(1 for line in f if line.strip())}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
