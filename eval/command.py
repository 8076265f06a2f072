"""From a class to its command: every field is an option or an argument, its description the help."""

from __future__ import annotations

import inspect
import types
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import typer
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from eval.study import Command, command_fields, flags, told_of
from mllm_avqa.schema.errors import AvqaError, ConfigError

C = TypeVar("C", bound=Command)


def fail(error: AvqaError) -> typer.Exit:
    """Print the error to stderr; `raise fail(e) from None` ends the command with exit code 2."""
    typer.echo(f"error: {error}", err=True)
    return typer.Exit(2)


def register(app: typer.Typer, kind: type[Command]) -> None:
    """Make the command of a class, its help from the descriptions of the fields."""

    def run(**given: Any) -> None:
        try:
            code = build(kind, given).main()
        except AvqaError as e:
            raise fail(e) from None
        if code:
            raise typer.Exit(code)

    parameters = [_parameter(kind, name) for name in command_fields(kind)]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    run.__doc__ = inspect.getdoc(kind)
    app.command(kind.command)(run)


def build(kind: type[C], given: dict[str, Any]) -> C:
    """An instance from a command line; what is None or empty keeps its default. Raises ConfigError naming the flag."""
    try:
        return kind.model_validate({k: v for k, v in given.items() if v is not None})
    except ValidationError as e:
        first = e.errors()[0]
        place = str(first["loc"][0]) if first["loc"] else ""
        name = flags(place, kind.model_fields[place])[0] if place in kind.model_fields else ""
        why = first["msg"].removeprefix("Value error, ")
        if first["type"] == "literal_error":
            why = f"{first['input']!r} is not one of {first['ctx']['expected']}"
        raise ConfigError(f"{name} {why}".strip()) from e


def _parameter(kind: type[Command], name: str) -> inspect.Parameter:
    info, cli = kind.model_fields[name], told_of(kind.model_fields[name])
    plain: Any = info.annotation
    if get_origin(plain) is tuple and get_args(plain)[-1] is Ellipsis:
        item = str if get_origin(get_args(plain)[0]) is Literal else get_args(plain)[0]  # typer has no list of choices
        plain = list[item] if cli.get("argument") else list[item] | None  # type: ignore[valid-type]
    limits = _limits(info, plain)
    default = ... if info.is_required() or cli.get("needed") else info.default
    if isinstance(default, tuple) and get_origin(plain) is not tuple:
        default = [*default] or None
    if cli.get("argument"):
        made: Any = typer.Argument(help=info.description, metavar=flags(name, info)[0])
    else:
        made = typer.Option(*flags(name, info), help=info.description, metavar=cli.get("metavar"), **limits)
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[plain, made],
        default=inspect.Parameter.empty if default is ... else default,
    )  # fmt: skip


def _limits(info: FieldInfo, plain: Any) -> dict[str, Any]:
    """Bounds that the command line can tell by itself (typer's are inclusive)."""
    whole = plain in (int, float) or (
        get_origin(plain) in (Union, types.UnionType) and {int, float} & set(get_args(plain))
    )  # fmt: skip
    found = {n: getattr(m, k) for k, n in (("ge", "min"), ("le", "max")) for m in info.metadata if hasattr(m, k)}
    return found if whole else {}
