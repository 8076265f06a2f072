"""Which published copies of a dataset's labels lie below a folder, and the clips that their rows name."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from itertools import islice
from pathlib import Path

from data_recipes.datasets.card import DatasetCard, LabelFile, Layout
from data_recipes.datasets.labels import FIELD, BadCell, derive, fill, number
from data_recipes.datasets.report import Problems
from data_recipes.datasets.tables import Cell, LabelRow, read_rows
from mllm_avqa.schema.errors import ConfigError

DEPTH = 3  # folders below the root in which label files are looked for
RAW = (".yuv", ".rgb", ".raw")  # no header, so no size and rate: nothing can open it
AGREE = 1e-6  # two copies of one number may differ by rounding


@dataclass(frozen=True)
class Copy:
    """A layout and those of its files that are here."""

    layout: Layout
    files: tuple[tuple[LabelFile, Path], ...]

    @property
    def absent(self) -> list[LabelFile]:
        here = {id(f) for f, _ in self.files}
        return [f for f in self.layout.files if id(f) not in here]


@dataclass(frozen=True)
class Tree:
    """Files below a folder, listed when first needed."""

    root: Path

    @cached_property
    def paths(self) -> list[Path]:
        """Files up to DEPTH folders below the root, sorted."""
        found: list[Path] = []
        for folder, inside, names in os.walk(self.root):
            found += [Path(folder, n) for n in names]
            depth = len(Path(folder).relative_to(self.root).parts)
            inside[:] = [d for d in inside if not d.startswith(".")] if depth < DEPTH else []
        return sorted(found)

    def match(self, patterns: Sequence[str]) -> Path | None:
        """The file of the earliest pattern (a name, or folders and a name). Raises ConfigError where two match."""
        for pattern in patterns:
            if (self.root / pattern).is_file():
                return self.root / pattern
            parts = pattern.count("/") + 1
            hits = [p for p in self.paths if fnmatchcase("/".join(p.relative_to(self.root).parts[-parts:]), pattern)]
            if len(hits) > 1:
                names = ", ".join(str(p.relative_to(self.root)) for p in hits[:3])
                raise ConfigError(f"{self.root}: {len(hits)} files match {pattern!r} ({names}); name a folder with one")
            if hits:
                return hits[0]
        return None


def locate(card: DatasetCard, root: Path, wanted: str | None) -> list[Copy]:
    """Copies below the root in the card's order. Raises ConfigError if none is (or not the wanted one)."""
    if not root.is_dir():
        raise ConfigError(f"{root} is no folder; {card.name} needs the folder that holds the set's label files")
    names = [layout.name for layout in card.layouts]
    if wanted is not None and wanted not in names:
        raise ConfigError(f"{card.name} has no layout {wanted!r} (--layout); there are: {', '.join(names) or 'none'}")
    tree = Tree(root)
    copies = []
    for layout in card.layouts:
        files = [(f, p) for f in layout.files if (p := tree.match(f.match))]
        if files and wanted in (None, layout.name):
            copies.append(Copy(layout, tuple(files)))
    if not copies:
        expected = "; ".join(
            f"{layout.name}: {', '.join(' or '.join(f.match) for f in layout.files)}"
            for layout in card.layouts
            if wanted in (None, layout.name)
        )
        here = ", ".join(str(p.relative_to(root)) for p in tree.paths[:10]) or "no files"
        raise ConfigError(f"{root}: no known label file of {card.name}. Expected {expected}. Found {here}")
    usable = _by_columns([c for c in copies if c.layout.refuse is None])
    if not usable:
        refused = copies[0]
        raise ConfigError(f"{refused.files[0][1]}: copy {refused.layout.name!r} is refused: {refused.layout.refuse}")
    return usable


def _by_columns(copies: list[Copy]) -> list[Copy]:
    """Of copies that claim one file, keep the first whose columns are in it (the first of all if none are)."""
    claims: dict[Path, list[Copy]] = {}
    for copy in copies:
        claims.setdefault(copy.files[0][1], []).append(copy)
    kept = [c[0] if len(c) == 1 else next((x for x in c if _has_columns(x)), c[0]) for c in claims.values()]
    return sorted(kept, key=copies.index)


def _has_columns(copy: Copy) -> bool:
    file, path = copy.files[0]
    wanted = needed(copy.layout, file)
    row = next(read_rows(path, copy.layout, wanted), None)
    return row is not None and wanted <= row.cells.keys()


def needed(layout: Layout, file: LabelFile) -> frozenset[str]:
    """Columns a file must have for this layout."""
    templates = [layout.key, *layout.media, *layout.group, *(d.template for d in layout.derive.values())]
    columns = {c for t in templates for c in FIELD.findall(t)} | set(layout.skip)
    columns |= {c for score in layout.scores.values() for c in score.columns}
    columns |= {layout.split.column} if layout.split and not file.split else set()
    return frozenset(columns - set(layout.derive) - {"key", "part"})


def read_copy_file(layout: Layout, file: LabelFile, path: Path, problems: Problems) -> Iterator[LabelRow]:
    """Rows of one label file with the columns of the file beside it and the derived ones."""
    wanted = needed(layout, file)
    rows = read_rows(path, layout.model_copy(update={"sheet": file.sheet or layout.sheet}), wanted)
    if file.beside is not None:
        rows = beside(rows, file, path, layout, problems)
    for row in rows:
        absent = wanted - row.cells.keys()
        if absent:
            have = ", ".join(map(repr, row.cells))
            raise ConfigError(f"{path}: {row.where}: no column {', '.join(map(repr, sorted(absent)))}; it has: {have}")
        if any(fill("{" + c + "}", row.cells) == value for c, value in layout.skip.items()):
            continue
        yield derive(LabelRow(row.where, {**row.cells, "part": file.part}) if file.part else row, layout)


def beside(
    rows: Iterator[LabelRow], file: LabelFile, path: Path, layout: Layout, problems: Problems
) -> Iterator[LabelRow]:
    """Join a row-aligned second file. Raises ConfigError for another number of rows; unequal columns are errors."""
    spec = file.beside
    assert spec is not None
    other = Tree(path.parent).match(spec.match)
    if other is None:
        if not spec.optional:
            raise ConfigError(f"{path}: the file {' or '.join(spec.match)} that belongs to it is not beside it")
        yield from rows
        return
    second = read_rows(other, spec)
    for row in rows:
        extra = next(second, None)
        if extra is None:
            raise ConfigError(f"{other}: ends before {row.where}; the two files must have the same rows")
        for theirs, ours in spec.agree.items():
            a, b = (_value(c, layout.decimal) for c in (extra.cells.get(theirs, ""), row.cells.get(ours, "")))
            if a is None or b is None or abs(a - b) > AGREE:
                problems.error(
                    f"{other.name} {theirs!r} is not {path.name} {ours!r}: the rows or columns are not aligned",
                    f"{row.where}: {a} and {b}",
                )
        yield LabelRow(row.where, {**extra.cells, **row.cells})
    rest = sum(1 for _ in islice(second, 1000))
    if rest:
        raise ConfigError(f"{other}: {rest} rows more than {path.name}; the two files must have the same rows")


def _value(cell: Cell, decimal: str) -> float | None:
    try:
        return number(cell, decimal)
    except BadCell:
        return None


@dataclass
class MediaFinder:
    """Looks for candidates below `root`; falls back to names that differ only in case (IXX.BMP, Talking_head)."""

    root: Path
    listings: dict[str, dict[str, str]] = field(default_factory=dict)
    other_case: int = 0

    def find(self, candidates: Sequence[str]) -> str | None:
        """The first candidate that is a file, as a path below the root (or absolute, if it was given so)."""
        usable = [c for c in candidates if not c.lower().endswith(RAW)]
        for candidate in usable:
            if os.path.isfile(os.path.join(self.root, candidate)):
                return candidate
        for candidate in usable:
            found = self._ignoring_case(candidate)
            if found is not None and os.path.isfile(os.path.join(self.root, found)):
                self.other_case += 1
                return found
        return None

    def _ignoring_case(self, candidate: str) -> str | None:
        found = ""
        for part in Path(candidate).parts:
            folder = os.path.join(self.root, found)
            name = part if os.path.exists(os.path.join(folder, part)) else self._listing(folder).get(part.lower())
            if name is None:
                return None
            found = os.path.join(found, name)
        return found

    def _listing(self, folder: str) -> dict[str, str]:
        if folder not in self.listings:
            names = os.listdir(folder) if os.path.isdir(folder) else []
            self.listings[folder] = {n.lower(): n for n in names}
        return self.listings[folder]
