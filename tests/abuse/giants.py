"""Files that are long, wide, many or crowded: what a rating of each costs, and what it says.

`python -m tests.abuse giants [NAME ...] [--small]`. Each file is made here and rated by the command line in a process
of its own; memory is the most that the process and its decoder held. `--small` makes a hundredth of everything.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np

FRAME = bytes.fromhex("21f904040200ff002c0000000001000100000202440100")  # a GIF's pixel, for 20 ms
GIF = b"GIF89a" + bytes.fromhex("01000100800000000000ffffff")


def film(path: Path, seconds: int, size: tuple[int, int], fps: int, codec: str = "mpeg4") -> Path:
    """Grey steps and a tone."""
    with av.open(str(path), "w") as out:
        video = out.add_stream(codec, rate=fps, options={"preset": "ultrafast", "tune": "zerolatency"})
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        audio = out.add_stream("aac", rate=16000, layout="mono")
        n = np.arange(16000 // fps)
        pictures = [av.VideoFrame.from_ndarray(np.full((*size[::-1], 3), level, np.uint8)) for level in (60, 120, 180)]
        for k in range(seconds * fps):
            picture = pictures[k // 40 % 3]
            picture.pts, picture.time_base = k, Fraction(1, fps)
            out.mux(video.encode(picture))
            wave = 0.3 * np.sin(2 * np.pi * 440 / 16000 * (k * len(n) + n))
            sound = av.AudioFrame.from_ndarray(wave.astype(np.float32)[None], "fltp", "mono")
            sound.sample_rate, sound.pts, sound.time_base = 16000, k * len(n), Fraction(1, 16000)
            out.mux(audio.encode(sound))
        out.mux(video.encode())
        out.mux(audio.encode())
    return path


def hour(folder: Path, share: float) -> Path:
    return film(folder / "hour.mp4", max(20, round(3600 * share)), (160, 96), 5)


def wide(folder: Path, share: float) -> Path:
    """8K at 5 frames per second, as large as `--max-pixels` allows by default."""
    side = (7680, 4320) if share == 1 else (1920, 1080)
    return film(folder / "wide.mp4", 2, side, 5, "libx264")


def gif(folder: Path, share: float) -> Path:
    path = folder / "million.gif"
    path.write_bytes(GIF + FRAME * round(1_000_000 * share) + b";")
    return path


def sidecars(folder: Path, share: float) -> Path:
    """100 subtitle files of 1 MiB each."""
    path = film(folder / "crowded.mp4", 8, (320, 180), 10)
    cues = "".join(
        f"{n}\n00:00:0{n % 8},000 --> 00:00:0{n % 8},900\nLine {n} of far too many\n\n" for n in range(20_000)
    )
    for n in range(100):
        (folder / f"crowded.{chr(97 + n // 10)}{chr(97 + n % 10)}.srt").write_text(cues[: round(share * 2**20)])
    return path


GIANTS: dict[str, Callable[[Path, float], Path]] = {f.__name__: f for f in (hour, wide, gif, sidecars)}


def _held(pid: int) -> int:
    """Most bytes that a process has held, 0 where the system does not tell."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return 1024 * int(status.split("VmHWM:")[1].split()[0]) if "VmHWM:" in status else 0


def _children(pid: int) -> list[int]:
    try:
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def rated(path: Path) -> dict[str, object]:
    """Wall time, memory of the process and of its decoder in MiB, and what came of it."""
    command = [sys.executable, "-m", "mllm_avqa", "rate", str(path), "--json", "--max-seconds", "600"]
    begin, parent, decoder = time.perf_counter(), 0, 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        out = err = None
        while out is None:
            parent = max(parent, _held(process.pid))
            decoder = max([decoder, *map(_held, _children(process.pid))])
            try:
                out, err = process.communicate(timeout=0.05)
            except subprocess.TimeoutExpired:
                continue
    seconds = round(time.perf_counter() - begin, 1)
    table: dict[str, object] = {"bytes": os.path.getsize(path), "seconds": seconds, "exit": process.returncode}
    table |= {"parent MiB": parent >> 20, "decoder MiB": decoder >> 20}
    if process.returncode:
        return table | {"says": (err or "").strip().splitlines()[-1:]}
    rating = json.loads(out)
    scores = {k: v["score"] for k, v in rating["scores"].items() if v}
    return table | {"windows": len(rating["windows"]), "scores": scores, "warnings": rating["warnings"]}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.abuse giants", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[*GIANTS, []])
    parser.add_argument("--small", action="store_true")
    given = parser.parse_args(arguments)
    for name in given.names or GIANTS:
        with TemporaryDirectory() as folder:
            print(json.dumps({name: rated(GIANTS[name](Path(folder), 0.01 if given.small else 1))}), flush=True)
    return 0
