"""Files, directories, globs, manifests."""

from __future__ import annotations

from pathlib import Path

import pytest

from mllm_avqa.batch.inputs import check_inputs, expand
from mllm_avqa.schema.errors import ConfigError


def test_directory_is_recursive_and_sorted(clips: Path) -> None:
    names = [i.file.name for i in expand([str(clips)])]
    assert names == [*(f"c{i}.mp4" for i in range(8)), "copy of 0.mp4", "wrong.mp4", "deep.MKV"]


def test_glob_and_a_file_with_glob_characters(clips: Path) -> None:
    (clips / "a[1].mp4").write_bytes(b"x")
    assert [i.file.name for i in expand([str(clips / "c[12].mp4"), str(clips / "a[1].mp4")])] == [
        "c1.mp4",
        "c2.mp4",
        "a[1].mp4",
    ]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("m.txt", "# comment\nc1.mp4\n\nbelow/deep.MKV\n"),
        ("m.csv", "text,path\n,c1.mp4\nhello,below/deep.MKV\n"),
        ("m.jsonl", '{"path": "c1.mp4"}\n{"path": "below/deep.MKV", "text": "hello", "more": 1}\n'),
    ],
)
def test_manifest_is_relative_to_itself(clips: Path, name: str, content: str) -> None:
    (clips / name).write_text("\ufeff" + content, encoding="utf-8")  # a byte-order mark, as Excel writes it
    items = list(expand([], clips / name))
    assert [i.listed for i in items] == ["c1.mp4", "below/deep.MKV"]
    assert [i.file for i in items] == [clips / "c1.mp4", clips / "below/deep.MKV"]
    assert [i.user_text for i in items] == [None, None if name == "m.txt" else "hello"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.csv", b"file\nx.mp4\n", r"no column 'path', only \['file'\]"),
        ("m.jsonl", b'{"path": "a.mp4"}\n{"path"', r"m\.jsonl:2: not JSON"),
        ("m.jsonl", b'{"path": 3}\n', r"m\.jsonl:1: no string 'path'"),
        ("m.jsonl", b'{"path": "a", "text": 3}\n', "'text' must be a string, not int"),
        ("m.txt", b"\xff\xfe", "not UTF-8"),
    ],
)
def test_bad_manifests_say_where(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        list(expand([], tmp_path / name))


@pytest.mark.parametrize(("given", "message"), [("nowhere.mp4", "does not exist"), ("*.nothing", "matches no file")])
def test_inputs_that_mean_nothing(tmp_path: Path, given: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_inputs([str(tmp_path / given)], None)
    with pytest.raises(ConfigError, match="no file with a known media extension"):
        check_inputs([str(tmp_path)], None)
    with pytest.raises(ConfigError, match="--manifest"):
        check_inputs([], None)
