"""Files with the same picture and sound must have the same scores, whatever codec, container or black bars they have.

What this project does with bars: no view is cropped, the model sees them; signal facts of single pictures (blur, noise,
exposure ...) are measured inside them (`evidence.spatial.active_area`).
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from eval.held_out import HeldOut, Judge, prepare_record
from eval.robustness.change import Row, moved
from eval.robustness.rewrite import CHANGES, ON_PICTURE
from eval.writing import told
from mllm_avqa.schema.errors import AvqaError
from mllm_avqa.windows import Prepared


@dataclass
class _Found:
    changes: dict[str, list[tuple[float, str]]] = field(default_factory=dict)  # by aspect: signed change, clip
    psnr: list[float] = field(default_factory=list)  # dB, of the native mini-patches of the first window
    failed: dict[str, str] = field(default_factory=dict)  # clip -> why it could not be written or rated again
    lost: int = 0  # aspects that one of the two files has and the other has not
    same: int = 0  # clips whose picture the model sees byte for byte as before


class SamePicture:
    """Rates every file again after each of `rewrite.CHANGES`. A file that cannot be changed is named and counted."""

    def __init__(self) -> None:
        self.found = {name: _Found() for name in CHANGES}

    def add(self, judge: Judge, clip: HeldOut, base: Path, language: str) -> None:
        """Windows and context of the changed file are found anew, as for any file."""
        before = judge.clips([clip], language)[0]
        for name, change in CHANGES.items():
            if name in ON_PICTURE and "video" in clip.windows[0].missing:
                continue
            found = self.found[name]
            with tempfile.TemporaryDirectory(prefix="avqa-") as folder:
                try:
                    path = change(base / clip.record.media, Path(folder))
                    changed = prepare_record(
                        clip.record.model_copy(update={"media": path.name}), path.parent, judge.rater
                    )
                except AvqaError as e:
                    why = told(e, base, clip.record.media).replace(f"{folder}/", "")
                    found.failed[clip.record.id] = f"{e.kind}: {why}"
                    continue
            after = judge.clips([changed], language)[0]
            judge.forget()
            found.lost += len(before.keys() ^ after.keys())
            for a in before.keys() & after.keys():
                found.changes.setdefault(a, []).append((after[a].score - before[a].score, clip.record.id))
            noise = psnr(clip.windows[0], changed.windows[0])
            if noise is not None:
                found.same += noise == float("inf")
                found.psnr.append(noise)

    def rows(self) -> list[Row]:
        """Per change and aspect: n, mean, max, above_0.05 of |change|, the clip that moved most, and what was lost."""
        out: list[Row] = []
        for name, f in self.found.items():
            real = [v for v in f.psnr if v != float("inf")]
            shared = {
                "failed": len(f.failed),
                "lost": f.lost,
                "same_picture": f.same,
                "lowest_psnr": round(min(real), 2) if real else None,
            }
            for aspect, changes in f.changes.items() or {"": []}.items():
                worst = max(changes, key=lambda c: abs(c[0]), default=(0.0, ""))[1]
                numbers = moved([c for c, _ in changes])
                out.append({"probe": "signal", "change": name, "aspect": aspect, **numbers, "worst": worst, **shared})
        return out

    @property
    def failures(self) -> dict[str, str]:
        """Clip and change -> why."""
        return {f"{clip}, {name}": why for name, f in self.found.items() for clip, why in f.failed.items()}


def psnr(a: Prepared, b: Prepared) -> float | None:
    """Peak signal-to-noise ratio (dB) of the mini-patches of two windows; None where their shapes differ."""
    x, y = a.views.fragments, b.views.fragments
    if x is None or y is None or x.shape != y.shape:
        return None
    error = float(np.mean((x.astype(np.float64) - y) ** 2))
    return float("inf") if error == 0 else float(10 * np.log10(255.0**2 / error))
