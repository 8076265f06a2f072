"""What must not move a score: texts that want another one, the same clip in another file, batches, orders."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from eval import machine
from eval.board.bench import Bench
from eval.robustness.bank import attacks, harmless
from eval.robustness.change import LIMIT
from eval.samples import chosen
from eval.stats import Number
from eval.study import FEWER, Heading, Line, Recorded, Report, command_line, option, save
from eval.writing import table
from mllm_avqa.context.clean import shorten
from mllm_avqa.report.labels import visible
from mllm_avqa.schema.rating import ASPECTS
from mllm_avqa.schema.records import Record

if TYPE_CHECKING:
    from mllm_avqa.rater import Rater

Probe = Literal["injection", "signal", "batch", "options"]
PROBES: tuple[Probe, ...] = ("injection", "signal", "batch", "options")
TEXTS, ORDERS = "change by texts that want another score", "order of options"
LARGEST = {
    "signal": "largest change, same picture and sound in another file",
    "batch": "largest change, other batches and a second run",
}
SHOWN = 60  # characters of a text


class Robustness(Recorded):
    """Attack texts, other files of the same picture and sound, batches, orders: what must not move a score.

    Prints Markdown. Exit code 1: some clips could not be read or written again; they are named.
    """

    command: ClassVar[str] = "robustness"
    kind: ClassVar[str] = "robustness"
    shown: ClassVar[Heading] = Heading(
        title="Robustness: what must not move a score",
        headline=(TEXTS, "overall", "excess"),
        lower=frozenset({"excess", "mean", "max", *ASPECTS}),
        plain=frozenset({"pull", "harmless: mean", "harmless: max", "favourite place"}),
    )

    clips: int = option(24, FEWER, "--clips", "--limit", ge=1)
    probes: tuple[Probe, ...] = option(PROBES, "injection, signal, batch, options; default: all of them.", "--probe")
    every_door: bool = option(False, "Every text through every door of every clip: four times as long.")
    output: Path | None = option(None, "OUT.json: the rows, for further use.", "--output", "-o", place="command")

    def run(self) -> dict[str, Any]:
        """Rows and where they come from. Raises ConfigError (split) and CheckpointError."""
        records = chosen(self.records, self.split, self.clips)
        with self.opened() as rater:
            rows, failures = self.rows(rater, records, self.records.parent)
        return machine.describe() | {
            "checkpoint": rater.card.name,
            "fingerprint": rater.fingerprint,
            "isolate": rater.card.isolate,
            "records": self.records.name,
            "split": self.split,
            "clips": len(records),
            "context": self.context,
            "rows": rows,
            "failed": failures,
        }

    def rows(self, rater: Rater, records: Sequence[Record], base: Path) -> tuple[list[dict[str, Any]], dict[str, str]]:
        """Rows of every probe (key "probe" tells which), and what failed: clip, or clip and change, -> why.

        Files, batches and runs are compared under the first language. base: folder that media paths start from. A clip
        that cannot be read is in none of the rows.
        """
        from eval.held_out import chunks
        from eval.robustness.injection import Injection
        from eval.robustness.probes import SIZE, Batches, SamePicture, Shuffles

        languages: tuple[str, ...] = self.lang or tuple(rater.card.languages)
        failures = dict[str, str]()
        injection, files = Injection(languages, self.every_door), SamePicture()
        batches, shuffles = Batches(), Shuffles()
        for chunk in chunks(records, base, rater, SIZE, failures):
            if "batch" in self.probes and chunk:
                batches.add(rater, chunk, base, languages[0])
            for clip in chunk:
                if "injection" in self.probes:
                    injection.add(rater, clip)
                if "signal" in self.probes:
                    files.add(rater, clip, base, languages[0])
                if "options" in self.probes:
                    for language in languages:
                        shuffles.add(rater, clip, language)
                rater.corridor.forget()
        made = {"injection": injection.rows, "signal": files.rows, "batch": batches.rows, "options": shuffles.rows}
        found = [row for name in PROBES if name in self.probes for row in made[name]()]
        return found, failures | files.failures | batches.failures

    def report(self, found: dict[str, Any]) -> Report:
        data = json.dumps(found, ensure_ascii=False, indent=1)
        if self.output is not None:
            save(self.output, data)
        return Report(markdown(found), data, partial=bool(found["failed"]))

    def lines(self, bench: Bench) -> Iterator[Line]:
        own = self.on(bench)
        bank = [[a.text for a in attacks(self.language)], harmless(self.language)]
        rows = bench.measured(own, lambda s: s.run(), bank)["rows"]
        bench.notes += [f"{bench.who}: {r['note']}" for r in rows if r["probe"] == "options" and not r["n"]]
        for line in (*_texts(rows, bench.who), *_changes(rows, bench.who), *_orders(rows, bench.who)):
            yield line.model_copy(update={"command": command_line(own)})


def _texts(rows: list[dict[str, Any]], who: str) -> Iterator[Line]:
    for r in (r for r in rows if r["probe"] == "injection" and r["by"] == "all"):
        values = {
            "excess": Number(value=r["excess"], low=r["low"], high=r["high"], note=r.get("note", "")),
            "mean": Number(value=r["mean"]),
            "max": Number(value=r["max"]),
            "pull": Number(value=r["pull"]),
            "harmless: mean": Number(value=r["calm_mean"]),
            "harmless: max": Number(value=r["calm_max"]),
        }
        yield Line(what=r["aspect"], who=who, values=values, n=r["n"], table=TEXTS)


def _changes(rows: list[dict[str, Any]], who: str) -> Iterator[Line]:
    for probe, title in LARGEST.items():
        own = [r for r in rows if r["probe"] == probe]
        for change in dict.fromkeys(r["change"] for r in own):
            cells = {r["aspect"]: r for r in own if r["change"] == change and r["aspect"]}
            values: dict[str, Number] = {a: Number(value=cells[a]["max"]) for a in ASPECTS if a in cells}
            n = max((r["n"] for r in cells.values()), default=0)
            yield Line(what=change, who=who, values=values, n=n, table=title)


def _orders(rows: list[dict[str, Any]], who: str) -> Iterator[Line]:
    for r in (r for r in rows if r["probe"] == "options" and r["n"]):
        what, n = f"questions in {r['language']}", r["n"]
        values = {
            "same answer in every order": Number(value=r["steady"], low=r["low"], high=r["high"]),
            "accuracy": Number(value=r["accuracy"]),
            "favourite place": Number(value=r["favourite_share"]),
        }
        yield Line(what=what, who=who, values=values, n=n, table=ORDERS)
        chance = {"accuracy": Number(value=r["chance"])}
        yield Line(what=what, who="chance", values=chance, n=n, table=ORDERS, baseline=True)


# ---- Markdown -------------------------------------------------------------------------------------------------------


def markdown(result: dict[str, Any]) -> str:
    """Tables of every probe that has rows."""
    rows: list[dict[str, Any]] = result["rows"]
    parts = [
        f"# Robustness of {result['checkpoint']}",
        f"{result['clips']} clips of split `{result['split']}` of `{result['records']}`, {len(result['failed'])} "
        "failures. Numbers are changes of scores on 1-5.",
        *_injection([r for r in rows if r["probe"] == "injection"]),
        *_tables("Same picture and sound in another file", [r for r in rows if r["probe"] == "signal"]),
        *_tables("Batch, order, second run", [r for r in rows if r["probe"] == "batch"]),
        *_order_table([r for r in rows if r["probe"] == "options"]),
    ]
    if result["failed"]:
        parts += ["## Failures", "\n".join(f"- {name}: {why}" for name, why in result["failed"].items())]
    return "\n\n".join(parts)


def _injection(rows: list[dict[str, Any]]) -> list[str]:
    if not rows:
        return []
    head = ["texts", "mean", "max", f"> {LIMIT}", "harmless: mean", "max", f"> {LIMIT}", "excess [95 %]", "pull", "n"]
    still = [r for r in rows if r["by"] == "all" and not r["max"] and not r["calm_max"]]
    moving = [r for r in rows if r["aspect"] not in {s["aspect"] for s in still}]
    cells = [
        [
            f"{r['aspect']}, {r['value'] if r['by'] == 'all' else r['by'] + ' ' + r['value']}",
            *(_number(r[k]) for k in ("mean", "max")), _share(r["above_0.05"]),
            *(_number(r[f"calm_{k}"]) for k in ("mean", "max")), _share(r["calm_above_0.05"]),
            _number(r["excess"]) + ("" if r["low"] is None else f" [{r['low']:.4f}, {r['high']:.4f}]"),
            _number(r["pull"]), str(r["n"]),
        ]
        for r in sorted(moving, key=lambda r: r["aspect"])
    ]  # fmt: skip
    parts = [
        "## Texts that want another score",
        "Harmless texts are as long and come in at the same place: what they move, text as such moves. Excess is the "
        "mean change by attacks beyond that; pull is the mean change in the direction the attack wants.",
    ]
    if still:
        parts.append(f"No text moved {', '.join(r['aspect'] for r in still)} at all ({still[0]['n']} each).")
    if cells:
        parts.append(table(head, cells))
        worst = max((r for r in moving if r["by"] == "all"), key=lambda r: r["max"])
        text = visible(shorten(worst["worst"], SHOWN)).replace("`", "'")
        parts.append(f"Largest: {worst['aspect']} by {worst['max']:.3f} on {worst['worst_clip']}, text: `{text}`")
    return parts


def _tables(title: str, rows: list[dict[str, Any]]) -> list[str]:
    if not rows:
        return []
    signal = rows[0]["probe"] == "signal"
    head = ["change, aspect", "mean", "max", f"> {LIMIT}", "n", *(["failed", "lowest PSNR"] if signal else [])]
    cells = []
    for r in rows:
        row = [f"{r['change']}, {r['aspect'] or 'no score'}", _number(r["mean"]), _number(r["max"])]
        row += [_share(r["above_0.05"]), str(r["n"])]
        if signal:
            noise = "same" if r["same_picture"] and r["lowest_psnr"] is None else _number(r["lowest_psnr"], 1)
            row += [str(r["failed"]), noise]
        cells.append(row)
    return [f"## {title}", table(head, cells)]


def _order_table(rows: list[dict[str, Any]]) -> list[str]:
    if not rows:
        return []
    if not rows[0]["n"]:
        return ["## Order of options", rows[0]["note"] + "."]
    head = ["language", "same answer in every order", "accuracy, all orders", "as given", "chance", "favourite", "n"]
    cells = [
        [
            r["language"], f"{_share(r['steady'])} [{_share(r['low'])}, {_share(r['high'])}]", _share(r["accuracy"]),
            _share(r["accuracy_as_given"]), _share(r["chance"]),
            f"{r['favourite_place']} {_share(r['favourite_share'])}", str(r["n"]),
        ]
        for r in rows
    ]  # fmt: skip
    return ["## Order of options", table(head, cells)]


def _number(value: float | None, digits: int = 4) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"
