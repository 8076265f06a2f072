"""Written answers of a model, read strictly: what does not clearly name one option is no answer. Nothing is guessed."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from mllm_avqa.model.prompting import load_prompts

EDGES = " \t\n\"'`*.。,，;；:：!！?？"
LETTER = re.compile(r"\(?([a-z])(?:\)|[.:、](?![a-z0-9])|$)[.:、]?\s*(.*)", re.DOTALL)


@dataclass(frozen=True)
class Reading:
    """The place of the option that was named, or why there is none."""

    place: int | None
    why: str = ""


def read_answer(text: str, options: Sequence[str], language: str = "en", lettered: bool = True) -> Reading:
    """Which of the options (bare texts, by place) a written answer names.

    Accepted, after an optional "the answer is": an option's text alone; a first clause that is an option ("Yes, it is
    blurred."); and where options were shown with letters, a letter alone or with words that name no other option.
    """
    said = _plain(text)
    if not said:
        return Reading(None, "empty")
    said = _without_lead(said, language)
    names = [_plain(o) for o in options]
    if said in names:
        return Reading(names.index(said))
    letter = LETTER.fullmatch(said) if lettered else None
    if letter is not None:
        place, rest = ord(letter[1]) - ord("a"), letter[2].strip(EDGES)
        if place >= len(names):
            return Reading(None, "letter of no option")
        if rest and rest != names[place]:
            others = _mentioned(rest, names) - {place}
            if others or _letters(rest, len(names)) - {place}:
                return Reading(None, "names more than one option")
        return Reading(place)
    clause = re.split(r"[.,;:!?。，；：！？\n]", said, maxsplit=1)[0].strip(EDGES)
    if clause in names:
        place = names.index(clause)
        rest = said[len(clause) :]
        if _mentioned(rest, names) - {place} or _letters(rest, len(names)) - {place}:
            return Reading(None, "names more than one option")
        return Reading(place)
    return Reading(None, "names more than one option" if len(_mentioned(said, names)) > 1 else "names no option")


def _plain(text: str) -> str:
    """Compatible characters made equal, lower case, single blanks, no punctuation at the ends (brackets stay)."""
    same = unicodedata.normalize("NFKC", text).strip(EDGES).casefold()
    return re.sub(r"\s*\n\s*", "\n", re.sub(r"[^\S\n]+", " ", same))


def _without_lead(said: str, language: str) -> str:
    for lead in sorted(load_prompts("bench", language)["lead"], key=len, reverse=True):
        if said.startswith(lead) and not said[len(lead) : len(lead) + 1].isalnum():
            return said[len(lead) :].lstrip(EDGES)
        if said.startswith(lead) and not lead.isascii():  # no blanks between words
            return said[len(lead) :].lstrip(EDGES)
    return said


def _mentioned(said: str, names: Sequence[str]) -> set[int]:
    """Options that occur in a text as whole words; a longer one hides a shorter one inside it."""
    found: set[int] = set()
    for k in sorted(range(len(names)), key=lambda i: -len(names[i])):
        pattern = re.escape(names[k]) if not names[k].isascii() else rf"(?<!\w){re.escape(names[k])}(?!\w)"
        said, times = re.subn(pattern, " \0 ", said)
        if times:
            found.add(k)
    return found


def _letters(said: str, count: int) -> set[int]:
    """Options named by a letter with a mark behind it, as in "B." or "(b)"."""
    marked = re.findall(r"(?<!\w)\(?([a-z])(?:\)|[.:、](?=\s|$))", said)
    marked += re.findall(r"(?:^|\b(?:and|or)\s+)([a-z])$", said)
    return {ord(x) - ord("a") for x in marked if ord(x) - ord("a") < count}
