"""Contact sheet of the distortion kinds of the picture: one row per kind, one column per level.

python -m data_recipes.preview clip.mp4 sheet.png --start 2 --cell 320
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from data_recipes.demux import read_material
from data_recipes.distortions import Caption, Kind, Material, distort, kinds
from mllm_avqa.errors import ConfigError

log = logging.getLogger(__name__)
LABEL = 22  # px above each cell


def _cell(frame: np.ndarray, width: int, label: str) -> np.ndarray:
    height = round(frame.shape[0] * width / frame.shape[1])
    picture = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
    out = np.full((height + LABEL, width, 3), 255, np.uint8)
    out[LABEL:] = picture
    cv2.putText(out, label, (4, LABEL - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    return out


def _worst(clean: np.ndarray, faulty: np.ndarray) -> int:
    """Number of the frame that differs most: a freeze or a black frame shows nowhere else."""
    return int(np.argmax([cv2.norm(a, b, cv2.NORM_L1) for a, b in zip(clean, faulty, strict=True)]))


def contact_sheet(material: Material, which: list[Kind], *, cell: int = 320, seed: int = 0) -> np.ndarray:
    """RGB picture: per kind the clean frame and levels 1..5, each at the frame where level 5 differs most.

    Raises ConfigError when the material has no frames.
    """
    if material.frames is None:
        raise ConfigError("a contact sheet needs a clip with pictures, this one has none")
    rows = []
    for kind in which:
        changed = [distort(material, kind.kind, level, seed)[0].frames for level in range(1, 6)]
        faulty = [frames for frames in changed if frames is not None]
        at = _worst(material.frames, faulty[-1])
        cells = [_cell(material.frames[at], cell, f"{kind.kind}: clean")]
        for level, frames in enumerate(faulty, 1):
            values = ", ".join(v if isinstance(v, str) else f"{v:g}" for v in kind.parameters(level).values())
            cells.append(_cell(frames[at], cell, f"{kind.kind} {level}: {values}"))
        rows.append(np.hstack(cells))
        log.info("%s done", kind.kind)
    return np.vstack(rows)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="data_recipes.preview", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("source", type=Path, help="video file")
    parser.add_argument("sheet", type=Path, help="PNG to write")
    parser.add_argument("--start", type=float, default=0.0, help="seconds into the file (default 0)")
    parser.add_argument("--duration", type=float, default=1.0, help="seconds to distort (default 1)")
    parser.add_argument("--height", type=int, default=480, help="lines to work at (default 480)")
    parser.add_argument("--cell", type=int, default=320, help="px of width per picture (default 320)")
    parser.add_argument("--kinds", nargs="*", default=None, help="kinds to show (default: all of the picture)")
    parser.add_argument("--seed", type=int, default=0, help="seed of every draw (default 0)")
    args = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    material = read_material(args.source, args.start, args.duration, args.height)
    line = Caption(0.0, args.duration, "The quick brown fox jumps over the lazy dog")
    pictured = [k for k in kinds() if k.modality == "video" or k.kind == "illegible_text"]
    unknown = sorted(set(args.kinds or []) - {k.kind for k in pictured})
    if unknown:
        allowed = ", ".join(k.kind for k in pictured)
        raise ConfigError(f"kind {unknown[0]!r} does not show in a picture; allowed: {allowed} (--kinds)")
    which = [k for k in pictured if args.kinds is None or k.kind in args.kinds]
    sheet = contact_sheet(replace(material, captions=[line]), which, cell=args.cell, seed=args.seed)
    if not cv2.imwrite(str(args.sheet), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR)):
        raise ConfigError(f"{args.sheet} can not be written; a name that ends in .png is expected")


if __name__ == "__main__":
    main()
