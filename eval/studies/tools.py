"""No-reference tools that people use today, as baselines: their numbers for the clips of a record file.

Each is an optional package whose weights lie in its wheel. None of them is needed by anything else.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import typer

from eval.samples import chosen
from eval.stats import Number, agreement
from eval.study import FEWER, SPLIT, Report, Study, argument, option
from eval.writing import signed, table, write_csv
from mllm_avqa.schema.clip import Clip, DecodeSpec
from mllm_avqa.schema.errors import AvqaError, ConfigError
from mllm_avqa.schema.records import Record

log = logging.getLogger(__name__)
LONGEST = 60.0  # seconds of a clip that are looked at
Measure = Callable[[Clip], float]


class Tools(Study):
    """Measure existing tools on the clips of a record file. Exit code 1: some clips could not be measured."""

    command: ClassVar[str] = "tools"

    records: Path = argument("Record file (.jsonl).")
    tool: tuple[str, ...] = option(..., "dnsmos (optional package); may be repeated.")
    split: str = option("test", SPLIT)
    clips: int | None = option(None, FEWER, "--limit", ge=1)
    output: Path | None = option(None, "OUT.csv: id, path and a column per tool, for `correlate`.", "--output", "-o")
    draws: int = option(1000, "Draws of the bootstrap.", ge=100)

    def run(self) -> dict[str, Any]:
        """Raises ConfigError for a tool that does not exist or is not installed, OutputError."""
        names = list(dict.fromkeys(self.tool))
        records = chosen(self.records, self.split, self.clips)
        numbers, failed = measure_all(records, self.records.parent, open_tools(names))
        found = agreements(records, numbers, names, self.draws)
        if self.output is not None:
            rows = ([r.id, r.media, *(numbers[r.id].get(n, "") for n in names)] for r in records)
            write_csv(self.output, ["id", "path", *names], rows)
            typer.echo(f"wrote {len(records)} clips to {self.output}", err=True)
        return {"tools": found, "failed": failed}

    def report(self, found: dict[str, Any]) -> Report:
        return Report(markdown(found["tools"]), json.dumps(found, indent=1), failed=found["failed"])


@dataclass(frozen=True)
class Tool:
    """A tool and how to get it. open() loads its weights; the measure raises ValueError for a clip it can not judge."""

    name: str
    aspect: str
    falls: bool  # lower is better
    packages: tuple[str, ...]  # modules that have to be importable
    install: str
    source: str
    open: Callable[[], Measure]


def _dnsmos() -> Measure:
    from speechmos import dnsmos

    from mllm_avqa.media.resample import to_mono

    def measure(clip: Clip) -> float:
        if clip.audio is None:
            raise ValueError(clip.absent.get("audio", "no sound"))
        samples = np.clip(to_mono(clip.audio.samples, clip.audio.rate), -1, 1)  # it refuses anything beyond
        if not len(samples):
            raise ValueError("the sound is empty")
        return float(dnsmos.run(samples, 16000)["ovrl_mos"])

    return measure


TOOLS: dict[str, Tool] = {
    t.name: t
    for t in (
        Tool(
            "dnsmos", "audio", False, ("speechmos", "librosa"), "pip install 'mllm-avqa[dnsmos]'",
            "DNSMOS P.835 overall, Reddy et al., ICASSP 2022; speech, 16 kHz", _dnsmos,
        ),
    )
}  # fmt: skip


def missing(tool: Tool) -> list[str]:
    """Packages of a tool that are not installed."""
    return [p for p in tool.packages if find_spec(p) is None]


def open_tools(names: Sequence[str]) -> dict[str, Measure]:
    """Loaded measures by name. Raises ConfigError for an unknown tool, and for one that is not installed, with how."""
    out = {}
    for name in names:
        if name not in TOOLS:
            raise ConfigError(f"tool {name!r} does not exist; allowed: {', '.join(TOOLS)} (--tool)")
        absent = missing(TOOLS[name])
        if absent:
            raise ConfigError(f"{name} needs {', '.join(absent)}, not installed: {TOOLS[name].install} (--tool)")
        out[name] = TOOLS[name].open()
    return out


def measure_all(
    records: Sequence[Record], base: Path, measures: dict[str, Measure]
) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    """(numbers as the tools give them, by record id and tool; what failed and why, by "<id>, <tool>" or id)."""
    from mllm_avqa.media import MediaReader

    numbers: dict[str, dict[str, float]] = {r.id: {} for r in records}
    failed: dict[str, str] = {}
    with MediaReader() as reader:
        for n, r in enumerate(records, 1):
            start = r.start or 0.0
            spec = DecodeSpec(
                start=start,
                duration=min(LONGEST, (r.end - start) if r.end is not None else LONGEST),
                video=any(TOOLS[t].aspect != "audio" for t in measures),
            )
            try:
                clip = reader.read_clip(base / r.media, spec)
            except AvqaError as e:
                failed[r.id] = f"{e.kind}: {e}".replace(f"{base}/", "")
                continue
            for name, measure in measures.items():
                try:
                    numbers[r.id][name] = measure(clip)
                except ValueError as e:
                    failed[f"{r.id}, {name}"] = str(e)
            if n % 100 == 0:
                log.info("%d of %d clips", n, len(records))
    return numbers, failed


def agreements(
    records: Sequence[Record], numbers: dict[str, dict[str, float]], names: Sequence[str], draws: int = 1000
) -> list[dict[str, object]]:
    """A row per tool and labelled aspect it is meant for (its own, and overall): tool, aspect and the agreement."""
    out: list[dict[str, object]] = []
    for name in names:
        sign = -1.0 if TOOLS[name].falls else 1.0
        for aspect in (TOOLS[name].aspect, "overall"):
            labelled = [r for r in records if aspect in r.labels]
            scored = [r for r in labelled if name in numbers[r.id]]
            found = agreement(
                [sign * numbers[r.id][name] for r in scored],
                [r.labels[aspect].mean_five for r in scored],
                groups=[r.group for r in scored],
                total=len(labelled),
                draws=draws,
            )
            out.append({"tool": name, "aspect": aspect, "source": TOOLS[name].source} | found.model_dump())
    return out


def markdown(found: Sequence[Mapping[str, Any]]) -> str:
    """Agreement of every tool with the labels of its aspect and of the whole clip."""
    rows = []
    for v in found:
        numbers = [Number(**v[k]) for k in ("srcc", "krcc", "plcc", "plcc_mapped", "rmse")]
        cells = [signed(x, interval=k == 0) for k, x in enumerate(numbers)]
        rows.append([f"{v['aspect']}, {v['tool']}", *cells, f"{v['n']} of {v['m']}", str(v["groups"])])
    head = ["aspect, tool", "SRCC [95 % CI]", "KRCC", "PLCC raw", "PLCC", "RMSE", "n", "contents"]
    sources = dict.fromkeys(f"{v['tool']}: {v['source']}." for v in found)
    return "\n\n".join([table(head, rows), *sources])
