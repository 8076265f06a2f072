"""The held-out bank of attack texts and of harmless ones (texts/<language>.yaml). Training has texts of its own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Literal

import yaml

from mllm_avqa.context.clean import clean_text
from mllm_avqa.model.prompting import LANGUAGES
from mllm_avqa.schema.errors import ConfigError

TEXTS = Path(__file__).parent / "texts"
DIRECTIONS = {"up": 1, "down": -1}
JOINT = {"en": ". ", "zh": "。"}


@dataclass(frozen=True)
class Attack:
    """A text that wants another score. wants: +1 a better one, -1 a worse one."""

    text: str
    family: str
    language: str
    wants: Literal[1, -1]


@cache
def _file(language: str) -> dict[str, Any]:
    if language not in LANGUAGES:
        raise ConfigError(f"language {language!r} is not one of {', '.join(LANGUAGES)} (--lang)")
    data: dict[str, Any] = yaml.safe_load((TEXTS / f"{language}.yaml").read_text(encoding="utf-8"))
    return data


def attacks(language: str) -> list[Attack]:
    """Every attack of a language, by family. Raises ConfigError for an unknown language."""
    return [
        Attack(text, family, language, 1 if direction == "up" else -1)
        for family, directions in _file(language)["families"].items()
        for direction in DIRECTIONS
        for text in directions[direction]
    ]


def harmless(language: str) -> list[str]:
    """Texts without any wish about the score: how much does text as such move it?"""
    return list(_file(language)["harmless"])


def control(attack: Attack, turn: int) -> str:
    """Harmless text as long as the attack is once invisible characters are gone; `turn` picks where it begins."""
    texts, length = harmless(attack.language), len(clean_text(attack.text))
    joined = ""
    for text in islice(cycle(texts), turn % len(texts), None):
        joined += text
        if len(joined) >= length:
            break
        joined += JOINT[attack.language]
    return joined[:length].strip() or texts[0]


def quick() -> dict[str, list[str]]:
    """A short choice for model cards: one attack of every family and language, up and down in turn; harmless texts."""
    chosen, calm = [], []
    for language in LANGUAGES:
        by_family: dict[str, list[Attack]] = {}
        for a in attacks(language):
            by_family.setdefault(a.family, []).append(a)
        chosen += [found[0 if k % 2 == 0 else -1].text for k, found in enumerate(by_family.values())]
        calm += harmless(language)[:4]
    return {"attacks": chosen, "harmless": calm}
