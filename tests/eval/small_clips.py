"""Small files for tests: moving noise with a tone, subtitles if wanted."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np

FPS, RATE = 10, 16000


def write(path, seed=0, frames=8, sound=True, size=(64, 96), subtitle=None, pictures=None):
    """A file of `frames` pictures uint8 [h, w, 3] (smooth moving noise unless given), with a tone as long."""
    rng = np.random.default_rng(seed)
    h, w = size
    base = np.kron(rng.integers(0, 255, (h // 8, w // 8, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8))
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=FPS, options={"crf": "10", "preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = w, h, "yuv420p"
        audio = out.add_stream("aac", rate=RATE, layout="mono") if sound else None
        text = out.add_stream("mov_text") if subtitle else None
        if text is not None:
            text.time_base = Fraction(1, 1000)
            text.codec_context.subtitle_header = b"[Script Info]\n\n[Events]\n"
        for k in range(frames):
            picture = np.roll(base, 3 * k, 1) if pictures is None else pictures[k]
            out.mux(video.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
        out.mux(video.encode(None))
        if audio is not None:
            t = np.arange(frames * RATE // FPS) / RATE
            tone = (0.3 * np.sin(2 * np.pi * (300 + 90 * seed) * t) * (t % 0.4 < 0.2)).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(tone[None], format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
            out.mux(audio.encode(frame))
            out.mux(audio.encode(None))
        if text is not None:
            data = subtitle.encode()
            packet = av.Packet(len(data).to_bytes(2, "big") + data)
            packet.stream, packet.time_base, packet.pts, packet.dts, packet.duration = (
                text,
                Fraction(1, 1000),
                0,
                0,
                600,
            )
            out.mux(packet)
