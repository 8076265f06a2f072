"""Facts of single pictures move with the fault they are about, in the right direction, and grade it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mllm_avqa.evidence import SEVERITIES
from mllm_avqa.evidence.spatial import edge_width, gradient_profiles, mosaic_cell
from mllm_avqa.evidence.tone import flat_sigma
from tests.evidence.conftest import HEIGHT, WIDTH

RNG = np.random.default_rng(5)


def each(stills: np.ndarray, fault) -> np.ndarray:
    return np.stack([np.clip(fault(f), 0, 255).astype(np.uint8) for f in stills])


def blurred(sigma):
    return lambda f: cv2.GaussianBlur(f, (0, 0), sigma * HEIGHT / 540)


def noisy(sigma):
    return lambda f: f + RNG.normal(0, sigma, f.shape[:2])[..., None]


def colour_noisy(sigma):
    return lambda f: f + cv2.GaussianBlur(RNG.normal(0, sigma, f.shape), (0, 0), 0.8)


def salted(share):
    def fault(f):
        u, out = RNG.random(f.shape[:2]), f.copy()
        out[u < share / 2], out[u > 1 - share / 2] = 0, 255
        return out

    return fault


def jpeg(quality):
    return lambda f: cv2.imdecode(cv2.imencode(".jpg", f, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)


def mosaic(cell):
    def fault(f):
        h, w = f.shape[:2]
        small = cv2.resize(f, (round(w / cell), round(h / cell)), interpolation=cv2.INTER_AREA)
        return cv2.resize(small, (w, h), interpolation=cv2.INTER_NEAREST)

    return fault


def requantised(levels):
    return lambda f: np.round(f / 255 * (levels - 1)) * 255 / (levels - 1)


def exposed(stops):
    return lambda f: 255 * np.minimum(1, (f / 255) ** 2.2 * 2.0**stops) ** (1 / 2.2)


def contrast(gain):
    return lambda f: (f.astype(float) - f.mean()) * gain + f.mean()


def saturated(gain):
    def fault(f):
        grey = cv2.cvtColor(f, cv2.COLOR_RGB2GRAY)[..., None].astype(float)
        return grey + gain * (f - grey)

    return fault


def sharpened(amount):
    return lambda f: f.astype(float) + amount * (f.astype(float) - cv2.GaussianBlur(f.astype(float), (0, 0), 0.8))


def tinted(shift):
    def fault(f):
        lab = cv2.cvtColor(f, cv2.COLOR_RGB2LAB).astype(int)
        lab[..., 2] += shift
        return cv2.cvtColor(np.clip(lab, 0, 255).astype(np.uint8), cv2.COLOR_LAB2RGB)

    return fault


def woven(shift):
    def fault(f):
        out = f.copy()
        out[1::2] = np.roll(f, shift, axis=1)[1::2]
        return out

    return fault


# fact, direction in which it gets worse, fault, mild dose, heavy dose
FAULTS = [
    ("blur", 1, blurred, 1.5, 6.5),
    ("detail", -1, blurred, 1.5, 6.5),
    ("detail", 1, sharpened, 5, 60),
    ("noise", 1, noisy, 6, 32),
    ("chroma_noise", 1, colour_noisy, 20, 60),
    ("impulse_noise", 1, salted, 0.004, 0.07),
    ("blockiness", 1, jpeg, 36, 4),
    ("mosaic", 1, mosaic, 3, 8),
    ("banding", 1, requantised, 32, 8),
    ("overexposure", 1, exposed, 1.3, 3.2),
    ("underexposure", 1, exposed, -1.4, -4.2),
    ("crushed_blacks", 1, contrast, 2.0, 12.0),
    ("contrast", -1, contrast, 0.6, 0.2),
    ("colourfulness", -1, saturated, 0.5, 0.0),
    ("colourfulness", 1, saturated, 1.9, 5),
    ("colour_cast", 1, tinted, 12, 60),
    ("interlacing", 1, woven, 6, 24),
]


@pytest.mark.parametrize(("name", "sign", "fault", "mild", "heavy"), FAULTS)
def test_fact_follows_its_fault(facts, stills, name, sign, fault, mild, heavy):
    clean, slight, bad = (facts(x)[name] for x in (stills, each(stills, fault(mild)), each(stills, fault(heavy))))
    assert sign * clean.value <= sign * slight.value < sign * bad.value
    assert SEVERITIES.index(clean.severity) <= 1
    assert bad.severity in ("strong", "severe")


@pytest.mark.parametrize("sigma", [1.0, 2.0, 3.0])
def test_edge_width_is_the_sigma_of_a_blurred_step(sigma):
    """Analytic: a step blurred by sigma has edges of width sigma; pixels and 3 x 3 gradients add 0.7 px in square."""
    step = np.full((128, 128), 40, np.uint8)
    step[:, 64:] = 200
    step[:, :20] = 200
    width = edge_width(cv2.GaussianBlur(step, (0, 0), sigma))
    assert width is not None
    assert width[0] == pytest.approx(np.hypot(sigma, 0.7), rel=0.15)


def test_edge_width_does_not_depend_on_contrast():
    step = np.zeros((128, 128), np.float64)
    step[:, 64:] = 1
    soft = cv2.GaussianBlur(step, (0, 0), 1.5)
    widths = [edge_width((60 + gain * soft).astype(np.uint8)) for gain in (60, 180)]
    assert widths[0][0] == pytest.approx(widths[1][0], rel=0.05)


def test_motion_blur_is_told_from_defocus(facts, stills):
    kernel = np.full((1, 15), 1 / 15, np.float32)
    moving = facts(each(stills, lambda f: cv2.filter2D(f, -1, kernel)))["blur"]
    assert "motion blur" in moving.note
    assert facts(each(stills, blurred(4)))["blur"].note == ""


def test_noise_sigma_is_measured_on_a_flat_field():
    """Analytic: white noise of sigma 8 reads 8; the quietest tenth of the blocks lies a little below."""
    noise = np.clip(np.random.default_rng(0).normal(128, 8, (256, 256)), 0, 255).astype(np.uint8)
    assert flat_sigma(noise) == pytest.approx(8, rel=0.12)


@pytest.mark.parametrize("cell", [3, 5, 10, 12])
def test_mosaic_cell_is_found(stills, cell):
    luma = cv2.cvtColor(mosaic(cell)(stills[0][: HEIGHT // cell * cell, : WIDTH // cell * cell]), cv2.COLOR_RGB2GRAY)
    assert mosaic_cell(gradient_profiles(luma)) == pytest.approx(cell, rel=0.05)


def test_black_bars_do_not_count(facts, stills):
    boxed = stills.copy()
    boxed[:, :40] = boxed[:, -40:] = 0
    plain, barred = facts(stills), facts(boxed)
    assert barred["crushed_blacks"].value < 2
    assert barred["contrast"].value == pytest.approx(plain["contrast"].value, rel=0.15)
