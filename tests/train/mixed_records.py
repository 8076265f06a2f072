"""A record file whose clips differ in what they have: picture and sound, a picture alone, a sound alone."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from mllm_avqa.schema.files import write_models
from mllm_avqa.schema.records import Label, Question, Record

RATE = 16000
KINDS = (("video", "audio"), ("video",), ("audio",))


def write_clip(path: Path, modalities: tuple[str, ...], seed: int) -> None:
    """One second; noise of a strength of its own in each stream."""
    rng = np.random.default_rng(seed)
    with av.open(str(path), "w") as out:
        if "video" in modalities:
            video = out.add_stream("libx264", rate=8)
            video.width, video.height, video.pix_fmt = 112, 84, "yuv420p"
        if "audio" in modalities:
            audio = out.add_stream("aac", rate=RATE, layout="mono")
        if "video" in modalities:
            still = rng.integers(0, 255, (6, 8, 3)).repeat(14, 0).repeat(14, 1)
            for k in range(8):
                image = still + rng.normal(0, 5 + 5 * seed, still.shape)
                frame = av.VideoFrame.from_ndarray(image.clip(0, 255).astype(np.uint8), "rgb24")
                frame.pts, frame.time_base = k, Fraction(1, 8)
                out.mux(video.encode(frame))
            out.mux(video.encode())
        if "audio" in modalities:
            wave = 0.3 * np.sin(np.arange(RATE) * 0.17) + rng.normal(0, 0.01 * (1 + seed), RATE)
            for at in range(0, RATE, 1024):
                block = av.AudioFrame.from_ndarray(wave[None, at : at + 1024].astype(np.float32), "fltp", "mono")
                block.sample_rate, block.pts, block.time_base = RATE, at, Fraction(1, RATE)
                out.mux(audio.encode(block))
            out.mux(audio.encode())


def write_records(folder: Path, train: int = 8, val: int = 9) -> Path:
    """records.jsonl and its clips, all kinds in turn; a question and a score for each stream."""
    folder.mkdir(parents=True)
    records = []
    for k in range(train + val):
        has = KINDS[k % len(KINDS)]
        write_clip(folder / f"{k}.mp4", has, k)
        labels = {a: Label(mean=1.5 + 3 * (k * 7 % 10) / 10) for a in has}
        asked = [
            Question(stage=1, task="kind", aspect=a, question=f"What of the {a}? A. x B. y", answer=f"{'AB'[k % 2]}. x")
            for a in has
        ]
        split = "train" if k < train else "val"
        records.append(
            Record(
                id=f"{'_'.join(has)}-{k}",
                media=f"{k}.mp4",
                dataset="mixed",
                group=str(k),
                split=split,
                labels=labels,
                questions=asked,
            )
        )
    write_models(folder / "records.jsonl", records)
    return folder / "records.jsonl"
