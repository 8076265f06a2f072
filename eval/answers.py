"""Stage-1 questions (which fault, how severe, when ...) and explanations of held-out clips."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from eval.held_out import HeldOut, Judge
from eval.options import answer_pool, best, choice, option_scores
from mllm_avqa.model.explain import MOST_TOKENS, check_claims, write
from mllm_avqa.schema.rating import Rating
from mllm_avqa.schema.records import Record

ENDINGS = ".!?。！？"


def wilson(hits: int, n: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927)."""
    z, p = 1.959964, hits / n
    middle, half = p + z * z / (2 * n), z * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    return max(0.0, (middle - half) / (1 + z * z / n)), min(1.0, (middle + half) / (1 + z * z / n))


class StageOne:
    """Accuracy by task, read from option log-probabilities; beside it chance and the commonest answer's share."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.pool = answer_pool(records)
        self.hits: dict[str, list[tuple[bool, float, str]]] = {}  # task -> (right, 1 / options, right answer)
        self.unread = 0  # questions with nothing to choose from

    def add(self, judge: Judge, clip: HeldOut, language: str) -> None:
        asked = clip.record.asked(1, language)
        made = [choice(q, self.pool, f"{clip.record.id}/{k}") for k, q in enumerate(asked)]
        choices = [c for c in made if c is not None]
        self.unread += len(made) - len(choices)
        if not choices:
            return
        rater = judge.rater
        segments, media, _ = judge.encode(clip.windows[0], language)
        values = option_scores(rater.backbone, segments, media, choices, rater.card.isolate)
        for c, v in zip(choices, values, strict=True):
            # Letters are shuffled: "the commonest answer" of a lettered question is no answer at all.
            answer = "" if c.lettered else c.options[c.right]
            for key in (c.task, f"{c.task}/{c.aspect}"):
                self.hits.setdefault(key, []).append((best(v) == c.right, 1 / len(c.options), answer))

    def report(self) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key, found in sorted(self.hits.items()):
            n, hits = len(found), sum(h for h, _, _ in found)
            low, high = wilson(hits, n)
            common = Counter(a for _, _, a in found if a).most_common(1)
            out[key] = {
                "accuracy": round(hits / n, 4),
                "low": round(low, 4),
                "high": round(high, 4),
                "chance": round(sum(c for _, c, _ in found) / n, 4),
                "commonest": round(common[0][1] / n, 4) if common else None,
                "n": n,
            }
        return out | ({"unread": self.unread} if self.unread else {})


class Explanations:
    """Are explanations well formed, and does the evidence bear them out?"""

    def __init__(self) -> None:
        self.claims: Counter[str] = Counter()
        self.clips = self.ended = self.empty = 0
        self.examples: list[dict[str, Any]] = []

    def add(self, judge: Judge, clip: HeldOut, language: str) -> None:
        rater = judge.rater
        p = clip.windows[0]
        scores, encoded = judge.corridor.hold(judge.encode(p, language), language)
        text = write(encoded, scores, language, rater.card.lists_faults)
        whole = {a: scores.get(a) for a in rater.card.aspects}
        rating = Rating(
            path=clip.record.media,
            scores=whole,
            missing=p.missing,
            evidence=p.evidence,
            media=p.info,
            language=language,
        )
        claims = check_claims(text, rating, language)
        self.clips += 1
        self.empty += not text
        length = len(rater.backbone.tokenizer(text, add_special_tokens=False).input_ids)
        self.ended += bool(text) and text[-1] in ENDINGS and length < MOST_TOKENS
        self.claims.update(c.support for c in claims)
        if len(self.examples) < 3:
            self.examples.append(
                {"clip": clip.record.id, "text": text, "scores": {a: s.score for a, s in scores.items()}}
            )

    def report(self) -> dict[str, Any]:
        total = sum(self.claims.values())
        shares = {
            kind: round(self.claims[kind] / total, 4) if total else None
            for kind in ("supported", "contradicted", "unverified")
        }
        return {
            "clips": self.clips,
            "claims": total,
            **shares,
            "ended": round(self.ended / self.clips, 4) if self.clips else None,
            "empty": self.empty,
            "examples": self.examples,
        }
