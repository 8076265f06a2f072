"""What is wrong with label files, counted by kind with the first places named."""

from __future__ import annotations

from dataclasses import dataclass, field

SHOWN = 3  # places named per kind of problem


@dataclass
class Found:
    is_error: bool
    count: int = 0
    places: list[str] = field(default_factory=list)


@dataclass
class Problems:
    """Errors refuse the conversion once everything is read; warnings are reported with their number."""

    found: dict[str, Found] = field(default_factory=dict)

    def error(self, what: str, place: str) -> None:
        self._add(what, place, True)

    def warn(self, what: str, place: str, count: int = 1) -> None:
        self._add(what, place, False, count)

    def _add(self, what: str, place: str, is_error: bool, count: int = 1) -> None:
        entry = self.found.setdefault(what, Found(is_error))
        entry.count += count
        if len(entry.places) < SHOWN:
            entry.places.append(place)

    @property
    def errors(self) -> int:
        return sum(f.count for f in self.found.values() if f.is_error)

    def lines(self) -> list[str]:
        """One line per kind, errors first."""
        ordered = sorted(self.found.items(), key=lambda item: not item[1].is_error)
        return [
            f"{'error' if f.is_error else 'warning'}: {what}: {f.count} ({'; '.join(f.places)}"
            f"{'; ...' if f.count > len(f.places) else ''})"
            for what, f in ordered
        ]
