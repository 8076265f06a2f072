import contextlib
import os
import time
from pathlib import Path

import pytest

from mllm_avqa.context import sidecars
from mllm_avqa.context.collect import gather
from mllm_avqa.context.sidecars import MAX_BYTES, find_sidecars, read_sidecar
from mllm_avqa.evidence.captions import caption_measurements
from mllm_avqa.media import Limits, MediaReader
from mllm_avqa.schema.card import ViewSpec
from mllm_avqa.windows import file_windows

SRT = "1\n00:00:01,000 --> 00:00:02,500\nHello <i>there</i>\n\n2\n00:00:03,000 --> 00:00:04,000\ntwo\nlines\n"
WINDOW = (0.0, 8.0)


def read(path: Path, data: str | bytes, window: tuple[float, float] = WINDOW) -> list[tuple[str, float, float]]:
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    items, _ = read_sidecar(path, window)
    return [(i.text, i.start, i.end) for i in items]


EXPECTED = [("Hello there", 1.0, 2.5), ("two lines", 3.0, 4.0)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_srt_in_every_unicode(tmp_path: Path, encoding: str, newline: str) -> None:
    assert read(tmp_path / "clip.srt", SRT.replace("\n", newline).encode(encoding)) == EXPECTED


def test_vtt_without_notes_styles_and_names(tmp_path: Path) -> None:
    vtt = (
        "\ufeffWEBVTT - a title\nKind: captions\n\nNOTE\nnot for viewers\n\nSTYLE\n::cue { color: red }\n\n"
        "intro\n00:01.000 --> 00:02.500 align:start position:0%\nHello <c.loud>there</c>\n\nNOTE between\n\n"
        "00:00:03.000 --> 00:00:04.000\n<v Bob>two\nlines &amp; more\n"
    )
    assert read(tmp_path / "clip.vtt", vtt) == [("Hello there", 1.0, 2.5), ("two lines & more", 3.0, 4.0)]
    assert read(tmp_path / "clip.srt", vtt)[0] == ("Hello there", 1.0, 2.5)  # what the file is decides, not its name


def test_ass_without_overrides_comments_and_drawings(tmp_path: Path) -> None:
    ass = (
        "[Script Info]\nScriptType: v4.00+\n\n[V4+ Styles]\nFormat: Name, Fontname\nStyle: Default,Arial\n\n[Events]\n"
        "Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n"
        "Dialogue: 0,0:00:01.00,0:00:02.50,Default,,0,0,0,,{\\an8}Hello, there\\Nyou\n"
        "Dialogue: 0,0:00:01.00,0:00:02.00,Default,,0,0,0,,{\\p1}m 0 0 l 10 10{\\p0}\n"
        "Comment: 0,0:00:01.00,0:00:02.00,Default,,0,0,0,,not shown\n"
    )
    assert read(tmp_path / "clip.ass", ass) == [("Hello, there you", 1.0, 2.5)]


def test_malformed_srt_keeps_what_can_be_read(tmp_path: Path) -> None:
    bad = "garbage\n\n00:00:01.000 --> 00:00:02.500\nHello there\n"
    bad += "00:00:03,000 --> 00:00:04,000 X1:0\ntwo\n\n\n\n\nlines\n\n7\n"
    assert read(tmp_path / "clip.srt", bad) == EXPECTED


def test_latin1_and_gb2312_are_noted(tmp_path: Path) -> None:
    path = tmp_path / "clip.srt"
    path.write_bytes("1\n00:00:01,000 --> 00:00:02,000\nDéjà vu, ça\n".encode("latin-1"))
    items, note = read_sidecar(path, WINDOW)
    assert items[0].text == "Déjà vu, ça" and "Latin-1" in note
    path.write_bytes("1\n00:00:01,000 --> 00:00:02,000\n今天天气很好\n".encode("gb2312"))
    items, note = read_sidecar(path, WINDOW)
    assert items[0].text == "今天天气很好" and "GB2312" in note


def test_only_cues_of_the_window(tmp_path: Path) -> None:
    path = tmp_path / "clip.srt"
    assert [t for t, *_ in read(path, SRT, (2.5, 8.0))] == ["two lines"]  # [1, 2.5] ends where the window begins
    assert [t for t, *_ in read(path, SRT, (2.0, 3.0))] == ["Hello there"]
    assert read(path, SRT, (10.0, 18.0)) == []


def test_impossible_times_are_repaired_and_counted(tmp_path: Path, make_clip, status) -> None:
    (tmp_path / "clip.srt").write_text(
        "1\n00:00:04,000 --> 00:00:02,000\nbackwards\n\n2\n00:00:05,000 --> 00:00:05,000\nnever\n\n"
        "3\n00:00:06,000 --> 00:00:07,000\nfine\n"
    )
    clip = make_clip()
    context = gather(tmp_path / "clip.mp4", clip)
    items = [i for i in context.items if i.origin == "sidecar"]
    assert [(i.text, i.start, i.end) for i in items] == [("backwards", 2, 4), ("never", 5, 5), ("fine", 6, 7)]
    assert "backwards" in items[0].detail and "zero duration" in items[1].detail
    assert status(context, "sidecar") == ("ok", "2 cue(s) with impossible times repaired")
    timing = {m.name: m for m in caption_measurements(clip, context)}["caption_timing"]
    assert timing.value == pytest.approx(66.667) and timing.severity == "strong"  # 2 of 3


def test_names_that_belong_to_the_clip(tmp_path: Path) -> None:
    yes = ["clip.srt", "clip.en.srt", "clip.zh-Hans.VTT", "clip.en.sdh.ass"]
    no = ["clip2.srt", "clip.txt", "other.srt", "clip.director comments.srt", "clip.mp4"]
    for name in yes + no:
        (tmp_path / name).write_text(SRT)
    assert [p.name for p in find_sidecars(tmp_path / "clip.mp4")] == sorted(yes)


def test_what_is_not_read_says_why(tmp_path: Path, make_clip, status) -> None:
    def look(name: str) -> tuple[str, str]:
        found = status(gather(tmp_path / "clip.mp4", make_clip()), "sidecar")
        path = tmp_path / name
        path.rmdir() if path.is_dir() else path.unlink()
        return found

    os.mkfifo(tmp_path / "clip.srt")
    assert look("clip.srt") == ("unavailable", "clip.srt: not a regular file")
    (tmp_path / "clip.srt").mkdir()
    assert look("clip.srt") == ("unavailable", "clip.srt: not a regular file")
    (tmp_path / "clip.srt").write_bytes(b"x" * (MAX_BYTES + 1))
    assert look("clip.srt")[1] == f"clip.srt: {MAX_BYTES + 1} bytes, allowed are {MAX_BYTES}"
    (tmp_path / "clip.srt").write_bytes(b"")
    assert look("clip.srt") == ("unavailable", "clip.srt: empty file")
    (tmp_path / "clip.srt").write_bytes(bytes(range(256)) * 20)
    assert look("clip.srt")[0] == "unavailable"
    (tmp_path / "clip.ass").write_text("[Script Info]\nnothing")
    assert look("clip.ass") == ("unavailable", "clip.ass: no cue found in it")


@pytest.mark.parametrize(
    "body",
    ["\n" * 900_000, "<" * 900_000, "{\\" * 450_000, "1\n \n" * 220_000, "[" * 900_000, "00:00:01,000 " * 70_000],
)
@pytest.mark.parametrize("name", ["clip.srt", "clip.vtt", "clip.ass"])
def test_hostile_files_do_not_stall(tmp_path: Path, name: str, body: str) -> None:
    """Patterns must stay linear: a quadratic one needs minutes for a megabyte."""
    path = tmp_path / name
    head = {"clip.srt": "00:00:01,000 --> 00:00:02,000\n", "clip.vtt": "WEBVTT\n\n00:01.000 --> 00:02.000\n"}.get(
        name, "[Script Info]\n\n[Events]\nFormat: Layer, Start, End, Style, Text\nDialogue: 0,0:00:01.00,0:00:02.00,D,"
    )
    path.write_text(head + body)
    before = time.process_time()
    with contextlib.suppress(ValueError):
        read_sidecar(path, WINDOW)
    assert time.process_time() - before < 5


@pytest.fixture
def tone(tmp_path: Path) -> Path:
    import wave

    import numpy as np

    with wave.open(str(tmp_path / "tone.wav"), "wb") as w:
        w.setnchannels(1)
        w.setsampwidth(2)
        w.setframerate(16000)
        w.writeframes((np.sin(np.arange(24000) / 10) * 9000).astype(np.int16).tobytes())
    return tmp_path / "tone.wav"


def many(tmp_path: Path, n: int, size: int) -> list[Path]:
    cue = "1\n00:00:00,100 --> 00:00:01,000\nHello\n\n"
    files = [tmp_path / f"clip.{a}{b}.srt" for a in "abcdefghij" for b in "abcdefghij"][:n]
    for file in files:
        file.write_text(cue * (size // len(cue)))
    return files


def test_sidecars_have_a_budget_in_number_and_bytes(tmp_path: Path, make_clip, status) -> None:
    many(tmp_path, 20, 100)
    clip = make_clip()
    told = status(gather(tmp_path / "clip.mp4", clip), "sidecar")
    assert told[1].startswith("4 of 20 subtitle files beyond the limits are not read (16 files, 2097152 bytes, --max-s")
    few = Limits(max_sidecars=16, max_sidecar_bytes=250)
    assert status(gather(tmp_path / "clip.mp4", clip, limits=few), "sidecar")[1].startswith("17 of 20 subtitle files")
    assert "--max-sidecar-bytes" in status(gather(tmp_path / "clip.mp4", clip, limits=few), "sidecar")[1]


def test_a_hundred_sidecars_of_a_mebibyte_cost_seconds_and_are_a_warning(tmp_path: Path, tone: Path) -> None:
    many(tmp_path, 100, MAX_BYTES - 100)
    tone.rename(tmp_path / "clip.wav")
    begin = time.process_time()
    with MediaReader() as reader:
        (window,) = file_windows(str(tmp_path / "clip.wav"), reader, ViewSpec())
    assert time.process_time() - begin < 5
    assert "98 of 100 subtitle files beyond the limits are not read" in "\n".join(window.warnings)


def test_a_sidecar_is_parsed_once_for_all_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "clip.srt"
    path.write_text(SRT)
    parsed = []
    parse = sidecars._parse
    sidecars._read.cache_clear()
    monkeypatch.setattr(sidecars, "_parse", lambda *a: parsed.append(a) or parse(*a))
    assert [len(read_sidecar(path, (s, s + 2.0))[0]) for s in (0.0, 2.0, 4.0)] == [1, 2, 0]
    assert len(parsed) == 1
    path.write_text(SRT.replace("two", "one more"))
    assert "one more" in read_sidecar(path, WINDOW)[0][1].text
