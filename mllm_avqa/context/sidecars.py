"""Subtitle files that lie beside a clip: clip.srt, clip.en.vtt, clip.zh-Hans.ass."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from mllm_avqa.context.clean import clean_text, shorten, strip_markup
from mllm_avqa.schema.clip import Limits
from mllm_avqa.schema.text import BEYOND, REPAIRED, Origin, TextItem

MAX_BYTES = 1 << 20  # a two-hour film's subtitles take about 100 KiB
EXTENSIONS = (".srt", ".vtt", ".ass", ".ssa")
# "en", "eng", "zh-Hans", "en.sdh", "en.forced": what players accept between the clip's stem and the extension.
_LANGUAGE = re.compile(r"(?:\.[a-z]{2,3}(?:[-_][a-z0-9]{2,8})*)?(?:\.(?:sdh|cc|forced|hi))?", re.IGNORECASE)


@dataclass(frozen=True)
class _Line:
    start: float  # seconds
    end: float
    text: str
    language: str | None = None


def find_sidecars(path: str | Path) -> list[Path]:
    """Subtitle files with the clip's stem in the clip's folder, sorted by name; whatever their kind of file."""
    path = Path(path)
    found = []
    try:
        with os.scandir(path.parent) as entries:
            for entry in entries:
                if not entry.name.startswith(path.stem + "."):
                    continue
                stem, extension = os.path.splitext(entry.name)
                if extension.lower() in EXTENSIONS and _LANGUAGE.fullmatch(stem[len(path.stem) :]):
                    found.append(Path(entry.path))
    except OSError:  # a folder that may be passed through but not listed: there is nothing to be seen beside the clip
        return []
    return sorted(found)


def decode_text(data: bytes) -> tuple[str, str]:
    """Text of a subtitle file and a note when its encoding had to be guessed ("" = Unicode).

    Order: byte order mark, UTF-16 by its zero bytes, UTF-8, GB2312 when every non-ASCII byte pairs up to Chinese,
    else Windows-1252 (the superset of Latin-1 that tools write), which can read anything.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace"), ""
    head = data[:2000]
    if head.count(0) > len(head) // 4:
        return data.decode("utf-16-be" if data[:1] == b"\0" else "utf-16-le", errors="replace"), ""
    try:
        return data.decode("utf-8-sig"), ""
    except UnicodeDecodeError:
        pass
    try:
        text = data.decode("gb2312")
        # Two accented letters in a row also make a valid pair; several characters of the Chinese block do not happen.
        if sum("\u4e00" <= c <= "\u9fff" for c in text) >= 4:
            return text, "not UTF-8, read as GB2312"
    except UnicodeDecodeError:
        pass
    try:
        return data.decode("cp1252"), "not UTF-8, read as Latin-1 (Windows-1252)"
    except UnicodeDecodeError:
        return data.decode("latin-1"), "not UTF-8, read as Latin-1"


def _vtt_cues_only(text: str) -> str:
    """WebVTT without header, NOTE, STYLE, REGION and cue names, which pysubs2 would take for caption text."""
    blocks = []
    for block in re.split(r"\n[ \t]*\n", text):
        lines = block.splitlines()
        timing = next((i for i, line in enumerate(lines) if "-->" in line), None)
        if timing is not None:
            blocks.append("\n".join(lines[timing:]))
    return "WEBVTT\n\n" + "\n\n".join(blocks) + "\n"


def _parse(text: str, extension: str) -> tuple[list[_Line], bool]:
    """Lines of a subtitle text and whether it is ASS. Raises ValueError when no cue can be found in it."""
    import html

    import pysubs2

    # Blank runs are folded first: pysubs2 strips trailing numbers with a pattern that is quadratic in them.
    text = re.sub(
        r"\n[ \t]*(?:\n[ \t]*)+\n", "\n\n", text.replace("\r\n", "\n").replace("\r", "\n").strip("\ufeff \n\t")
    )
    # What the file is decides, not what it is called: WebVTT named .srt is common.
    if text.startswith("WEBVTT"):
        kind = "vtt"
    elif text.startswith("[Script Info]") or extension in (".ass", ".ssa"):
        kind = "ass"
    else:
        kind = "vtt" if extension == ".vtt" else "srt"
    if kind == "vtt":
        text = _vtt_cues_only(text)
    try:
        # Markup stays in and is stripped by name later; pysubs2 would also strip "<|...|>" and "<3".
        options = {} if kind == "ass" else {"keep_html_tags": True}
        events = pysubs2.SSAFile.from_string(text, format_=kind, **options)
    except (pysubs2.exceptions.Pysubs2Error, ValueError, IndexError, KeyError) as e:
        raise ValueError(f"not readable as {kind}: {type(e).__name__}") from e
    lines = []
    for event in events:
        if event.is_comment or (kind == "ass" and re.search(r"\\p[1-9]", event.text)):  # \p1: drawing commands
            continue
        shown = html.unescape(event.text) if kind == "vtt" else event.text
        lines.append(_Line(event.start / 1000, event.end / 1000, shown.replace("\\N", " ") if kind != "ass" else shown))
    if not lines:
        raise ValueError("no cue found in it")
    return lines, kind == "ass"


def within_budget(files: list[Path], limits: Limits) -> tuple[list[Path], str]:
    """The files that may be read for one clip, in order, and a note on the others ("" = all may)."""
    kept: list[Path] = []
    left, named = limits.max_sidecar_bytes, ""
    for file in files:
        try:
            size = file.stat().st_size
        except OSError:
            size = 0  # reading it will say why it can not be read
        if len(kept) == limits.max_sidecars or size > left:
            flag = "--max-sidecars" if len(kept) == limits.max_sidecars else "--max-sidecar-bytes"
            named = named or f"{limits.max_sidecars} files, {limits.max_sidecar_bytes} bytes, {flag}"
            continue
        kept.append(file)
        left -= size
    over = len(files) - len(kept)
    return kept, f"{over} of {len(files)} subtitle files {BEYOND} ({named})" if over else ""


def read_sidecar(path: Path, window: tuple[float, float]) -> tuple[list[TextItem], str]:
    """Items of one sidecar file inside `window` (seconds on the clip's clock) and a note ("" = nothing special).

    Raises ValueError with the reason for a file that is not regular, too large, unreadable or without cues.
    """
    facts = None
    with suppress(OSError):
        facts = path.stat()
    lines, ass, note = _read(path, facts and (facts.st_mtime_ns, facts.st_size, facts.st_ino))
    name = shown_name(path)
    items = cue_items(lines, "sidecar", name, window, ass)
    return items, f"{name}: {note}" if note else ""


@lru_cache(8)  # a clip asks for every window
def _read(path: Path, version: object) -> tuple[list[_Line], bool, str]:
    """Lines of a file, whether it is ASS, and a note on its encoding. version: changes with the file."""
    name = shown_name(path)
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):  # a FIFO would block for ever
            raise ValueError(f"{name}: not a regular file")
        if facts.st_size > MAX_BYTES:
            raise ValueError(f"{name}: {facts.st_size} bytes, allowed are {MAX_BYTES}")
        with path.open("rb") as f:
            data = f.read(MAX_BYTES + 1)[:MAX_BYTES]
    except OSError as e:
        raise ValueError(f"{name}: cannot be read: {e.strerror}") from e
    if not data.strip():
        raise ValueError(f"{name}: empty file")
    text, note = decode_text(data)
    try:
        lines, ass = _parse(text, path.suffix.lower())
    except ValueError as e:
        raise ValueError(f"{name}: {e}") from e
    return lines, ass, note


def shown_name(path: Path) -> str:
    """The file's name as text that every encoder can write (names may hold control characters and bytes that are
    not UTF-8)."""
    return shorten(clean_text(os.fsencode(path.name).decode("utf-8", errors="replace")), 100)


# ---- timed captions, from a subtitle stream or a file beside the clip, put into order -------------------------------


class CueLike(Protocol):
    """What a cue must have; seconds on the clip's clock."""

    @property
    def start(self) -> float: ...
    @property
    def end(self) -> float: ...
    @property
    def text(self) -> str: ...


def repair_times(start: float, end: float) -> tuple[float, float, str]:
    """Times with 0 <= start <= end, and what had to be done for it ("" = nothing).

    Backwards times are swapped (the usual cause is a typo in one of them, the cue still belongs there), negative
    ones are raised to 0, equal ones are left equal: nobody knows how long the cue was meant to stand.
    """
    done = []
    if end < start:
        start, end = end, start
        done.append("backwards")
    elif end == start:
        done.append("zero duration")
    if start < 0:
        start, end = 0.0, max(end, 0.0)
        done.append("negative start")
    return start, end, f"{REPAIRED}: {', '.join(done)}" if done else ""


def cue_items(
    cues: Iterable[CueLike], origin: Origin, detail: str, window: tuple[float, float], ass: bool = False
) -> list[TextItem]:
    """Items of the cues that overlap `window` (seconds), in order of time, markup stripped, times repaired.

    A cue of zero duration counts as inside when its instant is. Repeated cues (same text, same times) are given once.
    """
    items: list[TextItem] = []
    seen: set[tuple[float, float, str]] = set()
    for cue in sorted(cues, key=lambda c: (c.start, c.end)):
        start, end, note = repair_times(float(cue.start), float(cue.end))
        inside = start < window[1] and (end > window[0] or window[0] <= start == end)
        text = " ".join(strip_markup(cue.text, ass).split())
        if not inside or not text or (start, end, text) in seen:
            continue
        seen.add((start, end, text))
        language = clean_text(getattr(cue, "language", None) or "")[:16]
        parts = [detail, f"language={language}" if language else "", note]
        items.append(TextItem(origin=origin, text=text, start=start, end=end, detail="; ".join(p for p in parts if p)))
    return items
