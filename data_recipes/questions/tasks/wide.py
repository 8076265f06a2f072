"""Further questions of stage 1, for larger models: which side, where, between which times, sync, captions.

Sentences are in prompts/tasks.<lang>.yaml. All are of the style "steps" alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from data_recipes.distortions import alike
from data_recipes.questions.facts import (
    GRID,
    LETTERS,
    Words,
    aspects,
    faults_of,
    impact,
    kind_name,
    known,
    lettered,
    make,
    region,
    rounded,
    seconds,
    span_words,
    still,
    time_span,
    whole_clip,
)
from data_recipes.questions.tasks import Task, of_side, sentence, task
from mllm_avqa.model.prompting import load_prompts
from mllm_avqa.schema.records import Distortion, Question, Record

CLEAR = 1.3  # the worst fault takes this many times what the next side's takes, else "which side" has no clear answer
APART = 0.4  # times offered as wrong answers share at most this much (intersection over union) with the right one
INTACT = 0.25  # how often a check is asked when it holds: few clips break it, and yes and no shall come equally often
WHOLE = 0.15  # how often times are asked of a fault that fills the clip, as most do: it shall not be the usual answer
OWN_SOUND = 4  # level from which `unrelated_sound` is the sound of another clip; below it is the clip's own, moved


@dataclass(frozen=True)
class Statement:
    """A yes-no question about a property that some kinds break; asked only when no `unsure` kind is there."""

    aspect: str
    broken: frozenset[str]
    unsure: frozenset[str] = frozenset()
    least: int = 1  # level from which it counts as broken; below nothing is asked


CHECKS: dict[str, Statement] = {
    "match": Statement("sync", frozenset({"unrelated_sound"}), least=OWN_SOUND),
    "on_time": Statement("sync", frozenset({"offset_early", "offset_late", "drift"}), frozenset({"unrelated_sound"})),
    "legible": Statement("text", alike("illegible_text"), frozenset({"missing_caption"})),
    "wording": Statement(
        "text", frozenset({"caption_mismatch"}), frozenset({"missing_caption"}) | alike("illegible_text")
    ),
    "caption_time": Statement("text", frozenset({"caption_offset"}), frozenset({"missing_caption", "caption_speed"})),
    "complete": Statement("text", frozenset({"missing_caption"}), alike("illegible_text")),
}


def check(name: str) -> Task:
    """The task of one entry of `CHECKS`."""
    c = CHECKS[name]

    def ask(record: Record, rng: Random, words: Words) -> Question | None:
        faults = faults_of(record, c.aspect)
        breaking = [d for d in faults if d.kind in c.broken]
        if c.aspect not in known(record) or any(d.kind in c.unsure or d.kind not in KNOWN for d in faults):
            return None
        if any(d.level < c.least for d in breaking) or (not breaking and rng.random() > INTACT):
            return None
        text = rng.choice(load_prompts("tasks", words["language"])["checks"][name])
        answer = words["answers"]["no" if breaking else "yes"]
        span = time_span(record, breaking[0]) if breaking else None
        return make(1, name, c.aspect, words, text, answer, time_span=span)

    return ask


# A kind that no check knows might break any of them.
KNOWN = frozenset[str]().union(*(c.broken | c.unsure for c in CHECKS.values()))


@task("modality", 1.0, bench="what", styles=("steps",))
def modality(record: Record, rng: Random, words: Words) -> Question | None:
    """Which part of the clip has the worst fault?"""
    sides = aspects(record)
    if len(sides) < 2 or len(known(record)) < len(sides):
        return None
    worst = {a: max((impact(record, d) for d in faults_of(record, a)), default=0.0) for a in sides}
    first, second = sorted(worst.values(), reverse=True)[:2]
    none = words["answers"]["none"]
    if first and first < CLEAR * second:
        return None
    right = words["aspects"][max(worst, key=worst.__getitem__)] if first else none
    names = [words["aspects"][a] for a in sides] + ([none] if len(sides) < len(LETTERS) else [])
    if right not in names:
        return None
    return _choice("modality", "overall", record, names, right, rng, words)


@task("time", 1.0, bench="when", styles=("steps",))
@of_side
def time(record: Record, aspect: str, faults: list[Distortion], rng: Random, words: Words) -> Question | None:
    """Between which times is it there? Four times to choose from."""
    length = seconds(record)
    if not faults or still(record) or length < 4 * GRID:
        return None
    one = rng.choice(faults)
    if sum(d.kind == one.kind for d in faults) > 1:
        return None
    right = rounded(one, length)
    if whole_clip(one.kind) or (right is None and rng.random() > WHOLE):
        return None
    steps = int(length / GRID)
    spans = [(a * GRID, b * GRID) for a in range(steps) for b in range(a + 1, steps + 1) if b - a < steps]
    whole: list[tuple[float, float] | None] = [None] if right is not None else []
    wrong = [s for s in spans if _shared(s, right, length) <= APART]
    if len(wrong) < 3:
        return None
    picked = [*whole, *rng.sample(wrong, 3 - len(whole))]
    texts = [_span(s, words) for s in picked]
    answer = span_words(record, one, words)
    return _choice("time", aspect, record, [answer, *texts], answer, rng, words, one)


@task("where", 1.0, bench="where", styles=("steps",))
def where(record: Record, rng: Random, words: Words) -> Question | None:
    """In which region of the picture is it? For faults whose parameters name one."""
    placed = [d for d in record.distortions if d.modality == "video" and region(d) and "video" in record.labels]
    if not placed:
        return None
    one = rng.choice(placed)
    if sum(d.kind == one.kind for d in placed) > 1:
        return None
    regions = load_prompts("tasks", words["language"])["regions"]
    right = regions[region(one)]
    names = [right, *rng.sample([r for r in regions.values() if r != right], 3)]
    return _choice("where", "video", record, names, right, rng, words, one)


@task("sync", 1.0, bench="how", styles=("steps",))
def sync(record: Record, rng: Random, words: Words) -> Question | None:
    """Is the sound early, late, drifting, of something else or right?"""
    if "sync" not in known(record):
        return None
    faults = faults_of(record, "sync")
    answers = load_prompts("tasks", words["language"])["sync"]
    if len(faults) > 1 or any(d.kind not in answers for d in faults):
        return None
    if any(d.kind == "unrelated_sound" and d.level < OWN_SOUND for d in faults):
        return None
    key = faults[0].kind if faults else "right"
    if key == "right" and rng.random() > INTACT:
        return None
    others = rng.sample([a for k, a in answers.items() if k != key], len(LETTERS) - 1)
    return _choice("sync", "sync", record, [answers[key], *others], answers[key], rng, words)


def _shared(a: tuple[float, float], b: tuple[float, float] | None, length: float) -> float:
    """Intersection over union of two spans; None is the whole clip."""
    start, end = b or (0.0, length)
    both = max(0.0, min(a[1], end) - max(a[0], start))
    return both / (max(a[1], end) - min(a[0], start))


def _span(span: tuple[float, float] | None, words: Words) -> str:
    if span is None:
        return str(words["span"]["whole"])
    return str(words["span"]["part"].format(start=f"{span[0]:g}", end=f"{span[1]:g}"))


def _choice(
    name: str, aspect: str, record: Record, names: list[str], right: str, rng: Random, words: Words,
    fault: Distortion | None = None,
) -> Question:  # fmt: skip
    """The names in random order as options of the task's question."""
    names = list(names)
    rng.shuffle(names)
    options = lettered(names, words)
    named = kind_name(fault.kind, words) if fault else ""
    text = sentence(name, rng, words, aspect, kind=named, options=words["joints"]["options"].join(options))
    span = time_span(record, fault) if fault and name == "where" else None
    return make(1, name, aspect, words, text, options[names.index(right)], options=options, time_span=span)


for _name in CHECKS:
    task(_name, 0.6, styles=("steps",))(check(_name))
