"""Questions for a whole record file: yes and no in balance, no two descriptions alike, comparisons of two clips."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any, Literal

from data_recipes.questions import Language, Style, describe_clip, questions
from data_recipes.questions.stage2 import pairs
from mllm_avqa.model.prompting import load_prompts
from mllm_avqa.schema.records import Question, Record, read_records, relocation, write_records

Stage = Literal[1, 2, 3]
SLACK = 2  # by how many the answers yes and no of one task may differ
DRAWS = 3  # candidates per question that is kept, so that balance has something to choose from
REDRAWS = 20  # attempts at a description that was not written before


@dataclass
class Balance:
    """Takes yes-no questions only while their task keeps as many yes as no, give or take `SLACK`."""

    counts: dict[tuple[str, str], Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def takes(self, question: Question) -> bool:
        """Whether the question may join the set; counts it when it may."""
        return self.takes_answer((question.task, question.language), question.answer, question.language)

    def takes_answer(self, key: tuple[str, str], answer: str, language: str) -> bool:
        """The same for an answer counted under `key`. Answers other than yes and no are always taken."""
        answers = load_prompts("questions", language)["answers"]
        sides = (answers["yes"], answers["no"])
        if answer not in sides:
            return True
        counted = self.counts[key]
        if counted[answer] >= counted[sides[1 - sides.index(answer)]] + SLACK:
            return False
        counted[answer] += 1
        return True


def write_questions(
    source: Path,
    out: Path,
    counts: Mapping[Stage, int],
    languages: Sequence[Language] = ("en", "zh"),
    style: Style = "steps",
    pair_count: int = 0,
    seed: int = 0,
) -> dict[str, Any]:
    """Copy records with fresh questions; returns numbers about them.

    counts:     questions per stage and language for every record.
    pair_count: comparisons per language over the whole file, stored with their first clip.

    Questions of these stages and languages replace those that were there; all comparisons are replaced. Media paths are
    rewritten to stay right from the folder of `out`. A record's `description` is set where it had none. Equal
    arguments give equal files. Raises ConfigError for a file that cannot be read and for unknown kinds or options.
    """
    asked: dict[str, list[Question]] = defaultdict(list)
    if pair_count:
        everything = list(read_records(source))
        for language in languages:
            for first, _, question in pairs(everything, Random(f"{seed}/pairs/{language}"), language, pair_count):
                asked[first.id].append(question)
    counted = _Numbers()
    written = write_records(out, _filled(source, out, counts, languages, style, seed, asked, counted))
    return {"records": written, **counted.report()}


def _filled(
    source: Path,
    out: Path,
    counts: Mapping[Stage, int],
    languages: Sequence[Language],
    style: Style,
    seed: int,
    compared: Mapping[str, list[Question]],
    counted: _Numbers,
) -> Iterator[Record]:
    balance, said = Balance(), set[str]()
    place = relocation(source.parent, out.parent)
    for record in read_records(source):
        rng = Random(f"{seed}/{record.id}")
        replaced = {(stage, language) for stage in counts for language in languages}
        made = [q for q in record.questions if (q.stage, q.language) not in replaced and q.other is None]
        for language in languages:
            for stage, count in sorted(counts.items()):
                if stage == 3:
                    made += _described(record, rng, language, count, style, said)
                else:
                    candidates = questions(record, rng, language, stage, DRAWS * count if stage == 1 else count, style)
                    kept = (q for q in candidates if balance.takes(q))
                    made += islice(kept, count)
        made += compared.get(record.id, [])
        for q in made:
            counted.add(q)
        description = record.description
        if description is None and 3 in counts and "overall" in record.labels:
            description = describe_clip(record, rng, "en", style)
        changed = {"questions": made, "description": description, "media": place(record.media)}
        yield record.model_copy(update=changed)


def _described(
    record: Record, rng: Random, language: Language, count: int, style: Style, said: set[str]
) -> list[Question]:
    """Stage-3 questions whose description of the whole clip was not written before, if that can be had."""
    made: list[Question] = []
    for _ in range(REDRAWS):
        made = questions(record, rng, language, 3, count, style)
        if not any(q.answer in said for q in made if q.aspect == "overall"):
            break
    said.update(q.answer for q in made if q.aspect == "overall")
    return made


class _Numbers:
    """How often which task, answer and option letter came."""

    def __init__(self) -> None:
        self.tasks: Counter[str] = Counter()
        self.answers: dict[str, Counter[str]] = defaultdict(Counter)
        self.places: Counter[str] = Counter()
        self.texts: Counter[str] = Counter()

    def add(self, q: Question) -> None:
        answers = load_prompts("questions", q.language)["answers"]
        self.tasks[f"{q.stage}/{q.task}"] += 1
        for name in ("yes", "no"):
            if q.answer == answers[name]:
                self.answers[q.task][name] += 1
        if q.options and len(q.options) > 2 and q.stage == 1:
            self.places["ABCD"[q.options.index(q.answer)]] += 1
        if q.stage == 3 and q.aspect == "overall":
            self.texts[q.answer] += 1

    def report(self) -> dict[str, Any]:
        return {
            "questions": sum(self.tasks.values()),
            "tasks": dict(sorted(self.tasks.items())),
            "yes": {t: round(c["yes"] / sum(c.values()), 3) for t, c in sorted(self.answers.items())},
            "places": dict(sorted(self.places.items())),
            "repeated_descriptions": sum(n - 1 for n in self.texts.values()),
        }
