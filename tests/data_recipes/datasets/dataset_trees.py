"""Miniature dataset folders in their official layout, and a shorthand for converting them."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_recipes.datasets.card import load_card
from data_recipes.datasets.convert import ConversionJob, convert
from data_recipes.datasets.report import ConversionReport
from mllm_avqa.schema.records import Record, read_records

FIXTURES = Path(__file__).parents[4] / "shared" / "fixtures"


def fixture(name: str) -> Path:
    """Real label files, where this checkout has them beside it."""
    if not (FIXTURES / name).is_dir():
        pytest.skip(f"no {name} label files beside the checkout")
    return FIXTURES / name


def put(root: Path, name: str, text: str, encoding: str = "utf-8") -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def media(root: Path, *names: str) -> None:
    for name in names:
        put(root, name, "x")


def run(name: str, root: Path, out: Path, **options: object) -> tuple[dict[str, Record], ConversionReport]:
    """Convert, missing media kept; the records by their id without the dataset."""
    job = ConversionJob(load_card(name), root, **{"missing": "keep", **options})
    report = convert(job, out)
    records = read_records(out) if out.exists() else ()
    return {r.id.split("/", 1)[1]: r for r in records}, report


def warned(report: ConversionReport, words: str) -> int:
    """How often the report names a problem with these words."""
    return sum(f.count for what, f in report.problems.found.items() if words in what)
