"""How single values are shown to people. The words stand in prompts/words.*.yaml."""

from __future__ import annotations

import unicodedata


def visible(text: object) -> str:
    """Text of strangers as it may be shown: control, bidi-override and surrogate characters become a visible mark.

    Line ends and tabs stay. Without this a title could move the cursor of a terminal or reverse the line around it.
    """
    return "".join(c if c in "\n\t" or not _unsafe(c) else "\N{REPLACEMENT CHARACTER}" for c in str(text))


def _unsafe(c: str) -> bool:
    # Cf covers bidi overrides and invisible characters; the zero-width joiners are part of ordinary writing.
    return unicodedata.category(c) in ("Cc", "Cs", "Cf") and c not in "\u200c\u200d\u00ad"


def clock(seconds: float | None) -> str:
    """Seconds as m:ss.s (h:mm:ss from an hour on), "?" when unknown."""
    if seconds is None:
        return "?"
    if seconds >= 3600:
        whole = round(seconds)
        return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
    tenths = round(seconds * 10)
    return f"{tenths // 600}:{tenths // 10 % 60:02d}.{tenths % 10}"


def amount(value: float | None, unit: str) -> str:
    """A measured value with its unit, four significant digits; a dash when it could not be measured."""
    if value is None:
        return "–"
    number = f"{value:.4g}"
    if "e" in number:
        number = f"{value:,.0f}" if abs(value) >= 1 else f"{value:.2g}"
    return number if unit in ("", "ratio", "index") else f"{number} {unit}"


def signed(share: float) -> str:
    """A share in points with its sign; one that rounds to nothing is 0."""
    text = f"{share:+.2f}"
    return "0" if text in ("+0.00", "-0.00") else text.replace("-", "−")


def size(n: int) -> str:
    """Bytes for people: 1.2 MB."""
    value, units = float(n), ["B", "kB", "MB", "GB"]
    while value >= 1000 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{value:.0f} B" if units[0] == "B" else f"{value:.1f} {units[0]}"
