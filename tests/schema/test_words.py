"""What people read is in their language."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import mllm_avqa
from mllm_avqa.schema.clip import MediaInfo
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.measurement import Measurement
from mllm_avqa.schema.rating import Rating
from mllm_avqa.schema.text import SourceStatus, TextContext
from mllm_avqa.schema.words import load_prompts, say, translated

HOME = Path(mllm_avqa.__file__).parent
SPOKEN = ("media", "evidence", "context")
TELL = {"_absent": 1, "_skipped": 1, "_none": 1, "_warn": 0}  # functions of the rooms, and which argument is a sentence


def _text(node: ast.expr) -> list[str]:
    """The sentences that an expression can be; what is filled in is a number."""
    if isinstance(node, ast.Constant):
        return [node.value] if isinstance(node.value, str) and node.value else []
    if isinstance(node, ast.IfExp):
        return _text(node.body) + _text(node.orelse)
    if isinstance(node, ast.JoinedStr):
        filled = ["7" if isinstance(v, ast.FormattedValue) else str(v.value) for v in node.values]
        names = [ast.unparse(v.value) for v in node.values if isinstance(v, ast.FormattedValue)]
        text = "".join(filled)
        side = {"kind", "stream.type", "name", "a"} & set(names)
        return [text.replace("7", "video", 1)] if side and not text.startswith("7.") else [text]
    return []


def sentences() -> set[str]:
    found: set[str] = set()
    for path in [*(p for room in SPOKEN for p in (HOME / room).rglob("*.py")), HOME / "windows.py"]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "note":
                found.update(_text(node.value))
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
                name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
                if name in TELL and len(node.args) > TELL[name]:
                    found.update(_text(node.args[TELL[name]]))
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript):
                if ast.unparse(node.targets[0].value) in ("absent", "missing", "clip.absent"):
                    found.update(_text(node.value))
            elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).endswith(("note", "why")):
                found.update(_text(node.value))
    return {s for s in found if re.search(r"[a-z]{3}", s)}


def test_every_sentence_of_a_room_is_known_in_chinese():
    found = sentences()
    assert len(found) > 60
    unknown = [s for s in found if not re.search("[一-鿿]", translated(s, "zh"))]
    assert unknown == ["7 7 kbit/s"]  # a codec and its rate: no words


def test_a_rating_is_told_in_its_language():
    sidecar = "a.srt: not UTF-8, read as GB2312; 2 cue(s) with impossible times repaired"

    def rating(language):
        return Rating(
            path="c", scores={}, language=language, media=MediaInfo(path="c", container="x", size_bytes=1, duration=1),
            missing={"sync": "no video: the file has no video stream; no audio: the file has no audio stream"},
            warnings=["audio: 3 damaged packets or frames", "something nobody has put into words"],
            evidence=[Measurement(name="balance", modality="audio", value=9.0, unit="dB", note="left is louder")],
            context=TextContext(sources=[SourceStatus(origin="sidecar", status="ok", detail=sidecar)]),
        )  # fmt: skip

    told = rating("zh").told()
    assert told.missing["sync"] == "没有画面：文件没有画面流；没有声音：文件没有声音流"
    assert told.warnings == ["声音：3 个损坏的包或帧", "something nobody has put into words"]
    assert told.evidence[0].note == "左声道较响"
    assert told.context.sources[0].detail == "a.srt：不是 UTF-8，按 GB2312 读取；已修正 2 条时间不可能的字幕"
    assert rating("en").told() == rating("en")


def test_words_are_found_by_their_place():
    assert say("levels.poor", "zh") == "较差"
    assert say("reasons.unscored", "en", aspect="Audio", why="gone") == "Audio was not scored: gone"
    with pytest.raises(ConfigError, match="--lang"):
        load_prompts("words", "fr")
