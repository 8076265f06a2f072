"""Label files of a dataset to records, with everything that deviates from the card counted."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from data_recipes.datasets.card import SPLIT_WORDS, DatasetCard, LabelFile, Layout, NativeScale, Split
from data_recipes.datasets.labels import fill, scored, text
from data_recipes.datasets.locate import Copy, MediaFinder, locate, read_copy_file
from data_recipes.datasets.report import ConversionReport, Problems
from data_recipes.datasets.tables import LabelRow
from mllm_avqa.schema.errors import ConfigError, OutputError
from mllm_avqa.schema.records import Label, Record, write_records

IfMissing = Literal["fail", "keep", "drop"]
Scores = tuple[float, ...]
TOLERANCE = 1e-4  # relative; two copies of a score may be rounded differently


@dataclass(frozen=True)
class ConversionJob:
    """What to convert. `root` holds the label files, `media_root` (default: `root`) what their paths start from."""

    card: DatasetCard
    root: Path
    layout: str | None = None
    media_root: Path | None = None
    missing: IfMissing = "fail"
    parts: tuple[str, ...] = ()  # file parts or splits to convert; none = all
    scale: NativeScale | None = None  # for aspects without a published scale


def convert(job: ConversionJob, out: Path | None) -> ConversionReport:
    """Read a dataset and write its records to `out` (None: read only, as `--check` does).

    Reads row by row; kept in memory are one key and its scores per clip (to see duplicates), never the rows.
    Raises ConfigError for label files that cannot be found or read, OutputError for an `out` that cannot be written.
    With errors in the rows nothing is written and `report.problems.errors` is not 0.
    """
    copies = locate(job.card, job.root, job.layout)
    base = (out.parent if out else job.root).resolve()
    conversion = Conversion(job, copies[0], base)
    if out is None:
        for _ in conversion.records():
            pass
        conversion.compare(copies[1:])
        return conversion.report
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as scratch:
            finished = Path(scratch) / out.name
            write_records(finished, conversion.records())
            conversion.compare(copies[1:])
            if not conversion.report.problems.errors:
                finished.replace(out)
    except OSError as e:
        raise OutputError(f"{out} (-o) cannot be written: {e.strerror or e}") from e
    return conversion.report


@dataclass
class Conversion:
    """One copy on its way to records; `records` has to be read to the end before the report is complete."""

    job: ConversionJob
    copy: Copy
    base: Path  # folder of the record file: media paths are relative to it
    report: ConversionReport = field(init=False)
    seen: dict[str, tuple[str, Scores]] = field(default_factory=dict)  # clip: part, scores

    def __post_init__(self) -> None:
        files = [str(path.relative_to(self.job.root)) for _, path in self.copy.files]
        self.report = ConversionReport(self.job.card.name, self.copy.layout.name, files)
        self.media_root = (self.job.media_root or self.job.root).resolve()
        self.finder = MediaFinder(self.media_root)
        self.media_prefix = os.path.relpath(self.media_root, self.base)

    def records(self) -> Iterator[Record]:
        problems = self.report.problems
        for file in self.copy.absent:
            if self._wanted(file):
                problems.warn(f"label file of {file.part or file.split or 'the set'} is not here", file.match[0])
        chosen = [(file, path) for file, path in self.copy.files if self._wanted(file)]
        if not chosen:
            known = sorted({f.part or f.split or "" for f, _ in self.copy.files} - {""})
            raise ConfigError(
                f"--part {', '.join(self.job.parts)}: the files here have: {', '.join(known) or 'no parts'}"
            )
        for file, path in chosen:
            n = 0
            for row, labels in labelled(self.job, self.copy.layout, file, path, problems):
                n += 1
                record = self._record(file, row, labels)
                if record is not None:
                    self.report.records += 1
                    yield record
            if file.rows is not None and n != file.rows:
                problems.warn(f"clips in the label file: {n}, this published copy has {file.rows}", path.name)
        self.report.other_case = self.finder.other_case
        if not self.seen:
            problems.error("no rated clip in the label files", ", ".join(self.report.files))

    def _wanted(self, file: LabelFile) -> bool:
        by_row = file.part is None and file.split is None and self.copy.layout.split is not None
        return not self.job.parts or by_row or file.part in self.job.parts or file.split in self.job.parts

    def _record(self, file: LabelFile, row: LabelRow, labels: dict[str, Label]) -> Record | None:
        card, layout, problems = self.job.card, self.copy.layout, self.report.problems
        key = fill(layout.key, row.cells)
        split = split_of(layout, file, row, problems)
        part = file.part or split or "all"
        if self.job.parts and part not in self.job.parts and split not in self.job.parts:
            return None
        if not self._is_new(key, part, row, labels):
            return None
        self.report.count(part, labels)
        media = self._media(layout, row)
        if media is None:
            return None
        name = f"{card.name}_{file.part}" if file.part else card.name
        cells = {**row.cells, "key": key}
        group = next((g for template in layout.group if (g := fill(template, cells))), key)
        self.report.groups.add(group)
        return Record(
            id=f"{name}/{key}", media=media, dataset=name, group=f"{card.name}/{group}", split=split,
            labels=labels, licence=card.licence,
        )  # fmt: skip

    def _is_new(self, key: str, part: str, row: LabelRow, labels: dict[str, Label]) -> bool:
        problems, place = self.report.problems, f"{row.where}: {key}"
        scores = tuple(label.mean for label in labels.values())
        if not key:
            problems.error("row without a clip name", row.where)
        elif not labels:
            problems.warn("clip left out, it has no score", place)
        elif key not in self.seen:
            self.seen[key] = part, scores
            return True
        elif self.seen[key][1] == scores:
            problems.warn("clip listed twice with the same scores, taken once", place)
        else:
            problems.error("clip listed twice with different scores", f"{place}: {self.seen[key][1]} and {scores}")
        return False

    def _media(self, layout: Layout, row: LabelRow) -> str | None:
        """Path relative to the record file, or None for a missing clip that is not kept."""
        candidates = [fill(template, row.cells) for template in layout.media]
        found = self.finder.find(candidates)
        if found is None:
            self.report.missing += 1
            add = self.report.problems.error if self.job.missing == "fail" else self.report.problems.warn
            add(f"media file missing below {self.media_root} (--media-root, --missing keep|drop)", candidates[0])
            if self.job.missing != "keep":
                return None
            found = candidates[0]
        path = os.path.relpath(found, self.base) if os.path.isabs(found) else os.path.join(self.media_prefix, found)
        return Path(os.path.normpath(path)).as_posix()

    def compare(self, others: list[Copy]) -> None:
        """Per part, what the other copies that lie here say differently; scores only where both are on one scale."""
        for other in others if not self.job.parts else ():
            theirs: dict[str, tuple[str, Scores]] = {}
            quiet = Problems()
            for file, path in other.files:
                for row, labels in labelled(self.job, other.layout, file, path, quiet):
                    if labels:
                        part = file.part or split_of(other.layout, file, row, quiet) or "all"
                        theirs[fill(other.layout.key, row.cells)] = part, tuple(x.mean for x in labels.values())
            comparable = scales(self.job.card, self.copy.layout) == scales(self.job.card, other.layout)
            shared_parts = {part for part, _ in self.seen.values()} & {part for part, _ in theirs.values()}
            for part in sorted(shared_parts) or ["all"]:
                ours_in, theirs_in = (
                    {k: scores for k, (p, scores) in both.items() if p == part or not shared_parts}
                    for both in (self.seen, theirs)
                )
                self._compare_part(other.layout.name, part, ours_in, theirs_in, comparable)

    def _compare_part(
        self, copy: str, part: str, ours: dict[str, Scores], theirs: dict[str, Scores], comparable: bool
    ) -> None:
        shared = ours.keys() & theirs.keys()
        counts = f"{len(ours) - len(shared)} only here, {len(theirs) - len(shared)} only there"
        line = f"copy {copy!r} of {part}: {len(shared)} clips shared, {counts}"
        self.report.copies.append(line + ("" if comparable else "; another scale"))
        differ = sorted(k for k in shared if comparable and unequal(ours[k], theirs[k]))
        if differ:
            example = f"{differ[0]}: {ours[differ[0]]} and {theirs[differ[0]]}"
            self.report.problems.warn(f"clips that copy {copy!r} scores differently", example, len(differ))


def labelled(
    job: ConversionJob, layout: Layout, file: LabelFile, path: Path, problems: Problems
) -> Iterator[tuple[LabelRow, dict[str, Label]]]:
    """Rows of one label file with their scores."""
    card = job.card
    if job.scale is not None:
        card = card.model_copy(update={"aspects": {a: s or job.scale for a, s in card.aspects.items()}})
    return scored(read_copy_file(layout, file, path, problems), layout, card, problems)


def split_of(layout: Layout, file: LabelFile, row: LabelRow, problems: Problems) -> Split | None:
    """The official split of a row; a word that is no split is an error."""
    if file.split is not None or layout.split is None:
        return file.split
    word = text(row.cells[layout.split.column])
    split = layout.split.values.get(word) or SPLIT_WORDS.get(word.lower())
    if split is None and word:
        known = ", ".join([*layout.split.values, *SPLIT_WORDS])
        what = f"column {layout.split.column!r} names an unknown split; known: {known}"
        problems.error(what, f"{row.where}: {word!r}")
    return split


def scales(card: DatasetCard, layout: Layout) -> list[tuple[str, NativeScale | None]]:
    return [(aspect, card.scale(aspect, score)) for aspect, score in layout.scores.items()]


def unequal(a: Scores, b: Scores) -> bool:
    return len(a) != len(b) or any(abs(x - y) > TOLERANCE * max(1.0, abs(x)) for x, y in zip(a, b, strict=True))
