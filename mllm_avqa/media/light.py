"""HDR to SDR: code values of PQ and HLG mean other light than those of the pictures that a model knows."""

from __future__ import annotations

from functools import cache

import numpy as np

HDR = {"smpte2084": "PQ", "arib-std-b67": "HLG"}
_WHITE = 203.0  # cd/m2 that a sheet of white paper has in HDR (ITU-R BT.2408)
_KNEE = 0.75  # of white; light beyond is compressed, so that highlights keep their drawing


@cache
def sdr_levels(transfer: str) -> np.ndarray:
    """uint8 [65536]: the SDR level of every 16-bit code value of a channel. The gamut stays as it is.

    transfer: "smpte2084" (PQ) or "arib-std-b67" (HLG for a display of 1000 cd/m2), both of ITU-R BT.2100.
    """
    code = np.arange(1 << 16) / 65535.0
    if transfer == "smpte2084":
        root = code ** (1 / 78.84375)
        light = 10_000 * (np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)) ** (1 / 0.1593017578125)
    else:
        scene = np.where(code <= 0.5, code**2 / 3, (np.exp((code - 0.55991073) / 0.17883277) + 0.28466892) / 12)
        light = 1000 * scene**1.2
    light = light / _WHITE
    room = 1 - _KNEE
    shown = np.where(light <= _KNEE, light, _KNEE + room * (1 - np.exp(-np.maximum(light - _KNEE, 0) / room)))
    return np.round(255 * shown ** (1 / 2.2)).astype(np.uint8)
