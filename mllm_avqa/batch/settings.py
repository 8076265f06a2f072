"""What every command understands besides its own options: defaults from a TOML file, messages as JSON."""

from __future__ import annotations

import difflib
import io
import logging
import time
import tomllib
from pathlib import Path
from typing import Any, TextIO

import typer

from mllm_avqa.schema.plain import json_text

_JSON: list[bool] = []  # set while options are read, before a console is made


def read_config(context: typer.Context, path: Path | None) -> Path | None:
    """Makes the values of a TOML file the defaults of a command: those at its top, then those of its own [table].

    Keys are the long flags, with - or _. What is given on the command line wins.
    """
    if path is None:
        return None
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as e:
        raise typer.BadParameter(f"{path}: {getattr(e, 'strerror', None) or e}") from e
    group: Any = context.parent.command if context.parent is not None else context.command
    commands: dict[str, Any] = getattr(group, "commands", {})
    everywhere = {flag for command in commands.values() for flag in _flags(command)}
    own = _flags(context.command)
    defaults: dict[str, Any] = {}
    for table, keys in ((None, given), (context.info_name, given.get(context.info_name or "", {}))):
        for key, value in keys.items():
            name = key.replace("_", "-")
            if table is None and isinstance(value, dict) and name in commands:
                continue
            if name in own and name != "config":
                defaults[own[name]] = [str(v) for v in value] if isinstance(value, list) else value
            elif table is not None or name not in everywhere:
                known = own if table is not None else everywhere
                near = difflib.get_close_matches(name, known, 3) or sorted(known)
                where = f"[{table}] of {path}" if table else str(path)
                raise typer.BadParameter(f"{where}: no option {key!r}; there are: {', '.join(near)}")
    context.default_map = {**(context.default_map or {}), **defaults}
    return path


def _flags(command: Any) -> dict[str, str]:
    """Names of the parameters by their long flags."""
    return {flag[2:]: p.name for p in command.params for flag in p.opts if flag.startswith("--")}


def log_as_json(wanted: bool) -> bool:
    _JSON[:] = [wanted]
    return wanted


def json_wanted() -> bool:
    return any(_JSON)


def json_handler(stream: TextIO) -> logging.Handler:
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_JsonFormatter())
    return handler


def _line(level: str, logger: str, message: str, **more: str) -> str:
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return json_text({"time": now, "level": level, "logger": logger, "message": message, **more})


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        trace = {"traceback": self.formatException(record.exc_info)} if record.exc_info else {}
        return _line(record.levelname.lower(), record.name, record.getMessage(), **trace)


class JsonLines(io.TextIOBase):
    """Stands before a stream: every line that is written arrives as a JSON object."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._begun = stream, ""

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        for line in filter(str.strip, lines):
            level = "error" if line.startswith("error: ") else "info"
            self._stream.write(_line(level, "mllm_avqa", line.removeprefix("error: ").rstrip()) + "\n")
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return False

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding
