"""What an answer that a model wrote is worth: its claims against the record of faults, its levels, its length."""

from __future__ import annotations

from mllm_avqa.model.claims import read_claims
from mllm_avqa.model.truth import PLAIN, Pair, check, has_faults_listed, listed
from mllm_avqa.schema.names import SIDES
from mllm_avqa.schema.records import Question, Record

TASKS = ("list", "describe")  # of the questions whose answers can be held against a record
KIND, SEVERITY, SPAN = 0.6, 0.2, 0.2  # of a fault that is named as the record has it
SHARED = 0.5  # of that for a plain word that covers several kinds: a hedge
WRONG_SIDE = 0.5  # of that for a fault that is said to be on another side
LENIENT = 1.5  # times the length of the record's own answer may be used
UNTRUE, LEVELS, LONG = 0.25, 0.25, 0.25  # taken off: "no fault" where one is plain, levels of no score, words too many


def rewardable(record: Record, language: str, missing: dict[str, str]) -> list[Question]:
    """Questions of the record whose answers it can judge: of one side, that is there and whose faults are all known."""
    if not has_faults_listed(record):
        return []
    found = [q for task in TASKS for q in record.asked(3, language, task)]
    return [q for q in found if q.aspect in SIDES and q.aspect not in missing and listed(record, str(q.aspect))]


def reward(text: str, ended: bool, question: Question, record: Record, levels: dict[str, str]) -> float:
    """-0.75 to 1. levels: by aspect, the words of the scores that the text has to agree with; ended: it was not cut.

    What is named as the record has it counts twice over what is claimed and what there is (Dice): so naming everything
    loses precision, saying nothing recall, and two claims for one fault are one too many.
    """
    side = question.aspect
    there = [d for d in record.distortions if d.modality == side]
    claims = read_claims(text, question.language)
    found = check(claims, record.model_copy(update={"distortions": there}))
    claimed = len(found.pairs) + len(found.wrong) + len(found.open)
    named = 2 * sum(map(_worth, found.pairs)) / (claimed + len(there)) if claimed or there else 0.0
    clean = [c for c in claims.clean if not c.absent]
    if not claimed and not there:
        named = float(bool(clean))  # to say nothing is not to say that nothing is wrong
    plain = [d for d in there if d.level >= PLAIN]
    fine = any(c.side in (None, side) for c in clean)
    untrue = bool(plain) and (fine or any(f.denied and f.kinds & {d.kind for d in plain} for f in claims.said))
    said = [lv for lv in claims.levels if lv.aspect in levels]
    off = sum((lv.word == levels[lv.aspect]) is lv.denied for lv in said) / max(1, len(said))
    long = min(1.0, max(0.0, len(text) / max(1, len(question.answer)) - LENIENT)) if ended else 1.0
    return named - UNTRUE * untrue - LEVELS * off - LONG * long


def _worth(p: Pair) -> float:
    close = 0.0 if p.severity_off is None else max(0.0, 1 - p.severity_off / 2)
    right = KIND + SEVERITY * close + SPAN * (p.overlap or 0.0)
    return right * (SHARED if len(p.claim.kinds) > 1 else 1.0) * (1.0 if p.side else WRONG_SIDE)


def weights(rewards: list[float], method: str) -> list[float]:
    """How much each answer of one group is learnt from.

    grpo: how far it lies above the group's mean, in its standard deviations (arXiv 2402.03300, equation of outcome
    supervision); best_of: 1 for the best, the others are rejected. A group of equals teaches nothing.
    """
    mean = sum(rewards) / len(rewards)
    spread = (sum((r - mean) ** 2 for r in rewards) / len(rewards)) ** 0.5
    if spread < LEAST:
        return [0.0] * len(rewards)
    if method == "best_of":
        best = max(range(len(rewards)), key=rewards.__getitem__)
        return [float(k == best) for k in range(len(rewards))]
    return [(r - mean) / (spread + FLOOR) for r in rewards]


LEAST = 1e-4  # spread of a group that is none
FLOOR = 0.05  # keeps differences that hardly matter from being blown up
