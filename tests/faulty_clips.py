"""Clips of which everything is known: moving noise with a tone, and spans where something is wrong."""

import av
import numpy as np

FPS, RATE, SECONDS = 10, 16000, 16


def write(path, *, black=(), freeze=(), silence=(), full=(), holes=(), cuts=(), sound_start=0.0, seconds=SECONDS):
    """Moving noise with a tone; spans of seconds where something is wrong."""
    rng = np.random.default_rng(0)

    def within(t, spans):
        return any(a <= t < b for a, b in spans)

    textures = [rng.integers(60, 200, (300, 300, 3), dtype=np.uint8) // (1 + k % 2) for k in range(len(cuts) + 1)]
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=FPS, options={"crf": "12"})
        video.width, video.height, video.pix_fmt = 128, 96, "yuv420p"
        audio = out.add_stream("pcm_s16le", rate=RATE, layout="mono")
        shown = 0
        for k in range(seconds * FPS):
            t = k / FPS
            shown = shown if within(t, freeze) else k
            texture = textures[sum(t >= c for c in cuts)]
            at = 2 * (shown % 80)
            picture = np.zeros((96, 128, 3), np.uint8) if within(t, black) else texture[at : at + 96, at : at + 128]
            out.mux(video.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24")))
        out.mux(video.encode(None))
        t = np.arange(round((seconds - sound_start) * RATE)) / RATE + sound_start
        wave = 0.1 * np.sin(2 * np.pi * 440 * t)
        for a, b in full:
            wave[(t >= a) & (t < b)] *= 100
        for a, b in (*silence, *holes):
            wave[(t >= a) & (t < b)] = 0
        samples = (np.clip(wave, -1, 1) * 32767).astype(np.int16)
        for k in range(0, len(samples), RATE):
            frame = av.AudioFrame.from_ndarray(samples[None, k : k + RATE], "s16", "mono")
            frame.sample_rate, frame.pts = RATE, round(sound_start * RATE) + k
            out.mux(audio.encode(frame))
        out.mux(audio.encode(None))
    return path
