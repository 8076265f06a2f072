"""`Scorer`: scored windows of a file become its `Rating`, with one checkpoint, language and way of looking."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial

from mllm_avqa import __version__
from mllm_avqa.corridor import Corridor, Encoded, Scores, lowest
from mllm_avqa.media.opening import show
from mllm_avqa.model.explain import MOST_TOKENS, check_claims, write, write_freely
from mllm_avqa.model.findings import Asked, measured, settled
from mllm_avqa.model.prompting import load_prompts
from mllm_avqa.model.remedies import remedies
from mllm_avqa.model.scoring import EncodedClip
from mllm_avqa.model.views import withheld
from mllm_avqa.rater.lasting import AskedWindow, lasting, on_average, weighed_parts
from mllm_avqa.schema.calibration import Calibration
from mllm_avqa.schema.card import Card
from mllm_avqa.schema.measurement import Measurement
from mllm_avqa.schema.names import SIDES, Withheld
from mllm_avqa.schema.rating import ASPECTS, Rating, ScoreDistribution, Window
from mllm_avqa.whole import Overview
from mllm_avqa.whole.score import RULE, Looked, lowered, weigh
from mllm_avqa.windows import Prepared, Seconds, worst_evidence

log = logging.getLogger(__name__)


@dataclass
class Scorer:
    """weights: hash of what is loaded; without: what the model is kept from; free_text: explanations as it likes."""

    corridor: Corridor
    card: Card
    weights: str
    reader: str
    language: str = "en"
    without: tuple[Withheld, ...] = ()
    free_text: bool = False
    full_pass: bool = True  # over files before their windows are chosen

    def fingerprint(self, context: str) -> dict[str, str]:
        """Equal fingerprints mean comparable scores."""
        prompts = repr(load_prompts("rating", self.language))
        settings = f"{self.card.scoring}{context}{self.reader}{','.join(self.without)}{RULE * self.full_pass}"
        return {
            "model": self.card.name,
            "weights": self.weights,
            "prompts": hashlib.sha256(prompts.encode()).hexdigest()[:12],
            "views": hashlib.sha256(settings.encode()).hexdigest()[:12],
            "package": __version__,
        }

    @cached_property
    def calibration(self) -> Calibration | None:
        """Intervals of the scores, when the card has them for these very weights."""
        found = self.card.calibration
        if found is not None and found.weights != self.weights:
            log.warning("%s: its intervals belong to other weights and are left out", self.card.name)
            return None
        return found

    def encode(self, window: Prepared) -> Encoded:
        return self.corridor.encode(withheld(window, self.without), self.language)

    def rating(
        self,
        path: str,
        digest: str,
        windows: list[tuple[Prepared, Scores]],
        seconds: Seconds,
        context: str,
        clip: EncodedClip | None,
        explain: bool,
        seen: Overview,
        lists: Sequence[Sequence[Asked]] = (),
    ) -> Rating:
        """The rating of a file from its scored windows.

        digest: `content_hash`; clip: the worst of them, held; lists: of the faults of each (`Corridor.lists`).
        """
        first = windows[0][0]
        scores: dict[str, ScoreDistribution | None] = {}
        missing: dict[str, str] = {}
        weighing = weigh(seen, [Looked(p.start, p.end, p.chosen, frozenset(s)) for p, s in windows])
        found = self.corridor.pool([s for _, s in windows], weighing.stands_for)
        found |= {a: lowered(found[a], w) for a, w in weighing.moved.items() if a in found}
        for aspect in ASPECTS:
            scores[aspect] = pooled = found.get(aspect)
            if pooled is not None and self.calibration is not None:
                pooled.interval = self.calibration.interval(pooled, aspect, self.language)
            if pooled is None:
                missing[aspect] = first.missing.get(aspect, f"{self.card.name} does not score this aspect")
        warnings = list(dict.fromkeys([*seen.warnings, *(w for p, _ in windows for w in p.warnings)]))
        held: Sequence[float | None] = weighing.stands_for or [None] * len(windows)
        rating = Rating(
            path=show(path),
            scores=scores,
            missing=missing,
            windows=[_window(p, s, alone) for (p, s), alone in zip(windows, held, strict=True)],
            coverage=weighing.coverage,
            whole=weighing.whole,
            evidence=weighing.evidence(worst_evidence(p.evidence for p, _ in windows)),
            context=first.context,
            media=first.info,
            warnings=warnings,
            inputs={
                "context": context,
                "windows": [p.views.notes for p, _ in windows],
                **({"without": list(self.without)} if self.without else {}),
            },
            fingerprint=self.fingerprint(context),
            content_hash=digest,
            language=self.language,
        ).told()
        seconds.add({"pass": seen.seconds} if seen.whole is not None else {})
        if clip is not None and found:  # where nothing was judged, there is nothing to find or to explain
            held_at = lowest([s for _, s in windows])
            p, own = windows[held_at]
            with seconds.of("explain"):
                parts = [
                    AskedWindow(w.start, w.end, w.evidence, own) for (w, _), own in zip(windows, lists, strict=False)
                ]
                self.find(rating, clip, (p.start, p.end), parts)
                asked = lists[held_at] if lists else ()
                self.advise(rating, clip, withheld(p, self.without).evidence, own, asked)
                if explain:
                    self.explain(rating, clip)
        rating.seconds = seconds.rounded()
        return rating

    def lists(self, clip: EncodedClip, window: Prepared, scores: Scores) -> list[Asked]:
        """What a held window says of its faults."""
        return self.corridor.lists(clip, [s for s in SIDES if s in scores], self.language, window.end - window.start)

    def find(
        self, rating: Rating, clip: EncodedClip, span: tuple[float, float], parts: Sequence[AskedWindow] = ()
    ) -> None:
        """Put findings into a rating: those of a held window, which lies at `span` of the clip, at all their times.

        parts: all windows of the clip, where they were asked; else times are those of the held one.
        """
        rules = self.card.findings
        parts = weighed_parts(parts, rating, rules)
        if self.card.lists_faults:
            lists = next((p.asked for p in parts if (p.start, p.end) == span), None)
            found, rating.withdrawn = self.corridor.findings(clip, rating, span, lists)
            found = on_average(parts, found, rating, rules)
        else:
            found = measured(rating, rules)
        if rating.whole is not None and rating.coverage is not None and not rating.coverage.whole:
            known = {f.kind for f in found}  # the whole file's faults, which the window need not show
            found += [f for f in measured(rating, rules, rating.whole.facts) if f.kind not in known]
        several = len(rating.windows) > 1
        if several:  # "throughout" was said of one window
            found = [f.model_copy(update={"span": f.span or span}) if f.origin == "model" else f for f in found]
        found, refuted = settled(found, rating)
        rating.withdrawn = [*rating.withdrawn, *refuted]
        if several:
            found = [lasting(f, parts, rating, rules) for f in found]
        rating.findings = found

    def advise(
        self,
        rating: Rating,
        clip: EncodedClip,
        facts: Sequence[Measurement],
        scores: Scores,
        lists: Sequence[Asked] = (),
    ) -> None:
        """Put remedies into a rating that has its findings. facts, scores, lists: of the held window."""
        otherwise = partial(self.corridor.otherwise, clip, facts, language=rating.language)
        rating.remedies = remedies(rating, facts, scores, otherwise, lists, self.card.findings)

    def explain(self, rating: Rating, clip: EncodedClip, max_tokens: int = MOST_TOKENS) -> None:
        """Put an explanation into a rating that has its findings, and check its claims."""
        if self.free_text:
            text = write_freely(clip, rating.scores, rating.language, self.card.lists_faults, max_tokens)
        else:
            text = write(partial(self.corridor.likelihoods, clip), rating, rating.language)
        told = check_claims(text, rating, rating.language)
        rating.claims = [c for c in told if c.support != "contradicted"]
        if len(rating.claims) < len(told):  # what a fact refutes does not reach the text
            rating.withdrawn = [*rating.withdrawn, *(c for c in told if c.support == "contradicted")]
            joint = load_prompts("explain", rating.language)["joints"]["sentences"]
            text = joint.join(c.text for c in rating.claims)
        rating.explanation = text


def _window(p: Prepared, scores: Scores, stands_for: float | None) -> Window:
    own: dict[str, ScoreDistribution | None] = {a: scores.get(a) for a in ASPECTS}
    return Window(start=round(p.start, 3), end=round(p.end, 3), scores=own, chosen=p.chosen, stands_for=stands_for)
