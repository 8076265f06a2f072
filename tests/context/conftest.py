"""Clips of a few frames, built without any file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mllm_avqa.schema.clip import AudioInfo, AudioTrack, Clip, MediaInfo, VideoInfo, VideoTrack

MakeClip = Callable[..., Clip]


@pytest.fixture
def make_clip() -> MakeClip:
    """make_clip(frames=[n, h, w, 3] or None, pts=..., audio=[channels, n] or None, metadata=..., ...) -> Clip."""

    def build(
        frames: np.ndarray | None = None,
        pts: list[float] | None = None,
        audio: np.ndarray | None = None,
        rate: int = 16000,
        audio_start: float = 0.0,
        window: tuple[float, float] = (0.0, 8.0),
        metadata: dict[str, str] | None = None,
        subtitle_streams: int = 0,
    ) -> Clip:
        video_info = audio_info = video = sound = None
        absent = {}
        if frames is None:
            absent["video"] = "the file has no video stream"
        else:
            n, height, width = frames.shape[:3]
            video_info = VideoInfo(codec="h264", width=width, height=height, fps=25.0, pixel_format="yuv420p")
            thumb_pts = np.arange(window[0], window[1], 0.04)
            video = VideoTrack(
                frames=frames,
                pts=np.array(pts if pts is not None else np.arange(n) * 2.0),
                thumbs=np.zeros((len(thumb_pts), 9, 16), np.uint8),
                thumb_pts=thumb_pts,
            )
        if audio is None:
            absent["audio"] = "the file has no audio stream"
        else:
            audio_info = AudioInfo(codec="aac", sample_rate=rate, channels=len(audio))
            sound = AudioTrack(samples=audio.astype(np.float32), rate=rate, start=audio_start)
        info = MediaInfo(
            path="clip.mp4",
            container="mp4",
            size_bytes=1,
            duration=window[1],
            video=video_info,
            audio=audio_info,
            subtitle_streams=subtitle_streams,
            metadata=metadata or {},
        )
        return Clip(info=info, start=window[0], end=window[1], video=video, audio=sound, absent=absent)

    return build


@pytest.fixture
def draw() -> Callable[..., np.ndarray]:
    """draw(lines={(x, y): text}, size=px, ...) -> uint8 [h, w, 3]: text on a smooth, textless background."""
    from PIL import Image, ImageDraw, ImageFont

    def build(
        lines: dict[tuple[int, int], str] | None = None,
        size: int = 36,
        shape: tuple[int, int] = (360, 640),
        background: tuple[int, int, int] | None = None,
        colour: tuple[int, int, int] = (255, 255, 255),
    ) -> np.ndarray:
        if background is None:
            y, x = np.mgrid[: shape[0], : shape[1]]
            picture = np.stack([60 + 40 * x / shape[1], 90 + 30 * y / shape[0], 70 + 0 * x], axis=2).astype(np.uint8)
        else:
            picture = np.full((*shape, 3), background, np.uint8)
        image = Image.fromarray(picture)
        pen = ImageDraw.Draw(image)
        for where, text in (lines or {}).items():
            pen.text(where, text, font=ImageFont.load_default(size), fill=colour)
        return np.asarray(image)

    return build


@pytest.fixture
def status() -> Callable[..., tuple[str, str]]:
    """status(context, origin) -> (status, detail); fails unless every origin has exactly one status."""

    def look(context, origin: str) -> tuple[str, str]:
        origins = [s.origin for s in context.sources]
        assert sorted(origins) == ["asr", "metadata", "ocr", "sidecar", "subtitle", "user"]
        source = context.sources[origins.index(origin)]
        return source.status, source.detail

    return look


@pytest.fixture
def clip_path(tmp_path: Path) -> Path:
    """Where a clip would lie; the room reads only what is beside it."""
    return tmp_path / "clip.mp4"
