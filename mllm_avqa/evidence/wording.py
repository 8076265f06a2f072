"""How far a caption's words are from what was said."""

from __future__ import annotations

import re
import unicodedata

# "[door slams]", "(music)", and a speaker's name in front of a line are description, not speech.
_ASIDE = re.compile(r"\[[^\[\]]*\]|\([^()]*\)|（[^（）]*）|^\s*[A-Z][A-Z .]{1,20}:|[♪♫]")


def is_wide(char: str) -> bool:
    """A Chinese, Japanese or Korean character: twice a letter's width and a word's worth of reading."""
    return unicodedata.east_asian_width(char) in "WF"


def words(text: str) -> list[str]:
    """Comparable words: lower case, without punctuation and asides; wide characters count one by one."""
    out: list[str] = []
    for chunk in re.findall(r"\w+(?:['’]\w+)*", _ASIDE.sub(" ", text).casefold()):
        run = ""
        for char in chunk.replace("’", "'"):
            if is_wide(char):
                out += [run, char] if run else [char]
                run = ""
            else:
                run += char
        out += [run] if run else []
    return out


def word_errors(said: list[str], shown: list[str], inside: bool = False) -> int:
    """Least number of substitutions, deletions and insertions that turn `said` into `shown` (Levenshtein 1966).

    inside: `shown` may lie anywhere in `said`; words before and after it cost nothing (captions of one window
    against the transcript of a whole film).
    """
    row = [0 if inside else i for i in range(len(said) + 1)]  # row[i]: errors of shown[:j] against said[:i]
    for j, word in enumerate(shown, 1):
        diagonal, row[0] = row[0], j
        for i, other in enumerate(said, 1):
            diagonal, row[i] = row[i], min(diagonal + (word != other), row[i] + 1, row[i - 1] + 1)
    return min(row) if inside else row[-1]
