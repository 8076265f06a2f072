"""Descriptions in other words, written by a language model, refused where they state other facts.

Finished texts are kept in `<out>.rewrites.jsonl` while the work lasts: an interrupted call goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from data_recipes.questions.reading import read
from mllm_avqa.model.endpoint import Endpoint, each
from mllm_avqa.model.prompting import load_prompts
from mllm_avqa.schema.records import Record, read_records, relocation, write_records

ATTEMPTS = 2  # answers asked for before the original is kept
LONGEST = 3.0  # a rewrite may be this many times as long as the original

Text = tuple[str, str]  # language, description


def rewrite_records(source: Path, out: Path, server: Endpoint, jobs: int = 4) -> dict[str, int]:
    """Copy records with descriptions reworded; returns how many texts were rewritten, kept and why, and failed.

    rewritten: states the same facts in other words. changed: every answer changed a type, severity, time, level or
    number. empty: no usable answer. unclear: not sent, a sentence grades several faults at once and could not be
    checked. failed: the server did not answer; the texts are tried again by the next call.

    Only whole descriptions are sent: `description` and the answers of stage 3. `out` is written once, at the end, and
    may be `source`. Raises ConfigError when the server refuses the request as such.
    """
    texts = sorted({text for record in read_records(source) for text in _texts(record)})
    journal = RewriteJournal(out.with_name(out.name + ".rewrites.jsonl"), server.model)
    counts: Counter[str] = Counter(rewritten=0, changed=0, empty=0, unclear=0, failed=0)
    open_texts = []
    for text in texts:
        if not read(text[1], text[0]).clear:
            counts["unclear"] += 1
        elif text not in journal:
            open_texts.append(text)
    journal.path.parent.mkdir(parents=True, exist_ok=True)
    counts["failed"] = len(open_texts) - _ask(open_texts, server, journal, jobs)
    for text in texts:
        if text in journal:
            counts[journal.verdict(text)] += 1
    place = relocation(source.parent, out.parent)
    write_records(out, (_reworded(r, journal, place) for r in read_records(source)))
    if not counts["failed"]:
        journal.path.unlink(missing_ok=True)
    return {"texts": len(texts), **counts}


def reword(server: Endpoint, text: Text) -> tuple[str, str | None]:
    """One text: its verdict ("rewritten", "changed", "empty") and, if rewritten, the new words."""
    language, original = text
    prompts = load_prompts("rewrite", language)
    facts, verdict = read(original, language), "empty"
    for _ in range(ATTEMPTS):
        answer = server.chat(prompts["system"], prompts["user"].format(text=original))
        new = " ".join(answer.split()) if answer else ""
        if not new or len(new) > LONGEST * len(original):
            continue
        if facts.difference(read(new, language)) is None:
            return "rewritten", new
        verdict = "changed"
    return verdict, None


class RewriteJournal:
    """Finished texts, one JSON line each, keyed by model, prompt and text: another model asks anew."""

    def __init__(self, path: Path, model: str) -> None:
        self.path, self.model = path, model
        self._done: dict[str, tuple[str, str | None]] = {}
        if path.is_file():
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    row = json.loads(line)
                    self._done[row["key"]] = (row["verdict"], row["text"])
                except (ValueError, KeyError, TypeError):
                    continue  # the line that an interruption cut

    def _key(self, text: Text) -> str:
        version = load_prompts("rewrite", text[0])["version"]
        return hashlib.sha256("\0".join((self.model, version, *text)).encode()).hexdigest()[:24]

    def __contains__(self, text: Text) -> bool:
        return self._key(text) in self._done

    def verdict(self, text: Text) -> str:
        return self._done[self._key(text)][0]

    def words(self, text: Text) -> str:
        """The new words of a text, or the text itself."""
        return self._done.get(self._key(text), ("", None))[1] or text[1]

    def add(self, text: Text, verdict: str, new: str | None) -> None:
        self._done[self._key(text)] = (verdict, new)
        row = {"key": self._key(text), "verdict": verdict, "text": new}
        with self.path.open("a", encoding="utf-8") as f:
            f.write(json.dumps(row, ensure_ascii=False) + "\n")


def _ask(texts: list[Text], server: Endpoint, journal: RewriteJournal, jobs: int) -> int:
    """Send the texts, at most `jobs` at a time; returns how many were answered."""
    answered = 0
    for text, found in each(texts, lambda t: reword(server, t), jobs):
        if not isinstance(found, Exception):
            journal.add(text, *found)
            answered += 1
    return answered


def _texts(record: Record) -> Iterator[Text]:
    if record.description:
        yield "en", record.description
    for q in record.questions:
        if q.task == "describe":
            yield q.language, q.answer


def _reworded(record: Record, journal: RewriteJournal, place: Callable[[str], str]) -> Record:
    asked = [
        q.model_copy(update={"answer": journal.words((q.language, q.answer))}) if q.task == "describe" else q
        for q in record.questions
    ]
    description = record.description and journal.words(("en", record.description))
    changed = {"questions": asked, "description": description, "media": place(record.media)}
    return record.model_copy(update=changed)
