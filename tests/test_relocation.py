"""Media paths of a record file, as another record file has to write them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mllm_avqa.schema.records import relocation

RELATIVE, ABSOLUTE = "clips/a.mp4", "/abs/b.mp4"


@pytest.mark.parametrize(
    ("target", "absolute", "expected"),
    [
        ("set/deep", None, ["../clips/a.mp4", ABSOLUTE]),
        ("set/deep", False, ["../clips/a.mp4", None]),
        ("set/deep", True, ["/clips/a.mp4", ABSOLUTE]),
        ("other", None, ["../set/clips/a.mp4", ABSOLUTE]),
        ("set", None, [RELATIVE, ABSOLUTE]),
        ("set", False, [RELATIVE, ABSOLUTE]),
        ("set/../set/.", None, [RELATIVE, ABSOLUTE]),
        ("set", True, ["/clips/a.mp4", ABSOLUTE]),
    ],
)
def test_a_path_leads_to_the_same_file(
    tmp_path: Path, target: str, absolute: bool | None, expected: list[str | None]
) -> None:
    (tmp_path / "set" / "deep").mkdir(parents=True)
    place = relocation(tmp_path / "set", tmp_path / target, absolute)
    for media, wanted in zip((RELATIVE, ABSOLUTE), expected, strict=True):
        found = place(media)
        assert os.path.normpath(tmp_path / target / found) == os.path.normpath(tmp_path / "set" / media)
        assert os.path.isabs(found) == (absolute or (wanted == ABSOLUTE))
        if wanted is not None:
            assert found == (f"{tmp_path}/set{wanted}" if absolute and media == RELATIVE else wanted)


def test_paths_within_one_folder_stay_as_they_are_written(tmp_path: Path) -> None:
    assert relocation(tmp_path, tmp_path)("./m/../x.mp4") == "./m/../x.mp4"
    assert relocation(tmp_path, tmp_path / "..")("./m/../x.mp4") == f"{tmp_path.name}/x.mp4"


@pytest.mark.parametrize("absolute", [None, True])
def test_steps_up_count_from_where_a_linked_folder_is(tmp_path: Path, absolute: bool | None) -> None:
    """The system opens `link/../a.mp4` beside the folder behind the link, not beside the link."""
    (tmp_path / "big" / "records").mkdir(parents=True)
    (tmp_path / "big" / "a.mp4").write_bytes(b"a")
    (tmp_path / "link").symlink_to(tmp_path / "big" / "records")
    (tmp_path / "out").mkdir()
    there = relocation(tmp_path / "link", tmp_path / "out", absolute)("../a.mp4")
    assert (tmp_path / "out" / there).read_bytes() == b"a"
    back = relocation(tmp_path / "out", tmp_path / "link", absolute)(there)
    assert (tmp_path / "link" / back).read_bytes() == b"a"


def test_relative_paths_of_this_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`Path("r.jsonl").parent` is the working folder."""
    monkeypatch.chdir(tmp_path)
    assert relocation(Path("r.jsonl").parent, "deep")(RELATIVE) == "../clips/a.mp4"
    assert relocation(".", tmp_path)(RELATIVE) == RELATIVE
