"""MODEL_CARD.md tells what the card keeps of a calibration, wherever it is written from."""

from __future__ import annotations

from eval.calibration import AspectCalibration, Calibrated
from eval.model_card import FILE, calibration_section, put, render
from eval.stats import Number
from eval.studies.calibrate import write
from mllm_avqa.schema.card import Card

MODEL_CARD = "# x\n\n## Limits\n\nMany.\n\n## Sources and licences\n\nNone.\n\n## Training\n\nLong.\n"


def study(weights="w"):
    aspect = AspectCalibration(
        aspect="video", language="en", calibrated=137, quantile=1.25, test=190,
        coverage=Number(value=0.91, low=0.85, high=0.95), width=2.5, ece=0.12, ece_levels=0.03,
    )  # fmt: skip
    origin = {
        "file": "r.jsonl",
        "sha256": "ab",
        "split": "val",
        "test": "test",
        "context": "fast",
        "pseudo_labels": True,
    }
    return Calibrated(checkpoint="x", weights=weights, coverage=0.9, records=origin, aspects=[aspect], failed={})


def test_calibrate_writes_both_cards(tmp_path):
    Card(name="x", family="qwen2_5_omni").save(tmp_path)
    assert not (tmp_path / FILE).exists()
    write(str(tmp_path), study())
    assert not (tmp_path / FILE).exists()  # a model card is measured, not made up
    kept = Card.load(tmp_path).calibration.measured["test"]["en"]["video"]
    assert (kept["coverage_95"], kept["ece"], kept["ece_levels"]) == ([0.85, 0.95], 0.12, 0.03)
    (tmp_path / FILE).write_text(MODEL_CARD, encoding="utf-8")
    write(str(tmp_path), study())
    text = (tmp_path / FILE).read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## Limits", "## Calibration", "## Sources and licences", "## Training",
    ]  # fmt: skip
    assert "| video, en |    1.250 | 0.910 [0.850, 0.950] | 2.500 | 0.120 |" in text
    assert "other weights" not in text and "--context fast" in text and "not voted by people" in text
    write(str(tmp_path), study())
    assert (tmp_path / FILE).read_text(encoding="utf-8") == text


def test_section_goes_to_the_end_without_sources_and_says_what_is_stale(tmp_path):
    (tmp_path / FILE).write_text("# x\n\n## Limits\n\nMany.\n", encoding="utf-8")
    put(tmp_path / FILE, calibration_section(study("old").calibration(), "new"))
    text = (tmp_path / FILE).read_text(encoding="utf-8")
    assert text.startswith("# x\n\n## Limits\n\nMany.\n\n## Calibration\n")
    assert "**It was made with other weights (old): ratings leave it out.**" in text


def test_model_card_has_the_section_when_the_card_has_a_calibration():
    results = {
        "date": "today", "hardware": "cpu", "gpu": "", "threads": 1, "commit": "", "versions": {},
        "fingerprint": {"weights": "w"},
        "records": {
            "clips": 1, "split": "test", "file": "r.jsonl", "sha256": "ab", "contents": 1, "shared_with_training": 0,
            "pseudo_labels": False, "failed": {}, "licences": {},
        },
        **{k: {} for k in ("aspects", "independence", "injection", "stage1", "explanations", "crosstalk")},
    }  # fmt: skip
    card = Card(name="x", family="qwen2_5_omni")
    assert "## Calibration" not in render(card, results, 1)
    card.calibration = study().calibration()
    assert calibration_section(card.calibration, "w") in render(card, results, 1)
