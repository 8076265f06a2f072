"""The section of a MODEL_CARD.md about the intervals that ratings tell, from what the checkpoint's card keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from eval.markdown import signed, table
from eval.stats import Number
from mllm_avqa.schema.calibration import Calibration
from mllm_avqa.schema.files import whole_file

TITLE = "## Calibration"


def section(found: Calibration, weights: str) -> str:
    """Markdown, title and all. weights: hash of the checkpoint's own (`Rater.weights`)."""
    measured: Any = found.measured
    origin, tested = measured.get("records", {}), measured.get("test", {})
    rows = []
    for language, by_aspect in found.quantiles.items():
        for aspect, quantile in by_aspect.items():
            t = tested.get(language, {}).get(aspect, {})
            low, high = t.get("coverage_95") or (None, None)
            coverage = Number(value=t.get("coverage"), low=low, high=high)
            numbers = (signed(Number(value=t.get(k))) for k in ("width", "ece", "ece_levels"))
            clips = f"{t.get('calibrated', '?')} / {t.get('n', '?')}"
            rows.append([f"{aspect}, {language}", f"{quantile:.3f}", signed(coverage, interval=True), *numbers, clips])
    text = [
        f"Ratings tell an interval for {100 * found.coverage:g} % of labels of clips like those it was made on: score "
        f"± quantile x predicted std (at least {found.least_std:g}), cut at 1 and 5 (split-conformal)."
    ]
    if {"file", "sha256", "split", "test"} <= origin.keys():
        text.append(
            f"Quantiles are from split `{origin['split']}` of `{origin['file']}` (sha256 {origin['sha256']}); "
            f"coverage, mean width and calibration error from its split `{origin['test']}`."
        )
    if "context" in origin:
        text.append(f"Text was looked for as `--context {origin['context']}` does.")
    if origin.get("pseudo_labels"):
        text.append("The labels are computed, not voted by people.")
    text.append(
        "ECE: expected calibration error of the likeliest level, and mean over all five, against shares of votes."
    )
    parts = [TITLE, " ".join(text)]
    if found.weights != weights:
        parts.append(f"**It was made with other weights ({found.weights}): ratings leave it out.**")
    head = ["aspect", "quantile", "coverage", "width", "ECE", "ECE of all levels", "clips: calibrated / tested"]
    return "\n\n".join([*parts, table(head, rows)])


def put(path: Path, text: str) -> None:
    """Replace the section in a MODEL_CARD.md, or put it before "Sources and licences"; a missing file stays missing."""
    if not path.is_file():
        return
    kept = [p for p in path.read_text(encoding="utf-8").split("\n## ") if f"## {p.splitlines()[0]}" != TITLE]
    at = next((n for n, p in enumerate(kept) if p.startswith("Sources and licences\n")), len(kept))
    kept.insert(at, text.removeprefix("## ") + "\n")
    with whole_file(path) as part:
        part.write_text("\n## ".join(kept), encoding="utf-8")
