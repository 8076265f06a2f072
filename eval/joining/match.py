"""Which row belongs to which clip."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from eval.joining.entries import Entry
from mllm_avqa.schema.errors import ConfigError

NAMED = 5  # clips named in a note; the rest are counted


@dataclass
class Joined:
    """Labels with the prediction of the same clip, or None."""

    pairs: list[tuple[Entry, Entry | None]]
    unused: list[str]  # predictions that no label belongs to
    notes: list[str] = field(default_factory=list)

    @property
    def unmatched(self) -> list[str]:
        return [label.name for label, p in self.pairs if p is None]


def named(names: list[str]) -> str:
    """How many clips, and the first names."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{len(names)} clip{'s' * (len(names) != 1)} ({', '.join(names[:NAMED])}{more})"


def single(labels: list[Entry], where: str) -> tuple[list[Entry], list[str]]:
    """Labels with every clip once, and notes. Raises ConfigError where two rows of a clip disagree."""
    kept: dict[tuple[str, ...], Entry] = {}
    again: list[str] = []
    torn: list[str] = []
    for k, label in enumerate(labels):
        key = (label.id,) if label.id else tuple(label.paths) or (f"row {k}",)
        first = kept.setdefault(key, label)
        if first is not label:
            (again if first.values == label.values else torn).append(label.name)
    if torn:
        raise ConfigError(f"{where}: different labels for {named(list(dict.fromkeys(torn)))}: keep one row per clip")
    notes = [f"{named(list(dict.fromkeys(again)))} of {where} repeated with the same label: counted once"] * bool(again)
    return list(kept.values()), notes


def join(predictions: list[Entry], labels: list[Entry]) -> Joined:
    """Match by id, then by path (or its ending), then by base name with and without its ending.

    A base name of several clips matches none. Of several predictions of a clip the last that did not fail counts.
    """
    index = _Index(predictions, labels)
    used: set[int] = set()
    pairs: list[tuple[Entry, Entry | None]] = []
    doubled: list[str] = []
    for label in labels:
        found = index.find(label)
        used.update(found)
        # A later row replaces an earlier one, as when a batch was run again; a failure never replaces a score.
        good = [i for i in found if predictions[i].error is None]
        if len(found) > 1:
            doubled.append(label.name)
        pairs.append((label, predictions[(good or found)[-1]] if found else None))
    notes = []
    if doubled:
        notes.append(f"{named(doubled)} with several predictions: the last one that did not fail counts")
    if index.ambiguous:
        notes.append(
            f"{named(index.ambiguous)} not matched: the base name is shared with others, and nothing fits by id or path"
        )
    if index.by_stem:
        notes.append(f"{named(index.by_stem)} matched by their names without file endings")
    unused = [e.name for i, e in enumerate(predictions) if i not in used]
    return Joined(pairs, unused, notes)


class _Index:
    """Predictions by every name they have."""

    def __init__(self, predictions: list[Entry], labels: list[Entry]) -> None:
        self.predictions = predictions
        self.ids = _index(predictions, lambda e: [e.id] if e.id else [])
        self.paths = _index(predictions, lambda e: e.paths)
        self.bases = _index(predictions, lambda e: e.bases)
        self.stems = _index(predictions, _stems)
        self.shared = {b for b, found in _index(labels, lambda e: e.bases).items() if len(found) > 1}
        self.shared_stems = {s for s, found in _index(labels, _stems).items() if len(found) > 1}
        self.ambiguous: list[str] = []
        self.by_stem: list[str] = []

    def find(self, label: Entry) -> list[int]:
        return (
            self.ids.get(label.id or "", [])
            or next((found for p in label.paths for found in [self._by_path(p)] if found), [])
            or self._by_name(label, label.bases, self.bases, self.shared)
            or self._by_ending(label)
        )

    def _same(self, found: Iterable[int]) -> bool:
        return len({tuple(self.predictions[i].paths[-1:]) for i in found}) == 1

    def _by_path(self, path: str) -> list[int]:
        exact = self.paths.get(path, [])
        if exact:
            return exact
        tail = "/" + path.replace("\\", "/").lstrip("./")
        same = self.bases.get(tail.rsplit("/", 1)[-1], [])
        ends = [i for i in same if any(("/" + q.replace("\\", "/")).endswith(tail) for q in self.predictions[i].paths)]
        return ends if self._same(ends) else []

    def _by_name(self, label: Entry, names: Iterable[str], index: dict[str, list[int]], shared: set[str]) -> list[int]:
        found: list[int] = []
        for b in names:
            candidates = index.get(b, [])
            if b in shared or (candidates and not self._same(candidates)):
                if candidates and label.name not in self.ambiguous:
                    self.ambiguous.append(label.name)
            else:
                found = candidates or found
        return found

    def _by_ending(self, label: Entry) -> list[int]:
        if label.name in self.ambiguous:
            return []
        found = self._by_name(label, _stems(label), self.stems, self.shared_stems)
        if found:
            self.by_stem.append(label.name)
        return found


def _stems(entry: Entry) -> list[str]:
    """Names without folder and file ending, and the id."""
    names = []
    for base in sorted(entry.bases):
        stem, dot, ending = base.rpartition(".")
        plain = not dot or not 2 <= len(ending) <= 4 or not any(c.isalpha() for c in ending)
        names.append(base if plain else stem)
    return list(dict.fromkeys([*names, *([entry.id] if entry.id else [])]))


def _index(entries: list[Entry], keys: Callable[[Entry], Iterable[str]]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for i, e in enumerate(entries):
        for key in dict.fromkeys(keys(e)):
            found.setdefault(key, []).append(i)
    return found
