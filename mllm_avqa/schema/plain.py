"""Text of strangers made fit for files and terminals: what UTF-8 cannot hold, and JSON without control characters."""

from __future__ import annotations

import json
import math
import os
import re
import shlex
from typing import Any

_SURROGATE = re.compile("[\ud800-\udfff]")
_CONTROL = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069]")  # DEL, C1, line ends and bidi marks that JSON lets be


def plain(text: str | os.PathLike[str]) -> str:
    """A path or message as text that UTF-8 can hold: undecodable bytes of a file name become `\\xNN`."""
    return _SURROGATE.sub(_named, os.fspath(text))


def json_text(data: Any, indent: int | None = None) -> str:
    """JSON that any reader takes and that moves no terminal: numbers without a value are null, texts are `plain`."""
    text = json.dumps(_clean(data), ensure_ascii=False, allow_nan=False, indent=indent)
    return _CONTROL.sub(lambda m: f"\\u{ord(m[0]):04x}", text)


def refused_url(path: str) -> str | None:
    """For an address of the web, that nothing is fetched here, and how to rate it; None for any other name."""
    found = re.match(r"(https?):/+", path, re.IGNORECASE)
    if not found:
        return None
    url = plain(f"{found[1]}://{path[found.end() :]}")  # a `Path` has one slash
    return f"{url}: only files are opened, no addresses; fetch it: curl -fL {shlex.quote(url)} | mllm-avqa rate -"


def _named(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {plain(str(k)): _clean(v) for k, v in value.items()}
    return [_clean(v) for v in value] if isinstance(value, list | tuple) else value
