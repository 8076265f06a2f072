"""Bitrate order: more bits of the same encoder must not score lower. Ladders of real clips, made here with PyAV."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, ClassVar

import av
import numpy as np
import typer
from pydantic import BaseModel, ConfigDict

from eval.stats import spearman
from eval.study import Rated, Report, argument, option
from eval.writing import table
from mllm_avqa.schema.card import Card
from mllm_avqa.schema.errors import AvqaError, ConfigError
from mllm_avqa.schema.files import whole_file
from mllm_avqa.schema.names import Aspect

SECONDS = 3.0
HEIGHT = 360  # lines; a rung is bits per pixel of this picture
BITS_PER_PIXEL = (0.2, 0.1, 0.05, 0.025, 0.0125)
KILOBITS = (160, 96, 64, 32, 16)  # of stereo sound
MARGIN = 0.1  # points by which a violation is more than noise of the encoder
RATE = 48_000


@dataclass(frozen=True)
class LadderEncoder:
    """One codec of a ladder: PyAV's name, what it is judged by, options, container."""

    codec: str
    aspect: Aspect
    suffix: str
    options: dict[str, str]


ENCODERS = {
    "x264": LadderEncoder("libx264", "video", ".mp4", {"preset": "medium"}),
    "x265": LadderEncoder("libx265", "video", ".mp4", {"preset": "veryfast", "x265-params": "log-level=none"}),
    "vp9": LadderEncoder("libvpx-vp9", "video", ".webm", {"deadline": "good", "cpu-used": "8"}),
    "av1": LadderEncoder("libsvtav1", "video", ".mkv", {"preset": "10"}),
    "aac": LadderEncoder("aac", "audio", ".mp4", {}),
    "opus": LadderEncoder("libopus", "audio", ".mkv", {}),
}


class Rung(BaseModel):
    model_config = ConfigDict(extra="forbid")

    source: str
    encoder: str
    asked: float  # bit/s
    bits: float  # bit/s that it has
    score: float | None


class LadderResult(BaseModel):
    """Pairs of rungs of one encoder and source. depth: mean points by which more bits scored lower, where they did."""

    model_config = ConfigDict(extra="forbid")

    encoder: str
    aspect: str
    ladders: int
    pairs: int
    violations: int
    beyond: int  # of them, deeper than `MARGIN`
    depth: float
    srcc: float | None  # of bits and score, mean over ladders

    @property
    def share(self) -> float:
        return self.violations / self.pairs if self.pairs else 0.0


class LadderStudy(BaseModel):
    model_config = ConfigDict(extra="forbid")

    checkpoint: str
    weights: str
    results: list[LadderResult]
    rungs: list[Rung]
    failed: dict[str, str] = {}
    notes: list[str] = []

    def card(self) -> dict[str, Any]:
        """The few numbers that belong into the checkpoint's card."""
        return {
            "sources": len({r.source for r in self.rungs}),
            "violations": {r.encoder: round(r.share, 4) for r in self.results},
            f"beyond_{MARGIN:g}": {r.encoder: round(r.beyond / r.pairs, 4) for r in self.results if r.pairs},
            "srcc": {r.encoder: r.srcc for r in self.results},
        }


class Ladders(Rated):
    """Share of pairs in which more bits of the same encoder score lower, per encoder.

    Sources are clips without faults of their own, read from their first three seconds at 360 lines at most.
    """

    command: ClassVar[str] = "ladders"

    sources: list[Path] = argument("Clips to encode, with picture and sound.")
    encoders: tuple[str, ...] = option((), f"Of {', '.join(ENCODERS)}; default: all.")
    folder: Path | None = option(None, "Keep the encoded clips here.", place="command")
    write_card: bool = option(False, "Put the shares into avqa.yaml and MODEL_CARD.md.", place="command")

    def run(self) -> LadderStudy:
        """Raises ConfigError for an unknown encoder, MediaError for a source that cannot be read."""
        if unknown := [e for e in self.encoders if e not in ENCODERS]:
            raise ConfigError(f"--encoders {unknown[0]}: must be of {', '.join(ENCODERS)}")
        rungs: list[Rung] = []
        failed: dict[str, str] = {}
        with self.opened() as rater, _folder(self.folder) as folder:
            for n, source in enumerate(self.sources):
                material = LadderSource.read(source)
                for name in self.encoders or ENCODERS:
                    for path, asked in material.ladder(ENCODERS[name], folder / f"{n}-{source.stem}-{name}", failed):
                        try:
                            rating = rater.rate(path, explain=False)
                        except AvqaError as e:
                            failed[path.name] = str(e)
                            continue
                        score = rating.scores.get(ENCODERS[name].aspect)
                        bits = 8 * path.stat().st_size / max(rating.media.duration, 0.1)
                        rungs.append(
                            Rung(source=source.name, encoder=name, asked=asked, bits=round(bits),
                                 score=None if score is None else round(score.score, 4))
                        )  # fmt: skip
            return LadderStudy(
                checkpoint=rater.card.name, weights=rater.weights, results=violations(rungs), rungs=rungs, failed=failed
            )

    def report(self, found: LadderStudy) -> Report:
        if self.write_card:
            typer.echo(f"wrote the shares into {write(self.checkpoint, found).name}/avqa.yaml", err=True)
        return Report(markdown(found), found.model_dump_json(indent=2), found.notes, found.failed)


def violations(rungs: Sequence[Rung]) -> list[LadderResult]:
    """Every pair of rungs of one source and encoder, ordered by the bits that they have."""
    out = []
    for name in dict.fromkeys(r.encoder for r in rungs):
        ladders: dict[str, list[Rung]] = {}
        for r in rungs:
            if r.encoder == name and r.score is not None:
                ladders.setdefault(r.source, []).append(r)
        falls, pairs, orders = [], 0, []
        for ladder in ladders.values():
            ladder.sort(key=lambda r: r.bits)
            for few, many in combinations(ladder, 2):
                if many.bits > few.bits:
                    pairs += 1
                    fall = (few.score or 0.0) - (many.score or 0.0)
                    falls += [fall] if fall > 0 else []
            scores = np.array([r.score for r in ladder], float)
            if len(ladder) > 2 and np.ptp(scores) > 0:
                orders.append(spearman(np.array([r.bits for r in ladder], float), scores))
        out.append(
            LadderResult(
                encoder=name,
                aspect=ENCODERS[name].aspect,
                ladders=len(ladders),
                pairs=pairs,
                violations=len(falls),
                beyond=sum(f > MARGIN for f in falls),
                depth=round(float(np.mean(falls)), 4) if falls else 0.0,
                srcc=round(float(np.mean(orders)), 4) if orders else None,
            )
        )
    return out


def markdown(found: LadderStudy) -> str:
    rows = [
        [r.encoder, r.aspect, str(r.ladders), str(r.pairs), f"{100 * r.share:.1f} %",
         f"{100 * r.beyond / r.pairs:.1f} %" if r.pairs else "–", f"{r.depth:.3f}",
         "–" if r.srcc is None else f"{r.srcc:.3f}"]
        for r in found.results
    ]  # fmt: skip
    head = ["encoder", "aspect", "ladders", "pairs", "violations", f"by more than {MARGIN:g}", "mean depth", "SRCC"]
    told = "A violation: of two encodes of one source by one encoder, the one with more bits scores lower."
    return f"{table(head, rows)}\n\n{told}"


def write(checkpoint: str, found: LadderStudy) -> Path:
    """Put the shares into avqa.yaml, and into MODEL_CARD.md where there is one; returns the folder of both."""
    from eval.model_card import FILE, put
    from mllm_avqa.model.checkpoint import resolve_checkpoint

    directory = resolve_checkpoint(checkpoint)
    card = Card.load(directory)
    card.results = {**card.results, "ladders": found.card()}
    card.save(directory)
    put(directory / FILE, f"## Bitrate order\n\n{markdown(found)}\n")
    return directory


# ---- making ladders -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LadderSource:
    """The first seconds of a source: pictures of at most `HEIGHT` lines and stereo sound, None where it has none."""

    frames: list[Any]
    fps: Any
    sound: np.ndarray | None

    @classmethod
    def read(cls, path: Path) -> LadderSource:
        try:
            with av.open(str(path)) as f:
                frames, fps = [], None
                if f.streams.video:
                    stream = f.streams.video[0]
                    fps = stream.average_rate
                    height = 2 * round(min(HEIGHT, stream.height) / 2)
                    width = 2 * round(stream.width * height / stream.height / 2)
                    for frame in f.decode(stream):
                        if (frame.time or 0.0) >= SECONDS:
                            break
                        frames.append(frame.reformat(width, height, format="yuv420p"))
            return cls(frames, fps, _sound(path))
        except (OSError, av.FFmpegError) as e:
            raise ConfigError(f"SOURCES: {path}: {e}") from e

    def ladder(self, encoder: LadderEncoder, stem: Path, failed: dict[str, str]) -> Iterator[tuple[Path, float]]:
        """Files and the bits a second that were asked for."""
        if encoder.aspect == "video" and self.frames:
            pixels = self.frames[0].width * self.frames[0].height * float(self.fps)
            rates = [b * pixels for b in BITS_PER_PIXEL]
        elif encoder.aspect == "audio" and self.sound is not None:
            rates = [1000.0 * k for k in KILOBITS]
        else:
            return
        for bits in rates:
            path = stem.with_name(f"{stem.name}-{bits / 1000:.0f}k{encoder.suffix}")
            try:
                if not path.exists():
                    with whole_file(path) as part:
                        self._encode(encoder, bits, part, encoder.suffix[1:])
            except (av.FFmpegError, ValueError) as e:  # this build of FFmpeg has not every encoder
                failed[path.name] = f"{encoder.codec}: {e}"
                continue
            yield path, bits

    def _encode(self, encoder: LadderEncoder, bits: float, path: Path, container: str) -> None:
        os.environ.setdefault("SVT_LOG", "1")  # it writes to stderr by itself: errors only
        form = {"mkv": "matroska"}.get(container, container)
        with av.open(str(path), "w", format=form) as out:
            stream: Any
            if encoder.aspect == "video":
                stream = out.add_stream(encoder.codec, rate=self.fps, options=encoder.options)
                stream.width, stream.height, stream.pix_fmt = self.frames[0].width, self.frames[0].height, "yuv420p"
            else:
                stream = out.add_stream(encoder.codec, rate=RATE, layout="stereo", options=encoder.options)
            stream.bit_rate = int(bits)
            for frame in self._pictures() if encoder.aspect == "video" else self._blocks(stream.format.name):
                out.mux(stream.encode(frame))
            out.mux(stream.encode(None))

    def _pictures(self) -> Iterator[Any]:
        for n, frame in enumerate(self.frames):
            frame.pts, frame.time_base, frame.pict_type = n, 1 / self.fps, 0
            yield frame

    def _blocks(self, form: str) -> Iterator[Any]:
        assert self.sound is not None
        resampler = av.AudioResampler(form, "stereo", RATE)
        for at in range(0, self.sound.shape[1], 960):
            block = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(self.sound[:, at : at + 960]), format="fltp", layout="stereo"
            )
            block.sample_rate, block.pts = RATE, at
            yield from resampler.resample(block)


def _sound(path: Path) -> np.ndarray | None:
    with av.open(str(path)) as f:
        if not f.streams.audio:
            return None
        resampler = av.AudioResampler("fltp", "stereo", RATE)
        blocks = []
        for frame in f.decode(f.streams.audio[0]):
            if (frame.time or 0.0) >= SECONDS:
                break
            blocks += [b.to_ndarray() for b in resampler.resample(frame)]
    return np.concatenate(blocks, 1).astype(np.float32)[:, : int(SECONDS * RATE)] if blocks else None


@contextmanager
def _folder(given: Path | None) -> Iterator[Path]:
    """The folder that clips are kept in, or one that goes."""
    if given is None:
        with tempfile.TemporaryDirectory(prefix="ladders-") as made:
            yield Path(made)
        return
    given.mkdir(parents=True, exist_ok=True)
    yield given
