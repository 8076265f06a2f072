"""Videos of a list of YouTube ids, one at a time with random waits, through yt-dlp (optional).

What is done is kept in a state file, so that a stopped run goes on. The first sign of throttling stops everything:
going on makes the lock-out longer.
"""

from __future__ import annotations

import json
import logging
import random
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from data_recipes.fetch import FetchError, Throttled
from mllm_avqa.schema.errors import ConfigError

log = logging.getLogger(__name__)
STATE = "youtube.state.jsonl"
_ADDRESS = r"https?://(?:www\.|m\.)?(?:youtube\.com/(?:watch\?(?:.*&)?v=|shorts/)|youtu\.be/)"
_ID = re.compile(rf"(?:{_ADDRESS})?([\w-]{{11}})(?:[?&].*)?", re.ASCII)
_THROTTLE = re.compile(r"HTTP Error 429|Too Many Requests|confirm you.{1,3}re not a bot|rate.?limit", re.IGNORECASE)


@dataclass(frozen=True)
class Done:
    """Numbers of a run: files that came, ids that can not be had, ids finished by earlier runs."""

    made: int
    failed: dict[str, str]  # id -> why
    kept: int


def read_ids(path: Path) -> list[str]:
    """Video ids of a list file: an id or an address per line, `#` opens a comment. Each id once, order kept.

    Raises ConfigError with file and line for anything else.
    """
    if not path.is_file():
        raise ConfigError(f"list {path} does not exist (--ids)")
    found: dict[str, None] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        text = line.partition("#")[0].strip()
        if text:
            match = _ID.fullmatch(text)
            if match is None:
                raise ConfigError(f"{path}:{number}: {text!r} is neither a YouTube id nor an address of one (--ids)")
            found[match[1]] = None
    if not found:
        raise ConfigError(f"{path} has no ids (--ids)")
    return list(found)


def fetch_videos(
    ids: Sequence[str],
    folder: Path,
    waits: tuple[float, float] = (5.0, 20.0),
    retry_failed: bool = False,
    told: Callable[[str, int, int], None] | None = None,
    *,
    address: str = "https://www.youtube.com/watch?v={id}",
    sleep: Callable[[float], object] = time.sleep,
) -> Done:
    """Download videos that the state file in `folder` does not name yet.

    waits: bounds in seconds of the random pause between two videos. told: called with id, place and number of ids.
    Raises Throttled when YouTube asks for fewer requests, FetchError without yt-dlp or network, and ConfigError.
    """
    if not 0 <= waits[0] <= waits[1]:
        raise ConfigError(f"waits {waits[0]:g}..{waits[1]:g} s are not rising bounds (--wait)")
    tool = _yt_dlp()
    folder.mkdir(parents=True, exist_ok=True)
    state = _read_state(folder / STATE)
    finished = {id for id, row in state.items() if row["status"] == "ok" or not retry_failed}
    todo = [id for id in ids if id not in finished]
    failed: dict[str, str] = {}
    with (folder / STATE).open("a", encoding="utf-8") as log_file:
        for place, id in enumerate(todo):
            if place:
                sleep(random.uniform(*waits))
            if told:
                told(id, place, len(todo))
            row = _one(tool, address.format(id=id), folder)
            log_file.write(json.dumps({"id": id, **row}, ensure_ascii=False) + "\n")
            log_file.flush()
            if row["status"] != "ok":
                failed[id] = row["why"]
    return Done(len(todo) - len(failed), failed, len(ids) - len(todo))


def _yt_dlp() -> ModuleType:
    try:
        import yt_dlp
    except ImportError as e:
        raise FetchError('videos of YouTube need yt-dlp: pip install "mllm-avqa[youtube]"') from e
    module: ModuleType = yt_dlp
    return module


def _one(tool: ModuleType, address: str, folder: Path) -> dict[str, str]:
    """Download one video: a row of the state file."""
    options = {
        "outtmpl": "%(id)s.%(ext)s",
        "paths": {"home": str(folder)},
        "quiet": True,
        "noprogress": True,
        "noplaylist": True,
        "retries": 3,
        "sleep_interval_requests": 1,
        "logger": log,
    }
    try:
        with tool.YoutubeDL(options) as downloader:
            info: dict[str, Any] = downloader.extract_info(address, download=True)
            name = Path(info["requested_downloads"][0]["filepath"]).name
    except tool.utils.DownloadError as e:
        why = re.sub(r"\x1b\[[\d;]*m", "", str(e)).removeprefix("ERROR: ")
        if _THROTTLE.search(why):
            raise Throttled(
                f"{address}: YouTube asks for fewer requests ({why}). Everything up to here is kept; wait some hours, "
                "then repeat the command, with longer pauses (--wait)"
            ) from e
        if e.exc_info and issubclass(e.exc_info[0], tool.networking.exceptions.TransportError):
            raise FetchError(f"{address}: no connection ({why}); repeat the command to go on from there") from e
        return {"status": "failed", "why": why}
    return {"status": "ok", "file": name, "licence": info.get("license") or "not given"}


def _read_state(path: Path) -> dict[str, dict[str, str]]:
    """Last row of every id. A last line cut off by a crash is taken away."""
    if not path.is_file():
        return {}
    state = {}
    lines = path.read_text(encoding="utf-8").split("\n")
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            state[row["id"]] = row
        except (ValueError, KeyError, TypeError) as e:
            if number < len(lines):  # the last one is empty or was cut off
                raise ConfigError(f"{path}:{number}: not a row of a state file: {e}") from e
    if lines[-1]:
        path.write_text("\n".join([*lines[:-1], ""]), encoding="utf-8")
    return state
