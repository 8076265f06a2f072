"""Benchmark results as Markdown, with date, hardware and versions."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.base import Measured, Options, Ratio
from eval import machine
from eval.writing import table

HEAD = ("what", "ours", "peer", "ratio", "target")


def render(reports: Sequence[Measured], settings: Options) -> str:
    m = machine.describe(settings.threads)
    versions = m["versions"]
    assert isinstance(versions, dict)  # machine.versions returns a dict
    parts = [
        "# Benchmarks",
        f"{m['date']}, {m['hardware']}"
        + (f", {m['gpu']}" if m["gpu"] else "")
        + f", {m['threads']} model threads; commit {m['commit'] or 'unknown'}; "
        + ", ".join(f"{k} {v}" for k, v in versions.items())
        + f". Checkpoint `{settings.checkpoint.rstrip('/').rsplit('/', 1)[-1]}`, clip `{settings.clip.name}`.",
        "Ratios are taken within one run on one machine.",
    ]
    for r in reports:
        parts += [f"## {r.title}", table(HEAD, [_cells(row) for row in r.rows]), "\n".join(f"- {n}" for n in r.notes)]
    return "\n\n".join(parts)


def _cells(row: Ratio) -> list[str]:
    verdict = {True: " met", False: " **missed**", None: ""}[row.met]
    return [row.what, row.ours, row.peer, f"{row.ratio:.2f}", (row.target or "–") + verdict]
