"""An exam for judges: can this one be trusted with a fault, a bit rate, a text that wants a score, a long film?"""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import av
import numpy as np

from eval import judges
from eval.joining.rows import read_rows
from eval.judges import Given, Judge, score_of
from eval.robustness.bank import attacks
from eval.samples import chosen
from eval.stats import partial_spearman, spearman
from eval.store import Json
from eval.studies.ladders import ENCODERS, RATE, LadderSource, Rung, violations
from eval.study import SPLIT, Rated, Report, argument, option
from eval.writing import table
from mllm_avqa.model.endpoint import Endpoint
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.records import Record

FELL = 0.1  # points by which a needle must lower the score of a long clip to count as seen
CLEAN = 4.0  # labels of what long clips are made of
FAULTY = 2.2  # label of a needle
PIECES = 8  # of three seconds in a long clip
SIDES = ("video", "audio")


class Exam(Rated):
    """Put a judge to the test on clips with known faults: a checkpoint, a chat server, or a file of its ratings.

    Parts: order within one source, cross-talk of picture and sound, the same clip twice, width of intervals, hostile
    texts, bitrate order, and a bad moment in a long clip. A file of ratings can only be asked for the first two.
    """

    command: ClassVar[str] = "exam"

    records: Path = argument("Clips with labels and known faults, as `data_recipes synth` writes them.")
    split: str = option("test", SPLIT)
    endpoint: str | None = option(None, "Address of a chat server instead of a checkpoint.", place="command")
    model: str = option("", "Its model; with --ratings: of columns ASPECT_MODEL (`features`).", place="command")
    key_env: str | None = option(None, "Environment variable with its key.", place="command")
    ratings: Path | None = option(None, "Rows of `score` or of another judge, by path, instead.", place="command")
    beside: tuple[str, ...] = option(
        (), "One more judge in the table, repeatable: a checkpoint, FILE or FILE#MODEL of ratings, URL#MODEL.",
        place="command", metavar="JUDGE",
    )  # fmt: skip
    contents: int = option(12, "Sources to take, with all their clips up to eight.", ge=1, place="command")
    clips: int = option(6, "Clips for texts, bit rates and long clips.", ge=1, place="command")

    def run(self) -> Json:
        """Rows of the exam, of this judge and of those beside it. Raises ConfigError for a judge that is none."""
        if sum(x is not None for x in (self.endpoint, self.ratings)) > 1:
            raise ConfigError("one judge at a time: --endpoint or --ratings; others stand --beside it")
        return self._sat() | {"beside": [self._other(text)._sat() for text in self.beside]}

    def _other(self, text: str) -> Exam:
        """The same exam for another judge."""
        who, _, model = text.partition("#")
        asked = {"endpoint": None, "ratings": None, "model": model, "beside": ()}
        if who.startswith(("http://", "https://")):
            return self.model_copy(update=asked | {"endpoint": who})
        if Path(who).is_file():
            return self.model_copy(update=asked | {"ratings": Path(who)})
        return self.model_copy(update=asked | {"checkpoint": who})

    def _sat(self) -> Json:
        records = _spread(chosen(self.records, self.split, None), self.contents)
        failed: dict[str, str] = {}
        rows: list[Json] = []
        with self._judge() as (name, judge):
            base = self.records.parent
            given = {r.id: g for r in records if (g := score_of(judge, base / r.media, failed)) is not None}
            rows += _order(records, given)
            rows += _cross(records, given)
            rows += _widths(given)
            if self.ratings is None:
                some = [r for r in records if r.id in given][: self.clips]
                rows += _twice(some, given, judge, base, failed)
                rows += _texts(some, given, judge, base, failed)
                with tempfile.TemporaryDirectory() as folder:
                    rows += _ladders(_clean(records)[: self.clips], judge, base, Path(folder), failed)
                    rows += _needles(records, judge, base, Path(folder), self.clips, failed)
        return {"judge": name, "clips": len(given), "rows": rows, "failed": failed}

    def report(self, found: Json) -> Report:
        sat = [found, *found["beside"]]
        head = ["part", "what", "better", *(f"{j['judge']}, {j['clips']} clips" for j in sat)]
        asked = {(r["part"], r["what"]): r["better"] for j in sat for r in j["rows"]}
        values = [{(r["part"], r["what"]): f"{r['value']} ({r['n']})" for r in j["rows"]} for j in sat]
        cells = [[*key, better, *(v.get(key, "–") for v in values)] for key, better in asked.items()]
        failed = {f"{j['judge']}: {name}": why for j in sat for name, why in j["failed"].items()}
        return Report(f"{table(head, cells)}\n\nIn brackets: of how many.", json.dumps(found, indent=1), [], failed)

    @contextmanager
    def _judge(self) -> Iterator[tuple[str, Judge]]:
        if self.ratings is not None:
            rows = {str(r["path"]): r for r in read_rows(self.ratings) if r.get("path")}
            name = f"{self.model} of {self.ratings.name}" if self.model else self.ratings.name
            yield name, judges.ratings(rows, self.ratings.parent, self.model)
        elif self.endpoint is not None:
            server = Endpoint.open(self.endpoint, self.model, self.key_env)
            yield f"{self.model} at {self.endpoint}", judges.server(server)
        else:
            with self.opened() as rater:
                yield f"{rater.card.name} ({rater.weights})", judges.checkpoint(rater)


def _row(part: str, what: str, value: float | None, better: str, n: int) -> Json:
    return {"part": part, "what": what, "value": None if value is None else round(value, 3), "better": better, "n": n}


def _spread(records: Sequence[Record], contents: int) -> list[Record]:
    """Up to eight clips of each of the sources that have most of them, evenly over their labels."""
    by: dict[str, list[Record]] = defaultdict(list)
    for r in records:
        by[r.group].append(r)
    out: list[Record] = []
    for own in sorted(by.values(), key=len, reverse=True)[:contents]:
        own.sort(key=lambda r: min((lb.score for lb in r.labels.values()), default=3.0))
        at = np.unique(np.linspace(0, len(own) - 1, min(8, len(own))).round().astype(int))
        out += [own[i] for i in at]
    return out


def _order(records: Sequence[Record], given: dict[str, Given]) -> Iterator[Json]:
    """Mean Spearman within a source: content is held constant, only faults and levels differ."""
    for side in SIDES:
        by: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for r in records:
            if r.id in given and side in r.labels and side in given[r.id].scores:
                by[r.group].append((r.labels[side].score, given[r.id].scores[side]))
        found = []
        for pairs in by.values():
            label, score = np.array(pairs).T
            if len(pairs) >= 4 and np.ptp(label) > 0:
                found.append(spearman(score, label) if np.ptp(score) > 0 else 0.0)
        yield _row("order within a source", f"{side}, mean Spearman", float(np.mean(found)) if found else None,
                   "higher", len(found))  # fmt: skip


def _cross(records: Sequence[Record], given: dict[str, Given]) -> Iterator[Json]:
    """How much the label of the other side shows in a score, its own label held constant."""
    both = [
        (r.labels["video"].score, r.labels["audio"].score, g.scores["video"], g.scores["audio"])
        for r in records
        if (g := given.get(r.id)) and set(SIDES) <= r.labels.keys() and set(SIDES) <= g.scores.keys()
    ]
    if len(both) < 10:
        return
    v, a, sv, sa = np.array(both).T
    for what, leak in (("audio in video", partial_spearman(sv, a, v)), ("video in audio", partial_spearman(sa, v, a))):
        # nothing is left where the own label explains a score whole
        yield _row("cross-talk", what, float(np.nan_to_num(abs(leak))), "lower", len(both))


def _widths(given: dict[str, Given]) -> Iterator[Json]:
    for side in ("overall", *SIDES):
        widths = [g.widths[side] for g in given.values() if side in g.widths]
        if widths:
            yield _row("interval", f"{side}, mean width for 90 %", float(np.mean(widths)), "lower", len(widths))


def _moves(a: Given, b: Given) -> list[float]:
    return [abs(a.scores[x] - b.scores[x]) for x in a.scores.keys() & b.scores.keys()]


def _twice(
    some: Sequence[Record], given: dict[str, Given], judge: Judge, base: Path, failed: dict[str, str]
) -> Iterator[Json]:
    again = [(r, g) for r in some if (g := score_of(judge, base / r.media, failed)) is not None]
    moved = [m for r, g in again for m in _moves(given[r.id], g)]
    if moved:
        yield _row("same clip twice", "largest change", max(moved), "lower", len(again))


def _texts(
    some: Sequence[Record], given: dict[str, Given], judge: Judge, base: Path, failed: dict[str, str]
) -> Iterator[Json]:
    moved: list[float] = []
    for k, attack in enumerate(attacks("en")[:: max(1, len(attacks("en")) // 12)]):
        r = some[k % len(some)] if some else None
        told = score_of(judge, base / r.media, failed, attack.text) if r is not None else None
        if r is not None and told is not None and "overall" in told.scores and "overall" in given[r.id].scores:
            moved.append(abs(told.scores["overall"] - given[r.id].scores["overall"]))
    if moved:
        yield _row("hostile texts", "overall, mean change", float(np.mean(moved)), "lower", len(moved))
        yield _row("hostile texts", "overall, largest change", max(moved), "lower", len(moved))


def _clean(records: Sequence[Record]) -> list[Record]:
    return [r for r in records if not r.distortions or min(lb.score for lb in r.labels.values()) >= CLEAN]


def _ladders(some: Sequence[Record], judge: Judge, base: Path, folder: Path, failed: dict[str, str]) -> Iterator[Json]:
    rungs: list[Rung] = []
    for n, r in enumerate(some):
        material = LadderSource.read(base / r.media)
        for name in ("x264", "opus"):
            for path, asked in material.ladder(ENCODERS[name], folder / f"{n}-{name}", failed):
                found = score_of(judge, path, failed)
                score = found.scores.get(ENCODERS[name].aspect) if found is not None else None
                bits = 8.0 * path.stat().st_size
                rungs.append(Rung(source=r.id, encoder=name, asked=asked, bits=bits, score=score))
    for told in violations(rungs):
        yield _row("bitrate order", f"{told.encoder}, pairs in the wrong order", told.share, "lower", told.pairs)


def _needles(
    records: Sequence[Record], judge: Judge, base: Path, folder: Path, most: int, failed: dict[str, str]
) -> Iterator[Json]:
    """A long clip of clean pieces, and the same with one bad piece in it: does its score fall?"""
    clean = [r for r in _clean(records) if set(SIDES) <= r.labels.keys()][:PIECES]
    bad = sorted((r for r in records if "video" in r.labels), key=lambda r: r.labels["video"].score)
    bad = [r for r in bad if r.labels["video"].score <= FAULTY][: max(1, most // 2)]
    if len(clean) < 3 or not bad:
        return
    pieces = [LadderSource.read(base / r.media) for r in clean]
    pieces = (pieces * PIECES)[:PIECES]
    join(pieces, folder / "clean.mp4")
    before = score_of(judge, folder / "clean.mp4", failed)
    falls: list[float] = []
    for n, r in enumerate(bad):
        at = 1 + n % (PIECES - 2)
        join([*pieces[:at], LadderSource.read(base / r.media), *pieces[at + 1 :]], path := folder / f"needle-{n}.mp4")
        after = score_of(judge, path, failed)
        if before is not None and after is not None and {"video"} <= before.scores.keys() & after.scores.keys():
            falls.append(before.scores["video"] - after.scores["video"])
    if falls:
        seen = float(np.mean([f >= FELL for f in falls]))
        yield _row("needle in a long clip", f"video falls by {FELL:g} or more", seen, "higher", len(falls))


def join(pieces: Sequence[LadderSource], path: Path) -> None:
    """One clip of several, pictures in the size and rate of the first."""
    first = next(p for p in pieces if p.frames)
    width, height, fps = first.frames[0].width, first.frames[0].height, first.fps
    with av.open(str(path), "w") as out:
        picture: Any = out.add_stream("libx264", rate=fps, options={"crf": "16", "preset": "veryfast"})
        picture.width, picture.height, picture.pix_fmt = width, height, "yuv420p"
        sound: Any = out.add_stream("aac", rate=RATE, layout="stereo")
        sound.bit_rate = 192_000
        n = 0
        for piece in pieces:
            for frame in piece.frames:
                shown = frame.reformat(width, height, format="yuv420p")
                shown.pts, shown.time_base, shown.pict_type = n, 1 / fps, 0
                n += 1
                out.mux(picture.encode(shown))
        out.mux(picture.encode(None))
        heard = np.concatenate([p.sound for p in pieces if p.sound is not None], axis=1)
        for at in range(0, heard.shape[1], 1024):
            block = av.AudioFrame.from_ndarray(np.ascontiguousarray(heard[:, at : at + 1024]), "fltp", "stereo")
            block.sample_rate, block.pts = RATE, at
            out.mux(sound.encode(block))
        out.mux(sound.encode(None))
