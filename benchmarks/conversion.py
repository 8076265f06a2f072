"""Record files: reading against a plain loop over JSON lines, Parquet against `datasets.Dataset.from_list`.

Ours checks every field and holds one row group; the peers check nothing and, with `datasets`, hold everything.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.base import Cost, Measured, Options, Ratio, child, medians

RECORDS = 4000
MEMORY = (4000, 40_000)  # records
CHILD = """
import resource, sys
from pathlib import Path
way, source, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
if way == "ours":
    from data_recipes.formats import convert
    convert(source, out)
else:
    import json, datasets
    with source.open(encoding="utf-8") as f:
        datasets.Dataset.from_list([json.loads(line) for line in f]).to_parquet(str(out))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def run(settings: Options) -> Measured:
    import datasets

    from data_recipes.formats import convert, stream
    from mllm_avqa.schema.records import read_records

    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory() as folder:
        source = make_records(Path(folder) / "r.jsonl", RECORDS)
        ours, theirs = Path(folder) / "ours.parquet", Path(folder) / "theirs.parquet"

        def lines() -> Iterator[dict[str, Any]]:
            with source.open(encoding="utf-8") as f:
                yield from map(json.loads, f)

        cost = medians(
            {
                "read": lambda: sum(1 for _ in read_records(source)),
                "read, peer": lambda: sum(1 for _ in lines()),
                "write": lambda: convert(source, ours),
                "write, peer": lambda: datasets.Dataset.from_list(list(lines())).to_parquet(str(theirs)),
                "load": lambda: sum(1 for _ in stream(ours)),
                "load, peer": lambda: sum(1 for _ in datasets.Dataset.from_parquet(str(theirs), cache_dir=folder)),
            },
            settings.repeats,
        )
        rows = [
            _row("JSONL to checked records / json.loads per line", cost["read"], cost["read, peer"], "<= 3"),
            _row(
                "JSONL to Parquet / datasets.Dataset.from_list.to_parquet", cost["write"], cost["write, peer"], "<= 4"
            ),
            _row("Parquet to checked records / rows of datasets.Dataset", cost["load"], cost["load, peer"]),
        ]
        peaks = {}
        for n in MEMORY:
            part = make_records(Path(folder) / f"{n}.jsonl", n)
            peaks[n] = {way: child(CHILD, way, part, Path(folder) / f"{way}.parquet")[0] for way in ("ours", "peer")}
        few, many = (peaks[n] for n in MEMORY)
        growth = {way: many[way] - few[way] for way in ("ours", "peer")}
        rows.append(
            Ratio(
                f"JSONL to Parquet: growth of peak RSS from {MEMORY[0]:,} to {MEMORY[1]:,} records",
                f"{growth['ours']:.0f} MB",
                f"{growth['peer']:.0f} MB",
                growth["ours"] / growth["peer"],
                "<= 0.25",
            )
        )
    notes = [
        f"{RECORDS:,} made records of 8 questions each; CPU seconds decide, {settings.repeats} repeats.",
        "json.loads and `datasets` check nothing; ours validates every field and names file and line of a wrong one.",
    ]
    return Measured("Conversion", rows, notes)


def _row(what: str, ours: Cost, peer: Cost, target: str | None = None) -> Ratio:
    speed, peer_speed = (f"{RECORDS / c.cpu:,.0f} records/s" for c in (ours, peer))
    return Ratio(f"{what}, CPU time", speed, peer_speed, ours.cpu / peer.cpu, target)


def make_records(path: Path, n: int) -> Path:
    """A record file like those of the recipes: two faults, four labels, eight questions a clip."""
    from mllm_avqa.schema.records import Distortion, Label, Question, Record, write_records

    def record(i: int) -> Record:
        fault = Distortion(kind="hum", modality="audio", level=1 + i % 5, start=0, end=3, parameters={"hz": i / n})
        faults = [fault, fault.model_copy(update={"kind": "gblur", "modality": "video", "parameters": {"how": "x"}})]
        asked = [
            Question(stage=1, task="severity", aspect="video", question=f"How severe is fault {j}?", answer="strong")
            for j in range(8)
        ]
        labels = {a: Label(mean=1 + i % 4, std=0.7, pseudo=True) for a in ("overall", "video", "audio", "sync")}
        return Record(
            id=f"clip-{i:06d}", media=f"clips/{i:06d}.mp4", start=0, end=3, dataset="made", group=f"g{i // 4}",
            split="train", labels=labels, distortions=faults, context={"user": "some words"}, questions=asked,
        )  # fmt: skip

    write_records(path, map(record, range(n)))
    return path
