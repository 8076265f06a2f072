"""Scores must not depend on what else is in a batch, on its order, or on the run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from eval.held_out import HeldOut, Judge, Scores, prepare_record
from eval.robustness.change import Row, moved
from eval.writing import told
from mllm_avqa.schema.errors import AvqaError

SIZE = 8  # windows of a batch; windows alone are what it is compared with
WAYS = ("batch_8", "reversed", "second_run")


class Batches:
    """First windows of a chunk of clips: alone, eight to a batch, those in reverse, and all read and scored again."""

    def __init__(self) -> None:
        self.changes: dict[str, dict[str, list[tuple[float, str]]]] = {way: {} for way in WAYS}
        self.failures: dict[str, str] = {}

    def add(self, judge: Judge, chunk: Sequence[HeldOut], base: Path, language: str) -> None:
        def score(clips: Sequence[HeldOut], size: int) -> list[Scores]:
            encoded = [judge.encode(c.windows[0], language) for c in clips]
            return [
                s for i in range(0, len(encoded), size) for s in judge.corridor.score(encoded[i : i + size], language)
            ]

        alone = score(chunk, 1)
        self._compare("batch_8", chunk, alone, score(chunk, SIZE))
        self._compare("reversed", chunk, alone, score(chunk[::-1], SIZE)[::-1])
        again: list[tuple[HeldOut, HeldOut, Scores]] = []
        for clip, first in zip(chunk, alone, strict=True):
            try:
                again.append((clip, prepare_record(clip.record, base, judge.rater), first))
            except AvqaError as e:  # it could be read a moment ago
                why = told(e, base, clip.record.media)
                self.failures[f"{clip.record.id}, second_run"] = f"{e.kind}: {why}"
        twice = score([h for _, h, _ in again], 1)
        self._compare("second_run", [c for c, _, _ in again], [s for *_, s in again], twice)
        judge.forget()

    def _compare(self, way: str, clips: Sequence[HeldOut], before: list[Scores], after: list[Scores]) -> None:
        for clip, a, b in zip(clips, before, after, strict=True):
            for aspect in a.keys() & b.keys():
                change = b[aspect].score - a[aspect].score
                self.changes[way].setdefault(aspect, []).append((change, clip.record.id))

    def rows(self) -> list[Row]:
        """Per way and aspect: n, mean, max, above_0.05 of |change|, and the clip that moved most."""
        out: list[Row] = []
        for way, by_aspect in self.changes.items():
            for aspect, changes in by_aspect.items() or {"": []}.items():
                worst = max(changes, key=lambda c: abs(c[0]), default=(0.0, ""))[1]
                numbers = moved([c for c, _ in changes])
                out.append({"probe": "batch", "change": way, "aspect": aspect, **numbers, "worst": worst})
        return out
