"""Clips per second of the `score` path against the loop a first script would be."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch

from benchmarks.base import Measured, Options, Ratio, make_clip, timed
from mllm_avqa.model.views import make_views
from mllm_avqa.rater import Rater, RatingFailure
from mllm_avqa.schema.clip import AudioTrack, Clip, MediaInfo, VideoTrack
from mllm_avqa.schema.text import TextContext
from mllm_avqa.windows import Prepared

CLIPS = 40
ASPECTS = ("overall", "video", "audio")  # what the plain loop asks for
FORMATS = {".mp4", ".mkv", ".webm", ".mov", ".avi", ".ts", ".m4v"}
DIFFERENT = 10  # encoded clips; the other files are byte-different copies of them


def run(settings: Options) -> Measured:
    with tempfile.TemporaryDirectory() as folder:
        files = make_clips(settings.clip, Path(folder))
        rater = Rater.from_pretrained(settings.checkpoint, threads=settings.threads)
        try:
            list(rater.rate_many(files[:2]))  # warm-up: decoder process, caches
            given = further_clips(settings.clips) if settings.clips is not None else []
            usable = [p for p, r in zip(given, rater.rate_many(given), strict=True) if not isinstance(r, RatingFailure)]
            left_out = len(given) - len(usable)
            files += usable
            ours = timed(lambda: list(rater.rate_many(files)))
            plain = timed(lambda: [plain_prompt(rater, f, a) for f in files for a in ASPECTS])
            once = timed(lambda: [decode_once(rater, f) for f in files])
        finally:
            rater.close()
    n = len(files)
    rows = []
    for name, peer, target in (("plain loop", plain, ">= 3"), ("loop that decodes once per clip", once, None)):
        rows.append(
            Ratio(
                f"clips/s, {name}",
                f"{n / ours.wall:.2f} clips/s",
                f"{n / peer.wall:.2f} clips/s",
                peer.wall / ours.wall,
                target,
            )
        )
        rows.append(
            Ratio(f"CPU s per clip, {name}", f"{ours.cpu / n:.3f} s", f"{peer.cpu / n:.3f} s", peer.cpu / ours.cpu)
        )
    return Measured("Batch", rows, notes(n, left_out, torch.get_num_threads()))


def notes(n: int, left_out: int, threads: int) -> list[str]:
    return [
        f"{n} files ({CLIPS} made: 4 s, 360p; {left_out} given ones cannot be rated and are left out), {threads} torch "
        "threads, one process beside the guarded decoder.",
        "Ours: `Rater.rate_many` without explanations: five aspects, measured facts, context level fast, content hash.",
        "Plain loop: model loaded once; for each of three aspects (overall, video, audio) one prompt and one forward "
        "at batch 1; every prompt opens the file anew with PyAV, decodes every frame to rgb24 and the whole sound, "
        "keeps the frames of the first window's view, encodes and scores. No facts, no context, no guarded process: "
        "less work per prompt than ours does per clip.",
        "Decoding once: the same loop, but the clip is decoded once and its views are shared by the three prompts.",
    ]


def make_clips(source: Path, folder: Path) -> list[Path]:
    """40 different files of 4 s: cuts of the clip, and copies that differ in a trailing free box."""
    made = [
        make_clip(source, folder / f"clip{i:02d}.mp4", height=360, seconds=4.0, start=0.4 * i) for i in range(DIFFERENT)
    ]
    for i in range(DIFFERENT, CLIPS):
        copy = folder / f"clip{i:02d}.mp4"
        note = f"copy {i}".encode()
        # An MP4 "free" box may hold anything: other bytes, other hash, same pictures.
        box = (8 + len(note)).to_bytes(4, "big") + b"free" + note
        copy.write_bytes(made[i % DIFFERENT].read_bytes() + box)
        made.append(copy)
    return made


def further_clips(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in FORMATS)


# ---- the peers ----------------------------------------------------------------------------------------------------


def plain_views(path: Path, spec: Any) -> Any:
    """The window's views as a first script gets them: decode everything, keep what is needed."""
    video = audio = None
    with av.open(str(path)) as c:
        if c.streams.video:
            frames, times = [], []
            for f in c.decode(video=0):
                if f.time is not None and f.time < spec.window_seconds:
                    frames.append(f.to_ndarray(format="rgb24"))
                    times.append(f.time)
            keep = chosen(len(frames), spec.segments, spec.frames_per_segment)
            pts = np.array(times)
            video = VideoTrack(np.stack([frames[i] for i in keep]), pts[keep], np.zeros((0, 1, 1), np.uint8), pts)
    with av.open(str(path)) as c:
        if c.streams.audio:
            rate = c.streams.audio[0].rate
            resampler = av.AudioResampler("fltp", "mono", rate)
            blocks = [b.to_ndarray() for f in c.decode(audio=0) for b in resampler.resample(f)]
            samples = np.concatenate(blocks, 1)[:, : round(spec.window_seconds * rate)]
            audio = AudioTrack(samples, rate, 0.0)
    info = MediaInfo(path=str(path), container="", size_bytes=0, duration=0.0)
    return make_views(Clip(info, 0.0, spec.window_seconds, video, audio), spec)


def chosen(n: int, segments: int, run: int) -> list[int]:
    """Indices of `run` consecutive frames in the middle of each of `segments` parts of n frames."""
    if n <= segments * run:
        return list(range(n))
    starts = [min(n - run, max(0, int((s + 0.5) * n / segments) - run // 2)) for s in range(segments)]
    return sorted({s + k for s in starts for k in range(run)})


def prompt(rater: Any, views: Any, aspect: str) -> float:
    p = Prepared(0.0, 0.0, MediaInfo.model_construct(), views, [], TextContext(), {})
    encoded = rater.corridor.encode(p, "en")._replace(aspects=[aspect])
    return float(rater.corridor.score([encoded])[0][aspect].score)


def plain_prompt(rater: Any, path: Path, aspect: str) -> float:
    return prompt(rater, plain_views(path, rater.card.views), aspect)


def decode_once(rater: Any, path: Path) -> list[float]:
    views = plain_views(path, rater.card.views)
    return [prompt(rater, views, a) for a in ASPECTS]
