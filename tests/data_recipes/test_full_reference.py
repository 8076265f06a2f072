"""Full-reference measures: the reference implementation, where they are believed, what labels make of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from data_recipes.distortions import Material, distort, kinds
from data_recipes.synthesis import measures
from data_recipes.synthesis.agreement import of_set
from data_recipes.synthesis.doses import dose, measure_of, seen
from data_recipes.synthesis.measures import check_installed, measured, ms_ssim
from data_recipes.synthesis.mux import write_clip
from data_recipes.synthesis.synth import synthesise
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.records import read_records

RATE = 48000


def pattern(height: int = 192, width: int = 256) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return (128 + 60 * np.sin(x / 9) * np.cos(y / 7) + 40 * ((x // 32 + y // 32) % 2)).clip(0, 255)


def grey(picture: np.ndarray) -> np.ndarray:
    """One frame [1, h, w, 3]."""
    return np.repeat(np.rint(picture).astype(np.uint8)[None, ..., None], 3, axis=3)


def clip(frames: int = 10, height: int = 96) -> Material:
    still = [grey(np.roll(pattern(height, 128), 2 * k, axis=1)) for k in range(frames)]
    return Material(frames=np.concatenate(still), fps=10.0)


# Reference run: pytorch_msssim 1.0.0, ms_ssim(x, y, data_range=255) of the same luma.
@pytest.mark.parametrize(("sigma", "expected"), [(5, 0.991949), (15, 0.945515), (40, 0.792975)])
def test_ms_ssim_equals_the_reference_implementation(sigma: float, expected: float) -> None:
    noisy = (pattern() + np.random.default_rng(5).normal(0, sigma, (192, 256))).clip(0, 255)
    assert ms_ssim(grey(pattern()), grey(noisy)) == pytest.approx(expected, abs=5e-6)


def test_ms_ssim_of_small_and_unfit_pictures() -> None:
    small = grey(pattern(40, 53))
    assert ms_ssim(small, small) == pytest.approx(1)
    values = [ms_ssim(small, grey((pattern(40, 53) + s).clip(0, 255))) for s in (20, 60, 120)]
    assert 1 > values[0] > values[1] > values[2] > 0
    with pytest.raises(ConfigError, match="11x11"):
        ms_ssim(small[:, :10], small[:, :10])
    with pytest.raises(ConfigError, match="cannot be compared"):
        ms_ssim(small, small[:, :20])


def test_every_kind_has_a_row_that_fits_it() -> None:
    known = {k.kind: k.modality for k in kinds()}
    assert set(seen()) >= set(known)
    for kind, entry in seen().items():
        assert entry.believed is None or {"ms_ssim": "video", "visqol": "audio"}[entry.believed] == known[kind]
        assert entry.believed is not None or entry.remark, f"{kind}: a dose without a reason"
    assert measure_of("no such kind") is None


@pytest.mark.parametrize("kind", [k for k, entry in seen().items() if entry.believed == "ms_ssim"])
def test_what_is_believed_falls_over_the_levels(kind: str) -> None:
    before = clip(6, 240)
    mild, severe = (measured(kind, before, distort(before, kind, v, 3)[0], 0.0, 0.6)["ms_ssim"] for v in (1, 5))
    assert 1 >= mild > severe + 0.03


def test_only_the_span_of_a_fault_is_compared() -> None:
    before = clip(20)
    after, fault = distort(before, "gblur", 4, 1, span=(0.5, 1.0))
    inside = measured("gblur", before, after, fault.start, fault.end)
    whole = measured("gblur", before, distort(before, "gblur", 4, 1)[0], 0.0, 2.0)
    assert inside["ms_ssim"] == pytest.approx(whole["ms_ssim"], abs=0.01)
    assert measured("gblur", before, after, 1.0, 2.0) == {"ms_ssim": 1.0}
    assert measured("cast", before, distort(before, "cast", 5, 1)[0], 0.0, 2.0) == {}


def test_a_missing_package_is_named_before_anything_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data_recipes.synthesis.measures.installed", lambda: False)
    check_installed(["gblur", "white", "h264"])
    with pytest.raises(ConfigError, match=r"of clip, aac .*pip install visqol-python.*labels: dose"):
        check_installed(["gblur", "clip", "aac"])


@pytest.mark.skipif(not measures.installed(), reason="visqol-python is not installed")
def test_visqol_orders_clipping_and_declines_silence() -> None:
    t = np.arange(2 * RATE) / RATE
    tone = sum(np.sin(2 * np.pi * f * t) / k for k, f in enumerate((220, 700, 1900, 5200), 1)) * (1 + np.sin(9 * t))
    clean = Material(sound=np.stack([tone, tone]).astype(np.float32) * 0.1, rate=RATE)
    values = [measured("clip", clean, distort(clean, "clip", v, 1)[0], 0.0, 2.0)["visqol"] for v in (1, 5)]
    assert 5 > values[0] > values[1] > 1
    silent = replace(clean, sound=np.zeros((2, 2 * RATE), np.float32))
    assert measured("clip", silent, silent, 0.0, 2.0) == {}
    assert measured("clip", clean, clean, 0.0, 0.5) == {}


def _recipe(folder: Path, **changes: object) -> Path:
    data = {
        "name": "t", "seed": 1, "clips": 8, "seconds": 1.0, "max_height": 96, "step": 0.5, "splits": {"train": 1.0},
        "sources": [{"name": "video", "kind": "video", "folder": "video"}],
        "mixture": {"both": 0, "video": 1, "audio": 0, "clean": 0, "sync": 0, "text": 0},
        "shares": {"second": 0, "silent": 1, "borrow": 0, "partial": 0},
        "questions": {1: 1}, "languages": ["en"],
        "kinds": {k.kind: 0.0 for k in kinds() if k.kind not in ("gnoise", "gblur", "cast")},
    }  # fmt: skip
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(data | changes))
    return path


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("media")
    write_clip(root / "video" / "a.mp4", clip(20), preset="ultrafast")
    return root


def test_labels_of_a_recipe_follow_the_measure_or_the_dose(tmp_path: Path, media: Path) -> None:
    for mode in ("dose", "full_reference", "both"):
        synthesise(_recipe(tmp_path, labels=mode), tmp_path / mode, folders=[media])
    told = {m: list(read_records(tmp_path / m / "records.jsonl")) for m in ("dose", "full_reference", "both")}
    kinds_seen = set()
    for by_dose, by_measure, by_both in zip(*told.values(), strict=True):
        name = by_dose.media
        assert (tmp_path / "dose" / name).read_bytes() == (tmp_path / "full_reference" / name).read_bytes()
        (fault,) = by_measure.distortions
        kinds_seen.add(fault.kind)
        assert "ms_ssim" not in by_dose.distortions[0].parameters
        one, two, mean = (r.labels["video"] for r in (by_dose, by_measure, by_both))
        assert one.pseudo and two.pseudo and mean.pseudo
        assert mean.mean == pytest.approx((one.mean + two.mean) / 2, abs=2e-4)
        if fault.kind == "cast":
            assert "ms_ssim" not in fault.parameters
            assert by_measure.labels == by_dose.labels
        else:
            # analytic: MOS 1 + 4 (x - 0.7) / 0.3 of a perfect clip, on a source whose ceiling is 4.7
            x = float(fault.parameters["ms_ssim"])
            assert two.mean == pytest.approx(1 + 3.7 * min(1.0, max(0.0, (x - 0.7) / 0.3)), abs=1e-3)
            assert one.mean == pytest.approx(1 + 3.7 * (dose(fault.kind, fault.level) - 1) / 4, abs=1e-3)
    assert {"cast", "gnoise", "gblur"} == kinds_seen


def test_agreement_of_a_set(tmp_path: Path, media: Path) -> None:
    weights = {k.kind: 0.0 for k in kinds() if k.kind not in ("gnoise", "cast")}
    recipe, out = _recipe(tmp_path, clips=14, kinds=weights), tmp_path / "out"
    records = synthesise(recipe, out, folders=[media]).records
    found = of_set(out, records, 14)
    assert found["sampled"] == 14
    assert found["ms_ssim"]["all"]["n"] == 14
    casts = found["ms_ssim"]["kinds"]["cast"]
    assert casts["believed"] is False
    assert found["ms_ssim"]["believed"]["n"] == 14 - casts["n"]
    assert found["ms_ssim"]["believed"]["srcc"] > 0.9  # only the level differs
    assert of_set(out, records, 3) == of_set(out, records, 3)
    with pytest.raises(ConfigError, match=r"was not made by recipe .* with seed 2"):
        of_set(out, records, 3, seed=2)
    (out / "set.json").unlink()
    with pytest.raises(ConfigError, match="--recipe"):
        of_set(out, records, 3)
    assert of_set(out, records, 3, recipe, sources=[media])["sampled"] == 3
