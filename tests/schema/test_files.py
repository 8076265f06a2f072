"""Files that appear whole or not at all, and JSONL of models."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.files import read_models, whole_file, write_models


class Point(BaseModel):
    x: int
    name: str = ""


def read(path: Path) -> Iterator[Point]:
    return read_models(path, Point, "a point", "point file")


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "new" / "a.txt"
    with whole_file(target) as part:
        part.write_text("one")
        assert not target.exists() and part.parent == target.parent
    with whole_file(str(target)) as part:
        part.write_text("two")
        assert target.read_text() == "one"
    assert target.read_text() == "two"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("error", [ValueError, OSError, KeyboardInterrupt, GeneratorExit])
def test_after_any_failure_the_old_file_is_there_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(error), whole_file(target) as part:  # noqa: PT012
        part.write_text("half")
        raise error("stop")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_place_that_can_not_be_written_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="file"), whole_file(tmp_path / "file" / "a.txt"):
        pytest.fail("the block must not run")
    with pytest.raises(IsADirectoryError), whole_file(tmp_path / "folder") as part:
        part.write_text("x")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    with whole_file(target) as late:
        late.write_text("late")
        with whole_file(target) as early:
            early.write_text("early")
        assert target.read_text() == "early"
    assert target.read_text() == "late"


def test_models_go_out_and_come_back(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    points = [Point(x=1), Point(x=2, name="二")]
    assert write_models(path, iter(points)) == 2
    assert path.read_text(encoding="utf-8") == '{"x": 1}\n{"x": 2, "name": "二"}\n'  # no defaults, no escapes
    assert list(read(path)) == points
    path.write_text("\ufeff" + path.read_text(encoding="utf-8").replace("\n", "\n\n"), encoding="utf-8")
    assert list(read(path)) == points


def test_a_file_may_be_rewritten_from_itself(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    write_models(path, (Point(x=k) for k in range(3)))
    assert write_models(path, (p for p in read(path) if p.x)) == 2
    assert [p.x for p in read(path)] == [1, 2]


def test_a_model_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    write_models(path, [Point(x=1)])
    with pytest.raises(ZeroDivisionError):
        write_models(path, (Point(x=1 // k) for k in (1, 0)))
    assert [p.x for p in read(path)] == [1]
    assert list(tmp_path.iterdir()) == [path]


def test_lines_are_read_as_they_are_asked_for_and_errors_name_the_line(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps({"x": 1}) + '\n\n{"x": "far"}\n')
    points = read(path)
    assert next(points) == Point(x=1)
    with pytest.raises(ConfigError, match=r"p\.jsonl:3: not a point: x: Input should be a valid integer"):
        next(points)
    with pytest.raises(ConfigError, match=r"point file .*nothing does not exist"):
        next(read(tmp_path / "nothing"))
