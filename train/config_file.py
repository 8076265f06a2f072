"""YAML -> a typed model: `extends`, overrides, and errors that name the place, the file and the nearest key."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from mllm_avqa.schema.errors import ConfigError

Model = TypeVar("Model", bound=BaseModel)


def read(path: str | Path, model: type[Model], overrides: list[str]) -> Model:
    """Read a YAML into `model`.

    `extends: FILE` (relative to the YAML) takes over its values; mappings are merged, lists and values replaced.
    overrides: "a.b=c", list items by index. Raises ConfigError.
    """
    path = Path(path)
    data = _extended(path, ())
    for item in overrides:
        _override(data, item, path)
    try:
        return model.model_validate(data)
    except ValidationError as e:
        raise ConfigError("\n".join(_explain(path, model, error) for error in e.errors())) from e


def _extended(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    if not path.is_file():
        by = f" (extends in {seen[-1]})" if seen else ""
        raise ConfigError(f"config {path} does not exist{by}")
    if path.resolve() in [p.resolve() for p in seen]:
        raise ConfigError(f"config {path} extends itself, over {', '.join(map(str, seen))}")
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as e:
        raise ConfigError(f"{path}: not YAML: {e}") from e
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: a config is a mapping of keys to values, found {type(data).__name__}")
    below = data.pop("extends", None)
    return data if below is None else _merged(_extended(path.parent / str(below), (*seen, path)), data)


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    out = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(out.get(key), dict)
        out[key] = _merged(out[key], value) if both else value
    return out


def _override(data: dict[str, Any], item: str, path: Path) -> None:
    key, equals, value = item.partition("=")
    if not equals:
        raise ConfigError(f"--set {item}: expected KEY=VALUE, such as stages.0.steps=10")
    node: Any = data
    *parents, last = key.split(".")
    try:
        for p in parents:
            node = node[int(p)] if isinstance(node, list) else node.setdefault(p, {})
        node[int(last) if isinstance(node, list) else last] = yaml.safe_load(value)
    except (ValueError, IndexError, TypeError, AttributeError) as e:
        raise ConfigError(f"--set {item}: no such place in {path}") from e
    except yaml.YAMLError as e:
        raise ConfigError(f"--set {item}: {value!r} is not a YAML value") from e


def _explain(path: Path, model: type[BaseModel], error: Any) -> str:
    where = ".".join(str(x) for x in error["loc"])
    message = f"{path}: {where}: {error['msg']}" if where else f"{path}: {error['msg']}"
    if error["type"] != "extra_forbidden":
        return message
    *parents, key = error["loc"]
    here = [name for m in _models_at(model, parents) for name in m.model_fields]
    for names in (here, sorted(_keys(model) - {key})):  # the right key at this place, or a key of another place
        near = difflib.get_close_matches(str(key), names, n=1)
        if near:
            return f"{message}; did you mean {near[0]!r}?"
    return f"{message}; allowed here: {', '.join(here)}"


def _models_at(model: type[BaseModel], loc: list[Any]) -> list[type[BaseModel]]:
    found = [model]
    for step in loc:
        if isinstance(step, str):
            found = [i for m in found if step in m.model_fields for i in _inner(m.model_fields[step].annotation)]
    return found


def _inner(annotation: Any) -> list[type[BaseModel]]:
    """Models in an annotation: itself, or what a list, a union or a mapping holds."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for a in getattr(annotation, "__args__", ()) for m in _inner(a)]


def _keys(model: type[BaseModel]) -> set[str]:
    keys: set[str] = set(model.model_fields)
    for field in model.model_fields.values():
        for inner in _inner(field.annotation):
            keys |= _keys(inner)
    return keys
