"""The contact sheet: a row per kind, a column per level."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from data_recipes.distortions import Material, get
from data_recipes.mux import write_clip
from data_recipes.preview import contact_sheet, main
from mllm_avqa.errors import ConfigError


def clip() -> Material:
    frames = np.random.default_rng(0).integers(0, 255, (8, 48, 64, 3), dtype=np.uint8)
    return Material(frames, 8.0)


def test_sheet_has_a_row_per_kind_and_a_column_per_level() -> None:
    sheet = contact_sheet(clip(), [get("gblur"), get("black_frames")], cell=64)
    assert sheet.shape == (2 * (48 + 22), 6 * 64, 3)
    assert not sheet[48 + 44 :, 5 * 64 :].any()  # the black frame is the one that is shown


def test_command_writes_a_png_and_refuses_other_kinds(tmp_path: Path) -> None:
    write_clip(tmp_path / "c.mp4", clip())
    main([str(tmp_path / "c.mp4"), str(tmp_path / "s.png"), "--kinds", "mosaic", "illegible_text", "--cell", "64"])
    assert cv2.imread(str(tmp_path / "s.png")).shape[1] == 6 * 64
    with pytest.raises(ConfigError, match=r"'white'.*--kinds"):
        main([str(tmp_path / "c.mp4"), str(tmp_path / "s.png"), "--kinds", "white"])


def test_sheet_needs_pictures() -> None:
    with pytest.raises(ConfigError, match="needs a clip with pictures"):
        contact_sheet(Material(), [get("gblur")])
