"""Files written whole or not at all, YAML of strangers, JSONL files of pydantic models, the hash of a file's code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from secrets import token_hex
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from mllm_avqa.schema.errors import AvqaError, ConfigError

MOST_BYTES, MOST_DEPTH, MOST_NODES = 4_000_000, 64, 200_000  # of a YAML file
Model = TypeVar("Model", bound=BaseModel)
# What makes a window, its facts and its texts: part of the key of whatever keeps them.
WINDOW_CODE = (
    "mllm_avqa.media",
    "mllm_avqa.evidence",
    "mllm_avqa.context",
    "mllm_avqa.model.views",
    "mllm_avqa.schema.card",
    "mllm_avqa.schema.clip",
    "mllm_avqa.windows",
)
CODE = {".py", ".yaml", ".json"}


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


def read_yaml(path: str | Path, error: type[AvqaError] = ConfigError) -> Any:
    """The value of a YAML file that a stranger may have written; None when it is empty.

    Raises `error` for a file that is not there, not UTF-8 or not YAML, and for one beyond `MOST_BYTES`, `MOST_DEPTH` or
    `MOST_NODES` once its aliases are written out (a few lines of them can stand for billions of values).
    """
    path = Path(path)
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"more than {MOST_BYTES} bytes")
        loader = yaml.SafeLoader(path.read_text(encoding="utf-8-sig"))
        node = loader.get_single_node()
        if node is None:
            return None
        if _nodes(node, {}, 0) > MOST_NODES:
            raise ValueError(f"more than {MOST_NODES} values")
        return loader.construct_document(node)
    except RecursionError:
        raise error(f"{path}: nested too deep, at most {MOST_DEPTH} levels") from None
    except UnicodeDecodeError as e:
        raise error(f"{path}: not UTF-8 text ({e.reason} at byte {e.start})") from e
    except OSError as e:
        raise error(f"{path}: can not be read: {e.strerror}") from e
    except (ValueError, yaml.YAMLError) as e:
        raise error(f"{path}: {e}") from e


def _nodes(node: yaml.Node, known: dict[int, int], depth: int) -> int:
    """Number of values below a node, aliases written out. Raises RecursionError for one too deep or inside itself."""
    if depth > MOST_DEPTH:
        raise RecursionError
    if id(node) not in known:
        parts = node.value if isinstance(node.value, list) else []
        flat = [p for pair in parts for p in pair] if isinstance(node, yaml.MappingNode) else parts
        known[id(node)] = 1 + sum(_nodes(p, known, depth + 1) for p in flat)
    return known[id(node)]


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


@cache
def code_hash(*modules: str) -> str:
    """Short hash of the source of modules and packages: what other code made is not taken for what this code makes.

    The version of the package is the same in every checkout, so it cannot tell them apart. modules: dotted names; of a
    package, every source and data file in it counts. Nothing is imported but the packages above a name.
    """
    digest = hashlib.sha256()
    for name in modules:
        spec = find_spec(name)
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(f"no source of {name}")
        file = Path(spec.origin)
        files = [f for f in file.parent.rglob("*") if f.suffix in CODE] if spec.submodule_search_locations else [file]
        for f in sorted(files):
            digest.update(f"{name} {f.relative_to(file.parent).as_posix()}\0".encode())
            digest.update(f.read_bytes())
    return digest.hexdigest()[:16]
