"""`Votes`: who gave which clip which score, as three parallel columns."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.levels import Scale

log = logging.getLogger(__name__)


class VotesError(ConfigError):
    """A file of votes that is not what it claims to be, or too little to compute a score from."""

    kind = "votes"


@dataclass(frozen=True)
class Votes:
    """N votes in long form: a cube of clips x subjects would be almost empty for a crowd, and repetitions need no axis.

    clips, subjects: names in the order of the file. clip, subject: int64 [N], indices into them. score: float64 [N], on
    the study's own `scale`. Every clip and every subject has at least one vote.
    """

    clips: list[str]
    subjects: list[str]
    clip: np.ndarray
    subject: np.ndarray
    score: np.ndarray
    scale: Scale

    def per_clip(self, values: np.ndarray) -> np.ndarray:
        """Sum of a value per vote [N] over the votes of each clip [clips]."""
        return np.bincount(self.clip, values, len(self.clips))

    def per_subject(self, values: np.ndarray) -> np.ndarray:
        """Sum of a value per vote [N] over the votes of each subject [subjects]."""
        return np.bincount(self.subject, values, len(self.subjects))

    @property
    def n_clip(self) -> np.ndarray:
        """Votes per clip, int64 [clips]."""
        return np.bincount(self.clip, minlength=len(self.clips))

    @property
    def n_subject(self) -> np.ndarray:
        """Votes per subject, int64 [subjects]."""
        return np.bincount(self.subject, minlength=len(self.subjects))

    def levels(self) -> np.ndarray | None:
        """Number of votes 1, 2, 3, 4, 5 per clip, int64 [clips, 5]; None unless the scale is 1-5 in whole steps."""
        if (self.scale.low, self.scale.high) != (1.0, 5.0) or np.any(self.score != np.round(self.score)):
            return None
        cell = self.clip * 5 + self.score.astype(np.int64) - 1
        return np.bincount(cell, minlength=5 * len(self.clips)).reshape(-1, 5)

    def without(self, rejected: np.ndarray) -> Votes:
        """The votes of the others. rejected: bool [subjects]. Raises VotesError when a clip loses every vote."""
        kept = ~rejected[self.subject]
        empty = np.bincount(self.clip[kept], minlength=len(self.clips)) == 0
        if empty.any():
            names = ", ".join(repr(self.clips[i]) for i in np.flatnonzero(empty)[:3])
            raise VotesError(
                f"without the {rejected.sum()} rejected subjects {empty.sum()} clips have no vote left ({names}): "
                "use --model mos or p910, which keep everybody"
            )
        renumbered = np.cumsum(~rejected) - 1
        return Votes(
            self.clips,
            [s for s, gone in zip(self.subjects, rejected, strict=True) if not gone],
            self.clip[kept],
            renumbered[self.subject[kept]],
            self.score[kept],
            self.scale,
        )


def assemble(
    clips: Sequence[str],
    subjects: Sequence[str],
    clip: Sequence[int],
    subject: Sequence[int],
    score: Sequence[float],
    scale: Scale,
) -> Votes:
    """`Votes` of the cells read; NaN is a missing vote. Clips and subjects without any vote are dropped and counted."""
    scores = np.asarray(score, dtype=np.float64)
    given = ~np.isnan(scores)
    if not given.any():
        raise VotesError("there is no vote in it: every cell is empty")
    names, columns = [], []
    for what, all_names, index in (("clips", clips, clip), ("subjects", subjects, subject)):
        used, renumbered = np.unique(np.asarray(index, dtype=np.int64)[given], return_inverse=True)
        if len(used) < len(all_names):
            log.warning("%d of %d %s have no vote and were left out", len(all_names) - len(used), len(all_names), what)
        names.append([all_names[i] for i in used])
        columns.append(renumbered)
    return Votes(names[0], names[1], columns[0], columns[1], scores[given], scale)
