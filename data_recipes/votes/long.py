"""Long layout: a line per vote with columns for clip, subject, score and perhaps repetition."""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from data_recipes.votes.cells import Sheet, VoteCells
from data_recipes.votes.table import Votes, VotesError, assemble
from mllm_avqa.schema.levels import Scale

Duplicates = Literal["refuse", "keep"]
DUPLICATES: tuple[Duplicates, ...] = get_args(Duplicates)

# Names of columns seen in published files, lower case without separators; the first that is there is taken.
_KNOWN = {
    "clip": (
        *("clip", "path", "filepath", "filename", "file", "videoname", "video", "sampleid", "sample", "stimulus"),
        *("pvs", "item", "name", "image", "imagename", "wavpath", "assetid"),
    ),
    "subject": (
        *("subject", "subjectid", "subjectname", "rater", "raterid", "listener", "listenerid", "listenername"),
        *("observer", "observerid", "participant", "participantid", "viewer", "worker", "workerid", "user", "userid"),
    ),
    "score": ("score", "vote", "rating", "opinion", "opinionscore", "os"),
    "repetition": ("repetition", "repeat", "rep", "trial"),
}


@dataclass(frozen=True)
class Columns:
    """Names of columns a user gave (--clip, --subject, --score, --repetition); None finds one by its usual names."""

    clip: str | None = None
    subject: str | None = None
    score: str | None = None
    repetition: str | None = None


def role_of(name: str) -> str | None:
    """Which column a usual name stands for: "clip", "subject", "score", "repetition" or None."""
    plain = re.sub(r"[\s_-]", "", name.lower())
    return next((role for role, names in _KNOWN.items() if plain in names), None)


def find_columns(header: Sequence[str], given: Columns, where: str) -> dict[str, int]:
    """Role -> index in the header, for the roles that are there. Raises VotesError for a given name that is not."""
    found = {}
    plain = [re.sub(r"[\s_-]", "", name.lower()) for name in header]
    for role, names in _KNOWN.items():
        wish = getattr(given, role)
        if wish is not None:
            if wish not in header:
                raise VotesError(f"{where}: no column {wish!r} (--{role}); there are: {', '.join(header)}")
            found[role] = list(header).index(wish)
        else:
            index = next((plain.index(n) for n in names if n in plain), None)
            if index is not None and header[index] not in (given.clip, given.subject, given.score, given.repetition):
                found[role] = index
    return found


def read_long(sheet: Sheet, scale: Scale, given: Columns, duplicates: Duplicates) -> Votes:
    """Votes of a long file, in one pass. Raises VotesError naming file, line, column and flag.

    A second vote of a subject for a clip needs a repetition column that tells them apart, or duplicates="keep".
    """
    lines = iter(sheet)
    line, header = next(((n, cells) for n, cells in lines if any(cells)), (1, []))
    at = find_columns(header, given, f"{sheet.path}:{line}")
    for role in ("clip", "subject", "score"):
        if role not in at:
            raise VotesError(
                f"{sheet.path}:{line}: no column for the {role}: name it with --{role}; there are: {', '.join(header)}"
            )
    number_of = VoteCells(sheet, scale)
    ids: dict[str, dict[str, int]] = {"clip": {}, "subject": {}, "repetition": {}}
    columns = {role: array("q") for role in ids}
    line_of, scores = array("q"), array("d")
    for line, cells in lines:
        if not any(cells):
            continue
        if len(cells) != len(header):
            comma = "; quote a decimal comma, or separate columns by ';'" if sheet.separator == "," else ""
            raise VotesError(f"{sheet.path}:{line}: {len(cells)} cells where the header has {len(header)}{comma}")
        for role, names in ids.items():
            name = cells[at[role]] if role in at else ""
            if not name and role in at:
                raise VotesError(f"{sheet.place(line, at[role], header[at[role]])}: empty {role}")
            columns[role].append(names.setdefault(name, len(names)))
        scores.append(number_of(cells[at["score"]], line, at["score"], header[at["score"]]))
        line_of.append(line)
    if not scores:
        raise VotesError(f"{sheet.path}: a header and no votes")
    if duplicates == "refuse":
        _refuse_duplicates(sheet, columns, line_of, ids, "repetition" in at)
    return assemble([*ids["clip"]], [*ids["subject"]], columns["clip"], columns["subject"], scores, scale)


def _refuse_duplicates(
    sheet: Sheet, columns: dict[str, array[int]], line_of: array[int], ids: dict[str, dict[str, int]], told_apart: bool
) -> None:
    clip, subject, repetition = (np.asarray(columns[r], dtype=np.int64) for r in ("clip", "subject", "repetition"))
    order = np.lexsort((np.asarray(line_of), repetition, subject, clip))
    clip, subject, repetition = clip[order], subject[order], repetition[order]
    same = (np.diff(clip) == 0) & (np.diff(subject) == 0) & (np.diff(repetition) == 0)
    if same.any():
        first = int(np.flatnonzero(same)[0])
        one, two = line_of[order[first]], line_of[order[first + 1]]
        why = "in one repetition" if told_apart else "(--repetition names a column that tells them apart)"
        raise VotesError(
            f"{sheet.path}:{two}: subject {[*ids['subject']][subject[first]]!r} voted for clip "
            f"{[*ids['clip']][clip[first]]!r} on line {one} already {why}; {same.sum()} such votes in all; "
            "--duplicates keep counts every one"
        )
