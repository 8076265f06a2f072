"""On-screen text: one small protocol, one engine, and merging of what several frames show."""

from __future__ import annotations

import logging
import math
import threading
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache
from typing import Any, Protocol

import numpy as np

from mllm_avqa.schema.errors import ContextUnavailable
from mllm_avqa.schema.text import SCENE, TextItem

MIN_CONFIDENCE = 0.5
MIN_CONFIDENCE_ALONE = 0.9  # of a single character: a tap or a ladybird is read as one letter with up to 0.8
SAME_TEXT = 0.8  # similarity of two readings of one text: OCR errors and video noise change a letter or two
SIDE = 960  # longer side the detector sees; larger is slower and no better on video frames


@dataclass(frozen=True)
class TextBox:
    """One line of text on a frame."""

    text: str
    box: tuple[float, float, float, float]  # x0, y0, x1, y1 as fractions of the frame
    confidence: float  # 0..1
    tilt: float = 0.0  # degrees from level
    scene: bool = False  # on a thing in the picture, not laid over it


class OcrEngine(Protocol):
    """What reads text off a frame."""

    name: str

    def read(self, frame: np.ndarray) -> list[TextBox]:
        """Lines on `frame`, uint8 [height, width, 3] RGB, top to bottom. Raises ContextUnavailable."""
        ...


class RapidOcr:
    """PP-OCR through rapidocr and onnxruntime: English and Chinese in one model that ships inside the wheel.

    Nothing is imported or loaded before the first `read`. Lines below `MIN_CONFIDENCE` are dropped
    (single characters below `MIN_CONFIDENCE_ALONE`).
    """

    name = "rapidocr"

    def __init__(self) -> None:
        self._engine: Any = None
        self._lock = threading.Lock()

    def _load(self) -> Any:
        if self._engine is None:
            try:
                from rapidocr import RapidOCR
            except ImportError as e:
                raise ContextUnavailable(
                    f"rapidocr is not installed ({e}); get it with: pip install rapidocr onnxruntime"
                ) from e
            self._engine = RapidOCR(
                params={
                    "Global.log_level": "critical",  # it logs every empty frame as a warning
                    "Global.text_score": MIN_CONFIDENCE,
                    "Det.limit_type": "max",  # the default ("min", 736) enlarges frames: slower and less exact
                    "Det.limit_side_len": SIDE,
                    "EngineConfig.onnxruntime.intra_op_num_threads": 1,
                    "EngineConfig.onnxruntime.inter_op_num_threads": 1,
                }
            )
            logging.getLogger("RapidOCR").setLevel(logging.CRITICAL)
        return self._engine

    def read(self, frame: np.ndarray) -> list[TextBox]:
        """Lines on `frame`, uint8 [height, width, 3] RGB, top to bottom, then left to right.

        Raises ContextUnavailable when rapidocr is missing or fails on the frame.
        """
        import cv2

        with self._lock:  # the engine keeps state between its three networks
            engine = self._load()
            try:
                found = engine(np.ascontiguousarray(frame[..., ::-1]))  # BGR
            except (RuntimeError, ValueError, cv2.error) as e:
                raise ContextUnavailable(f"rapidocr failed on a {frame.shape[1]}x{frame.shape[0]} frame: {e}") from e
        if found.txts is None:
            return []
        height, width = frame.shape[:2]
        lines = []
        for text, score, quad in zip(found.txts, found.scores, found.boxes, strict=True):
            least = MIN_CONFIDENCE_ALONE if len(text.strip()) == 1 else MIN_CONFIDENCE
            if score < least or not text.strip():
                continue
            low = np.clip(np.min(quad, axis=0) / (width, height), 0, 1)
            high = np.clip(np.max(quad, axis=0) / (width, height), 0, 1)
            box = (float(low[0]), float(low[1]), float(high[0]), float(high[1]))
            lines.append(TextBox(str(text), box, float(score), _tilt(np.asarray(quad, float))))
        return sorted(lines, key=lambda line: (line.box[1], line.box[0]))


def _tilt(quad: np.ndarray) -> float:
    """Degrees by which the longer edges of a box [4, 2], clockwise from its top left corner, are off level or upright.

    Corners lie on whole pixels, so that a short line may seem to tilt: one pixel is forgiven.
    """
    edges = np.abs(quad[[1, 2]] - quad[[0, 3]]), np.abs(quad[[3, 2]] - quad[[0, 1]])
    along, off = sorted(max(edges, key=lambda e: float(e.sum())).mean(0))[::-1]
    return math.degrees(math.atan2(max(0.0, off - 1), along))


@lru_cache(maxsize=1)
def default_ocr() -> OcrEngine:
    """The one engine of this process; loading it takes about two seconds, at the first `read`."""
    return RapidOcr()


def _same(a: str, b: str) -> bool:
    a, b = "".join(a.split()).casefold(), "".join(b.split()).casefold()
    if a == b:
        return True
    if min(len(a), len(b)) < 4:  # one letter of three is another word
        return False
    matcher = SequenceMatcher(None, a, b, autojunk=False)
    return matcher.quick_ratio() >= SAME_TEXT and matcher.ratio() >= SAME_TEXT


def merge_frames(frames: list[tuple[float, list[TextBox]]], engine: str) -> list[TextItem]:
    """Items of several frames' lines: near-equal text seen again only lengthens the first item's time span.

    frames: (pts in seconds, lines), in order of time. start and end are the pts of the first and last frame showing
    the text (equal when one frame did); the wording is the most confident reading's, the box the first one's. Words of
    the scene are marked in `detail`, unless one reading took them for a caption.
    """
    merged: list[TextItem] = []
    for pts, lines in frames:
        for line in lines:
            old = next((i for i, item in enumerate(merged) if _same(item.text, line.text)), None)
            if old is None:
                merged.append(
                    TextItem(
                        origin="ocr",
                        text=line.text,
                        start=pts,
                        end=pts,
                        detail=f"engine={engine}; {SCENE}" if line.scene else f"engine={engine}",
                        box=line.box,
                        confidence=round(line.confidence, 4),
                    )
                )
                continue
            item = merged[old]
            better = line.confidence > (item.confidence or 0.0)
            merged[old] = item.model_copy(
                update={
                    "end": pts,
                    "text": line.text if better else item.text,
                    "detail": item.detail if line.scene else f"engine={engine}",
                    "confidence": round(line.confidence, 4) if better else item.confidence,
                }
            )
    return merged
