"""`python clock.py TICKS.jsonl [--span MODULE:CLASS.METHOD ...] MODULE ARGUMENT ...` = `python -m MODULE ARGUMENT ...`,
with a line in TICKS after every training step of `transformers.Trainer`: what it was given and what has been spent so
far, start-up and all. Our training and a peer's are timed by this one file; it needs nothing but transformers.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import runpy
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any


def living_children() -> list[int]:
    """Process ids of this process's children (all threads)."""
    found: list[int] = []
    for path in Path("/proc/self/task").glob("*/children"):
        with suppress(FileNotFoundError):  # a thread that ended meanwhile; its children now belong to another one
            found += [int(pid) for pid in path.read_text().split()]
    return found


def spent() -> float:
    """CPU seconds of this process, its threads and its children, living (workers of a data loader) or ended."""
    own = os.times()
    total = time.process_time() + own.children_user + own.children_system
    tick = os.sysconf("SC_CLK_TCK")
    for pid in living_children():
        with suppress(FileNotFoundError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / tick  # utime, stime
    return total


def given(inputs: Any) -> dict[str, int]:
    """Rows, tokens (padding counted) and picture patches of a batch, at whatever depth its tensors lie."""
    out = {"rows": 0, "tokens": 0, "patches": 0}
    if isinstance(inputs, Mapping):
        for name, value in inputs.items():
            if name == "input_ids":
                out["rows"] += len(value)
                out["tokens"] += value.numel()
            elif name == "pixel_values_videos" and value is not None:
                out["patches"] += len(value)
            else:
                out = {k: n + m for (k, n), m in zip(out.items(), given(value).values(), strict=True)}
    return out


def timed(method: Callable[..., Any], spans: dict[str, float], name: str) -> Callable[..., Any]:
    """`method` that adds its CPU seconds to `spans`."""
    spans[name] = 0.0

    @functools.wraps(method)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        begin = time.process_time()
        try:
            return method(*args, **kwargs)
        finally:
            spans[name] += time.process_time() - begin

    return wrapped


def watch(ticks: Path, wanted: list[str]) -> None:
    """Patch the trainer, and the methods in `wanted`, before anything is trained."""
    from transformers import Trainer
    from transformers.trainer_callback import CallbackHandler

    spans: dict[str, float] = {}
    for place in wanted:
        module, _, path = place.partition(":")
        owner, _, method = path.rpartition(".")
        cls = getattr(importlib.import_module(module), owner)
        setattr(cls, method, timed(getattr(cls, method), spans, path))
    seen = {"rows": 0, "tokens": 0, "patches": 0}
    train, ended = Trainer.training_step, CallbackHandler.on_step_end
    first = os.environ.get("RANK", "0") == "0"

    def training_step(self: Any, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        for name, n in given(inputs).items():
            seen[name] += n
        return train(self, model, inputs, *args, **kwargs)

    def on_step_end(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        if first:
            line = {"step": state.global_step, "wall": time.perf_counter(), "cpu": spent(), **seen, "spans": spans}
            with ticks.open("a", encoding="utf-8") as f:
                f.write(json.dumps(line) + "\n")
        return ended(self, args, state, control, **kwargs)

    Trainer.training_step = training_step  # type: ignore[method-assign]
    CallbackHandler.on_step_end = on_step_end  # type: ignore[method-assign]


def main() -> None:
    _, ticks, *rest = sys.argv
    wanted = []
    while rest[0] == "--span":
        wanted.append(rest[1])
        rest = rest[2:]
    sys.path[0] = os.getcwd()  # as `python -m` has it
    watch(Path(ticks), wanted)
    sys.argv = rest
    runpy.run_module(rest[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
