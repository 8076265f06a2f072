"""What a model card asks of every clip: independence, hostile texts, stage-1 questions, explanations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from eval.held_out import HeldOut, Scores
from eval.questions.readout import answer_pool, best, choice, option_scores
from eval.robustness.bank import quick
from eval.stats import Number, number, partial_spearman, residual_spearman, spearman, wilson
from mllm_avqa.context.clean import fit
from mllm_avqa.model.claims import read_claims
from mllm_avqa.model.explain import MOST_TOKENS
from mllm_avqa.model.truth import check, has_faults_listed
from mllm_avqa.model.views import Views
from mllm_avqa.rater import Rater
from mllm_avqa.schema.rating import Rating
from mllm_avqa.schema.records import Record
from mllm_avqa.schema.text import TextContext, TextItem
from mllm_avqa.windows import Prepared

ENDINGS = ".!?。！？"
MODERATE = 3  # level of a fault from which a text has to name it


class StageOne:
    """Accuracy by task, read from option log-probabilities; beside it chance and the commonest answer's share."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.pool = answer_pool(records)
        self.hits: dict[str, list[tuple[bool, float, str]]] = {}  # task -> (right, 1 / options, right answer)
        self.unread = 0  # questions with nothing to choose from

    def add(self, rater: Rater, clip: HeldOut, language: str) -> None:
        asked = clip.record.asked(1, language)
        made = [choice(q, self.pool, f"{clip.record.id}/{k}") for k, q in enumerate(asked)]
        choices = [c for c in made if c is not None]
        self.unread += len(made) - len(choices)
        if not choices:
            return
        segments, media, _ = rater.corridor.encode(clip.windows[0], language, remember=True)
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
    """Are explanations well formed, do evidence and record bear them out, and do they name what is wrong?"""

    def __init__(self) -> None:
        self.claims: Counter[str] = Counter()
        self.record: Counter[str] = Counter()
        self.withdrawn = 0
        self.clips = self.ended = self.empty = 0
        self.examples: list[dict[str, Any]] = []

    def add(self, rater: Rater, clip: HeldOut, language: str) -> None:
        p = clip.windows[0]
        scores, encoded = rater.corridor.hold(rater.corridor.encode(p, language, remember=True), language)
        whole = {a: scores.get(a) for a in rater.card.aspects}
        rating = Rating(
            path=clip.record.media,
            scores=whole,
            missing=p.missing,
            evidence=p.evidence,
            media=p.info,
            language=language,
        )
        rater.find(rating, encoded, (p.start, p.end))
        rater.explain(rating, encoded)
        text, claims = rating.explanation or "", rating.claims
        self.clips += 1
        self.empty += not text
        length = len(rater.backbone.tokenizer(text, add_special_tokens=False).input_ids)
        cut = rater.scorer.free_text and length >= MOST_TOKENS  # what is written by slots has no limit to run into
        self.ended += bool(text) and text[-1] in ENDINGS and not cut
        self.claims.update(c.support for c in claims)
        self.withdrawn += len(rating.withdrawn)
        if has_faults_listed(clip.record):
            found = check(read_claims(text, language), clip.record)
            named = [p.fault for p in found.pairs if p.side]
            self.record.update(
                statements=found.statements,
                contradicted=len(found.contradicted),
                faults=sum(d.level >= MODERATE for d in clip.record.distortions),
                named=sum(d.level >= MODERATE for d in named),
            )
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
            "withdrawn": round(self.withdrawn / (total + self.withdrawn), 4) if total + self.withdrawn else None,
            "record": dict(self.record),
            "ended": round(self.ended / self.clips, 4) if self.clips else None,
            "empty": self.empty,
            "examples": self.examples,
        }


def lines(name: str) -> list[str]:
    """A few texts of the bank: `name` is "attacks" or "harmless"."""
    return quick()[name]


# ---- halo ---------------------------------------------------------------------------------------------------------


def independence(rows: Sequence[tuple[dict[str, float], dict[str, float], str]]) -> dict[str, Any]:
    """Rows are (scores, labels, group) of one clip each. Numbers over clips that have a picture and a sound.

    residual: SRCC(audio score - video score, audio label - video label). partial "x|y": rank correlation of score x and
    label x with label y held constant. leak "x>y|x": score x with label y, label x held constant; near 0 when score x
    speaks of x alone. cross: SRCC of every score with every label.
    """
    both = [r for r in rows if all(a in r[0] and a in r[1] for a in ("video", "audio"))]
    groups = [g for _, _, g in both]
    s = {a: np.array([r[0][a] for r in both]) for a in ("video", "audio")}
    t = {a: np.array([r[1][a] for r in both]) for a in ("video", "audio")}
    result: dict[str, Any] = {"n": len(both)}
    if not both:
        return result | {"note": "no clip has scores and labels of both picture and sound"}
    result["labels"] = _plain(number(spearman, t["audio"], t["video"], groups=groups))
    result["scores"] = _plain(number(spearman, s["audio"], s["video"], groups=groups))
    differences = [s["audio"] - s["video"], t["audio"] - t["video"]]
    if number(spearman, *differences).value is None:
        result["residual"] = _plain(number(spearman, *differences))
    else:
        result["residual"] = _plain(
            number(residual_spearman, s["audio"], s["video"], t["audio"], t["video"], groups=groups)
        )
    result["partial"] = {
        f"{x}|{y}": _plain(number(partial_spearman, s[x], t[x], t[y], groups=groups))
        for x, y in (("video", "audio"), ("audio", "video"))
    }
    result["leak"] = {
        f"{x}>{y}|{x}": _plain(number(partial_spearman, s[x], t[y], t[x], groups=groups))
        for x, y in (("video", "audio"), ("audio", "video"))
    }
    cross: dict[str, dict[str, Any]] = {}
    for x in sorted({a for r in rows for a in r[0]}):
        for y in sorted({a for r in rows for a in r[1]}):
            pairs = [(r[0][x], r[1][y]) for r in rows if x in r[0] and y in r[1]]
            if pairs:
                got = number(spearman, *np.array(pairs).T)
                cross.setdefault(x, {})[y] = {"srcc": got.value, "n": len(pairs)}
    result["cross"] = cross
    return result


def _plain(n: Number) -> dict[str, Any]:
    return n.model_dump(exclude_defaults=True)


# ---- cross-talk ---------------------------------------------------------------------------------------------------


def graft(p: Prepared, donor: Prepared, modality: str) -> Prepared:
    """`p` with the donor's sound (or picture) and the facts about it; facts about timing hold for neither and go."""
    v, d = p.views, donor.views
    if modality == "audio":
        views = Views(v.whole, v.fragments, d.sound, v.seconds_per_pair)
    else:
        views = Views(d.whole, d.fragments, v.sound, d.seconds_per_pair)
    kept = [m for m in p.evidence if m.modality not in (modality, "sync")]
    return replace(p, views=views, evidence=kept + [m for m in donor.evidence if m.modality == modality])


class CrossTalk:
    """Collects score changes while chunks go by: same picture, another clip's sound, and the reverse."""

    def __init__(self) -> None:
        self.changes: dict[str, list[tuple[float, float]]] = {"audio": [], "video": []}  # (touched, untouched)
        self.alone = 0  # clips without a partner of other content in their chunk

    def add(self, rater: Rater, chunk: Sequence[HeldOut], language: str) -> None:
        whole = [c for c in chunk if not {"video", "audio"} & set(c.windows[0].missing)]
        before = rater.corridor.score_windows([c.windows[0] for c in whole], language)
        for touched, untouched in (("audio", "video"), ("video", "audio")):
            pairs = [(i, j) for i in range(len(whole)) if (j := _partner(whole, i)) is not None]
            self.alone += len(whole) - len(pairs)
            swapped = [graft(whole[i].windows[0], whole[j].windows[0], touched) for i, j in pairs]
            for (i, _), after in zip(pairs, rater.corridor.score_windows(swapped, language), strict=True):
                if touched in after and untouched in after:
                    self.changes[touched].append(
                        (_change(before[i], after, touched), _change(before[i], after, untouched))
                    )

    def report(self) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for touched, untouched in (("audio", "video"), ("video", "audio")):
            pairs = np.array(self.changes[touched]).reshape(-1, 2)
            entry: dict[str, Any] = {"n": len(pairs)}
            if len(pairs):
                mean, most = pairs.mean(0), pairs.max(0)
                entry[f"{touched}_change"] = {"mean": round(float(mean[0]), 5), "max": round(float(most[0]), 5)}
                entry[f"{untouched}_change"] = {"mean": round(float(mean[1]), 5), "max": round(float(most[1]), 5)}
                entry["untouched_over_touched"] = round(float(mean[1] / mean[0]), 5) if mean[0] > 0 else None
            out[f"{touched}_replaced"] = entry
        return out | {"without_partner": self.alone // 2}


def _partner(clips: Sequence[HeldOut], i: int) -> int | None:
    """The next clip that shares no content with clip i."""
    own = set(clips[i].record.group.split("+"))
    for step in range(1, len(clips)):
        j = (i + step) % len(clips)
        if not own & set(clips[j].record.group.split("+")):
            return j
    return None


def _change(before: Scores, after: Scores, aspect: str) -> float:
    return abs(after[aspect].score - before[aspect].score)


# ---- injection ----------------------------------------------------------------------------------------------------


def with_text(p: Prepared, text: str | None) -> Prepared:
    """The window with this text, and no other, as the user's; cleaned and capped like every given text."""
    items = [i for i in p.context.items if i.origin != "user"]
    if text is not None:
        items = [TextItem(origin="user", text=text, detail="given"), *items]
    return replace(p, context=TextContext(items=fit(items)[0], sources=p.context.sources))


class FewTexts:
    """How far a few attack texts, and harmless ones, move every score against the same clip without a user's text.

    The whole bank, through every door, is `python -m eval robustness`.
    """

    def __init__(self) -> None:
        self.texts = {name: lines(name) for name in ("attacks", "harmless")}
        self.changes: dict[str, dict[str, list[tuple[float, str]]]] = {name: {} for name in self.texts}
        self.clips = 0

    def add(self, rater: Rater, clip: HeldOut, language: str) -> None:
        p = clip.windows[0]
        self.clips += 1
        every = [t for texts in self.texts.values() for t in texts]
        before, *after = rater.corridor.score_windows([with_text(p, t) for t in [None, *every]], language)
        scored = iter(after)
        for name, texts in self.texts.items():
            for text in texts:
                for aspect, s in next(scored).items():
                    self.changes[name].setdefault(aspect, []).append((abs(s.score - before[aspect].score), text))

    def report(self) -> dict[str, Any]:
        out: dict[str, Any] = {"clips": self.clips}
        for name, by_aspect in self.changes.items():
            out[name] = {"texts": len(self.texts[name]), "change": {}}
            for aspect, found in by_aspect.items():
                values = np.array([v for v, _ in found])
                most, text = max(found)
                out[name]["change"][aspect] = {
                    "mean": round(float(values.mean()), 5),
                    "max": round(most, 5),
                    "above_0.05": round(float((values > 0.05).mean()), 4),
                    "n": len(values),
                    "worst": text,
                }
        return out
