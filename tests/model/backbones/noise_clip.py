"""A clip of a second on disk, for tests that go from a file to a rating."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def noise_clip(path: Path) -> Path:
    """Write random frames (10 of 128x96, H.264) and a tone (16 kHz mono, AAC); returns `path`."""
    import av

    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=10)
        video.height, video.width, video.pix_fmt = 96, 128, "yuv420p"
        sound = out.add_stream("aac", rate=16000, layout="mono")
        for frame in np.random.default_rng(0).integers(0, 255, (10, 96, 128, 3), dtype=np.uint8):
            out.mux(video.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        out.mux(video.encode(None))
        tone = 0.2 * np.sin(np.arange(16000) * 0.17)[None].astype(np.float32)
        packet = av.AudioFrame.from_ndarray(tone, "fltp", "mono")
        packet.sample_rate = 16000
        out.mux(sound.encode(packet))
        out.mux(sound.encode(None))
    return path
