"""Files written whole or not at all, and JSONL files of pydantic models, a line at a time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from mllm_avqa.schema.errors import ConfigError

Model = TypeVar("Model", bound=BaseModel)


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """A path beside `path` to write to: it takes its place when the block ends well, and is removed when it does not.

    The folder is made. Two writers never share a part file: the later one replaces the earlier one's result. An OSError
    passes as it is, for only the caller knows whether it ends the program, and by which flag the file was named.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{token_hex(4)}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def read_models(path: str | Path, model: type[Model], name: str, file: str) -> Iterator[Model]:
    """Stream the models of a JSONL file; blank lines are passed over.

    name, file: what a line and the file are called in messages ("a record", "record file"). Raises ConfigError for a
    file that is not there, and with file and line for a line that does not fit.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"{file} {path} does not exist")
    with path.open(encoding="utf-8-sig") as f:
        for number, line in enumerate(f, 1):
            if line.strip():
                try:
                    yield model.model_validate_json(line)
                except ValidationError as e:
                    first = e.errors()[0]
                    where = ".".join(str(x) for x in first["loc"])
                    raise ConfigError(f"{path}:{number}: not {name}: {where}: {first['msg']}") from e


def write_models(path: str | Path, models: Iterable[BaseModel]) -> int:
    """Write models as JSONL, defaults left out; a reader never sees half of the file. Returns their number."""
    n = 0
    with whole_file(path) as part, part.open("w", encoding="utf-8") as f:
        for model in models:
            f.write(json.dumps(model.model_dump(exclude_defaults=True), ensure_ascii=False) + "\n")
            n += 1
    return n
