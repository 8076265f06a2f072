"""What people and models are told, in their language: prompts/*.yaml, read once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.names import LANGUAGES, SIDES


@cache
def read_prompts(name: str) -> Mapping[str, Any]:
    """prompts/<name>.yaml, from the wheel or the checkout. Raises ConfigError where it is missing."""
    here = Path(__file__).parents[1]
    for folder in (here / "prompts", here.parent / "prompts"):
        path = folder / f"{name}.yaml"
        if path.is_file():
            data: Mapping[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
            return data
    raise ConfigError(f"prompts/{name}.yaml is missing from this installation")


@cache
def load_prompts(name: str, language: str) -> Mapping[str, Any]:
    """prompts/<name>.<language>.yaml; `names: faults` in it stands for the names of all kinds of faults.

    Raises ConfigError for an unknown language.
    """
    if language not in LANGUAGES:
        raise ConfigError(f"language {language!r} is not one of {', '.join(LANGUAGES)} (--lang)")
    data = read_prompts(f"{name}.{language}")
    if data.get("names") == "faults":
        kinds = (read_prompts(f"faults.{side}")["kinds"] for side in SIDES)  # `faults.py` reads all of an entry
        data = {**data, "names": {kind: entry[language] for of_side in kinds for kind, entry in of_side.items()}}
    return data


def say(code: str, language: str, **values: object) -> str:
    """A sentence of prompts/words.<language>.yaml, by its place ("reasons.unscored"), filled in."""
    found: Any = load_prompts("words", language)
    for part in code.split("."):
        found = found[part]
    return str(found).format(**values)


@cache
def _known(language: str) -> list[tuple[re.Pattern[str], str]]:
    known = load_prompts("words", language)["known"]
    return [(re.compile(pattern, re.DOTALL), text) for pattern, text in known.items()]


def translated(text: str, language: str) -> str:
    """What a room says of a clip, which is English, in `language`; as it is where nobody has put it into words.

    Rooms speak one language, and prompts/words.<language>.yaml knows their sentences by pattern. Groups of a pattern
    are translated in their turn, and so are the parts of a list.
    """
    known = _known(language)
    for pattern, template in known:
        if m := pattern.fullmatch(text):
            return template.format(*(translated(g, language) if g else "" for g in m.groups()))
    if known and "; " in text:
        return "；".join(translated(part, language) for part in text.split("; "))
    return text
