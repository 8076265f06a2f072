"""Windows -> encoded rows -> scores -> the scores of a clip: the only way, for ratings, chat, training and evaluation.

All aspects of a window are scored in one forward; of one clip or of many.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch

from mllm_avqa.model.backbones.base import Backbone
from mllm_avqa.model.findings import Asked, ask, read
from mllm_avqa.model.prompting import Branch, FactStyle, aspect_branch, facts_segment, load_prompts
from mllm_avqa.model.retold import Change, Retold, retold_rows
from mllm_avqa.model.rows import EncodedBranch, EncodedSegment, PackedRow, collate, pack, stack_media
from mllm_avqa.model.scoring import (
    EncodedClip,
    distribution,
    encode_prefix,
    level_logits,
    level_token_ids,
    on_device,
    summarise,
)
from mllm_avqa.model.tree import TokenTree, together
from mllm_avqa.model.views import Showable, Views
from mllm_avqa.schema.card import Card
from mllm_avqa.schema.errors import CheckpointError, ConfigError
from mllm_avqa.schema.levels import WORDS
from mllm_avqa.schema.measurement import Measurement
from mllm_avqa.schema.rating import ASPECTS, Claim, Finding, Rating, ScoreDistribution

ROWS = 4  # windows per forward
Scores = dict[str, ScoreDistribution]  # by aspect


class Encoded(NamedTuple):
    """A window as tokens and media tensors; its pixels and sound are needed no more."""

    segments: list[EncodedSegment]
    media: dict[str, torch.Tensor]
    aspects: list[str]  # that can be judged and that the card scores


@dataclass
class EncodedFile:
    """The windows of a clip, each with its prefix held for questions, and its scores."""

    windows: list[EncodedClip]
    window_scores: list[Scores]
    scores: Scores

    @property
    def worst(self) -> EncodedClip:
        """The window that hurts most: the one that explanations, chat and written answers look at."""
        return self.windows[lowest(self.window_scores)]


def pool_windows(
    scores: list[ScoreDistribution], worst: float, weights: Sequence[float] | None = None
) -> ScoreDistribution:
    """(1 - worst) x mean of the windows + worst x lowest window, on the whole distribution. weights: of the mean."""
    table = np.array([[s.probs[w] for w in WORDS] for s in scores])
    low = table[int(np.argmin([s.score for s in scores]))]
    mean = table.mean(0) if weights is None or sum(weights) <= 0 else np.average(table, axis=0, weights=weights)
    return summarise((1 - worst) * mean + worst * low, min(s.mass for s in scores))


def lowest(windows: Sequence[Scores]) -> int:
    """Which of the windows is worst: by its overall score, or by the mean of what the checkpoint scores instead."""

    def height(s: Scores) -> float:
        given = [s["overall"].score] if "overall" in s else [d.score for d in s.values()]
        return float(np.mean(given)) if given else float("inf")

    return min(range(len(windows)), key=lambda k: height(windows[k]))


def pack_window(
    backbone: Backbone,
    window: Showable,
    branches: Iterable[Branch],
    language: str,
    *,
    isolate: bool,
    style: FactStyle = "values",
    only: Sequence[str] | None = None,
) -> PackedRow:
    """The row of a window with any questions behind it, as training asks them.

    isolate, style: `Card.isolate`, `Card.facts`; only: names of segments, None is all of them.
    """
    segments, media = encode_prefix(backbone, window.views, window.evidence, window.context, language, style=style)
    if only is not None:
        segments = [s for s in segments if s.name in only]
    return pack(segments, [backbone.encode_branch(b) for b in branches], media, isolate)


class Corridor:
    """A loaded backbone, behind its card.

    Raises CheckpointError where level words are no single distinct tokens, or where it was taught with other prompts.
    """

    def __init__(self, backbone: Backbone, card: Card) -> None:
        self.backbone, self.card = backbone, card
        self.level_ids = level_token_ids(backbone, card.aspects, card.level_words, card.languages)
        for language in card.languages:
            here = str(load_prompts("rating", language)["version"])
            if here != card.prompts:
                raise CheckpointError(
                    f"{card.name} was taught with version {card.prompts} of the prompts, here is version {here} "
                    f"(prompts/rating.{language}.yaml): its scores would mean something else (`prompts` in avqa.yaml)"
                )
        self._media: dict[bytes, dict[str, torch.Tensor]] = {}

    def check_language(self, language: str) -> None:
        """Raises ConfigError for a language that the checkpoint was not taught in."""
        if language not in self.card.languages:
            known = ", ".join(self.card.languages)
            raise ConfigError(f"language {language!r} is none of {self.card.name}: it has {known} (--lang)")

    # ---- windows -> encoded -----------------------------------------------------------------------------------------

    def encode(self, window: Showable, language: str, *, remember: bool = False) -> Encoded:
        """A window ready to be scored. remember: tensors of equal pixels or sound are made once, until `forget`.

        Raises ConfigError for a language that the checkpoint does not know.
        """
        self.check_language(language)
        segments, media = encode_prefix(
            self.backbone,
            window.views,
            window.evidence,
            window.context,
            language,
            self._remembered(window.views) if remember else None,
            style=self.card.facts,
        )
        return Encoded(segments, media, [a for a in ASPECTS if a in self.card.aspects and a not in window.missing])

    def forget(self) -> None:
        """Free the remembered tensors."""
        self._media.clear()

    def _remembered(self, v: Views) -> dict[str, torch.Tensor]:
        media: dict[str, torch.Tensor] = {}
        for part in (Views(v.whole, v.fragments, None, v.seconds_per_pair), Views(None, None, v.sound)):
            arrays = [a for a in (part.whole, part.fragments, part.sound) if a is not None]
            if arrays:
                key = _content(arrays, part.seconds_per_pair)
                if key not in self._media:
                    self._media[key] = self.backbone.media_tensors(part)
                media |= self._media[key]
        return media

    # ---- encoded -> scores ------------------------------------------------------------------------------------------

    def score(self, windows: Sequence[Encoded], language: str = "en", rows: int | None = None) -> list[Scores]:
        """Scores of each window, one forward for the whole list, or for every `rows` of them."""
        if rows is not None and len(windows) > rows:
            return [s for i in range(0, len(windows), rows) for s in self.score(windows[i : i + rows], language)]
        packed = [self.row(w, language) for w in windows]
        with torch.inference_mode():
            hidden = self.backbone.hidden(self._batch(packed)).last_hidden_state
            return [self.read(row, h) for row, h in zip(packed, hidden, strict=True)]

    def score_windows(self, windows: Sequence[Showable], language: str) -> list[Scores]:
        """Scores of prepared windows, `ROWS` per forward; equal pixels and sound become tensors once."""
        out: list[Scores] = []
        for i in range(0, len(windows), ROWS):
            out += self.score([self.encode(p, language, remember=True) for p in windows[i : i + ROWS]], language)
        return out

    def hold(self, window: Encoded, language: str = "en") -> tuple[Scores, EncodedClip]:
        """Score one window and keep its prefix for questions. Same scores as `score`."""
        from transformers import DynamicCache

        row = self.row(window, language)
        cache = DynamicCache()
        with torch.inference_mode():
            hidden = self.backbone.hidden(self._batch([row]), cache=cache).last_hidden_state
            scores = self.read(row, hidden[0])
        if len(row.ids) > row.prefix_length:
            cache.crop(row.prefix_length - len(row.ids))  # a negative count drops that many from the end
        prefix = pack(window.segments, [], isolate=self.card.isolate)
        return scores, EncodedClip(self.backbone, prefix, cache)

    def row(self, window: Encoded, language: str) -> PackedRow:
        """The prefix of a window with the score question of each of its aspects behind it."""
        branches = [self.backbone.encode_branch(aspect_branch(a, language)) for a in window.aspects]
        return pack(window.segments, branches, window.media, self.card.isolate)

    def read(self, row: PackedRow, hidden: torch.Tensor) -> Scores:
        """The distributions at the stems of a row. hidden [T, D]."""
        if not row.branches:
            return {}
        at = [start + b.stem_end for start, b in zip(row.starts, row.branches, strict=True)]
        log_probs, log_mass = level_logits(hidden[at], self.backbone.head(), self.level_ids)
        return {
            b.aspect: distribution(lp.cpu(), float(m))
            for b, lp, m in zip(row.branches, log_probs, log_mass, strict=True)
        }

    def _batch(self, rows: list[PackedRow]) -> dict[str, Any]:
        batch: dict[str, Any] = on_device(collate(rows, self.backbone.tokenizer.pad_token_id), self.backbone)
        return batch

    def prompted(self, ids: list[int], media: dict[str, torch.Tensor], wanted: Sequence[int]) -> list[float]:
        """Log-probabilities of tokens behind a prompt with views in it, in the stock layout of serving engines.

        media: of all its views, of `Backbone.media_tensors`.
        """
        row = pack([self.backbone.prompt(ids, media)], [], media, isolate=False)
        with torch.inference_mode():
            hidden = self.backbone.hidden(self._batch([row])).last_hidden_state[0, -1]
            told = torch.log_softmax(self.backbone.head()(hidden).float(), -1).cpu()
        return [float(told[i]) for i in wanted]

    # ---- held clip -> likelihoods -----------------------------------------------------------------------------------

    def likelihoods(self, clip: EncodedClip, asked: Sequence[Branch]) -> list[list[float]]:
        """Log-probability of each token of the answers, given their questions; an aspect or a few in one forward.

        The last token of an answer is its end. The prefix of the clip is left as it was.
        """
        encoded = [self.backbone.encode_branch(q) for q in asked]
        out: list[list[float]] = [[] for _ in asked]
        for own in together([(e.aspect, len(e.ids)) for e in encoded]):
            for k, told in zip(own, self._told(clip, [encoded[k] for k in own]), strict=True):
                out[k] = told
        return out

    def _told(self, clip: EncodedClip, encoded: Sequence[EncodedBranch]) -> list[list[float]]:
        b = self.backbone
        tree = TokenTree.of(encoded)
        positions, mask = tree.behind(clip.row)
        batch = {
            "input_ids": torch.tensor([tree.ids]),
            "position_ids": positions,
            "attention_mask": {"full_attention": mask},
        }
        with torch.inference_mode():
            hidden = b.hidden(on_device(batch, b), cache=clip.cache).last_hidden_state[0]
            clip.cache.crop(-len(tree.ids))
            firsts = {n for path, e in zip(tree.paths, encoded, strict=True) for n in path[e.stem_end : -1]}
            at = {node: k for k, node in enumerate(sorted(firsts))}
            told = torch.log_softmax(b.head()(hidden[sorted(firsts)]).float(), -1).cpu()
        return [
            [float(told[at[p], tree.ids[n]]) for p, n in pairwise(path[e.stem_end :])]
            for path, e in zip(tree.paths, encoded, strict=True)
        ]

    def better(self, first: Encoded, second: Encoded, aspect: str, language: str) -> float:
        """The model's own answer: the probability that the first of two windows is better in an aspect.

        Asked in both orders, as in training (`data_recipes.questions.stage2.compare`); a draw is split.
        """
        words = load_prompts("tasks", language)
        told = words["compare"]
        question = told["ask"][0].format(what=words["what"][aspect])
        asked = [Branch(aspect, question, answer=told[outcome]) for outcome in ("first", "second", "same")]
        found = []
        for one, other in ((first, second), (second, first)):
            _, held = self.hold(_joined(one, other), language)
            found.append(torch.softmax(torch.tensor([sum(t) for t in self.likelihoods(held, asked)]), 0).tolist())
        here, turned = found
        return float((here[0] + turned[1] + 0.5 * (here[2] + turned[2])) / 2)

    def otherwise(
        self, clip: EncodedClip, facts: Sequence[Measurement], changes: Sequence[Change], language: str
    ) -> list[Scores] | None:
        """What a held window would score with other facts of a side, some changes in one forward.

        facts: those that it was encoded with. None: it was not encoded with them, or all of it sees them.
        """
        b, style = self.backbone, self.card.facts

        def tail(c: Change, measured: Sequence[Measurement]) -> EncodedSegment:
            return b.encode_segment(facts_segment(c.side, measured, language, style), {})

        retold = [Retold(c.side, tail(c, facts), tail(c, c.facts)) for c in changes]
        if not self.card.isolate or not all(r.fits(clip.row) for r in retold):
            return None
        asked = [[b.encode_branch(aspect_branch(a, language)) for a in c.aspects] for c in changes]
        sizes = [len(r.after.ids) + sum(len(e.ids) for e in own) for r, own in zip(retold, asked, strict=True)]
        out: list[Scores] = [{} for _ in changes]
        for own in together([(str(k), n) for k, n in enumerate(sizes)]):
            found = iter(self._retold(clip, [retold[k] for k in own], [asked[k] for k in own]))
            for k in own:
                out[k] = {a: next(found) for a in changes[k].aspects}
        return out

    def _retold(
        self, clip: EncodedClip, changes: Sequence[Retold], asked: Sequence[Sequence[EncodedBranch]]
    ) -> list[ScoreDistribution]:
        b = self.backbone
        told = retold_rows(clip.row, changes, asked)
        if not told.stems:
            return []
        batch = {
            "input_ids": torch.tensor([told.ids]),
            "position_ids": told.positions,
            "attention_mask": {"full_attention": told.mask},
        }
        with torch.inference_mode():
            hidden = b.hidden(on_device(batch, b), cache=clip.cache).last_hidden_state[0]
            clip.cache.crop(-len(told.ids))
            log_probs, log_mass = level_logits(hidden[told.stems], b.head(), self.level_ids)
        return [distribution(lp.cpu(), float(m)) for lp, m in zip(log_probs, log_mass, strict=True)]

    def lists(self, clip: EncodedClip, sides: Sequence[str], language: str, seconds: float) -> list[Asked]:
        """What a held window says of the faults of its sides; nothing from a checkpoint that was not taught to."""
        if not self.card.lists_faults:
            return []
        return ask(partial(self.likelihoods, clip), sides, self.card.findings, language, seconds)

    def findings(
        self, clip: EncodedClip, rating: Rating, span: tuple[float, float], lists: Sequence[Asked] | None = None
    ) -> tuple[list[Finding], list[Claim]]:
        """The faults that the model holds to be in a held window, which lies at `span` of the rated clip.

        And what it would have said, had no fact refuted it. lists: of the window, where it was asked before.
        """
        return read(partial(self.likelihoods, clip), rating, self.card.findings, span, lists)

    # ---- a clip -----------------------------------------------------------------------------------------------------

    def pool(self, windows: Sequence[Scores], weights: Sequence[float] | None = None) -> Scores:
        """The scores of a clip from those of its windows, as the card says. weights: of them; None: all alike."""
        weights = weights or [1.0] * len(windows)
        alike = len(set(weights)) == 1
        aspects = dict.fromkeys(a for s in windows for a in s)
        out: Scores = {}
        for a in aspects:
            own = [w for s, w in zip(windows, weights, strict=True) if a in s]
            out[a] = self.pooled([s[a] for s in windows if a in s], None if alike else own)
        return out

    def pooled(self, scores: list[ScoreDistribution], weights: Sequence[float] | None = None) -> ScoreDistribution:
        """One aspect's score of a clip from those of its windows."""
        return pool_windows(scores, self.card.pooling.worst, weights)

    def clips(self, clips: Sequence[Sequence[Showable]], language: str) -> list[Scores]:
        """Scores of clips, each given by its windows."""
        given: Iterator[Scores] = iter(self.score_windows([p for c in clips for p in c], language))
        return [self.pool([next(given) for _ in c]) for c in clips]

    def encode_clip(self, windows: Iterable[Showable], language: str) -> EncodedFile:
        """A clip with the prefixes of all its windows held for questions."""
        held = [self.hold(self.encode(p, language, remember=True), language) for p in windows]
        scores = [s for s, _ in held]
        return EncodedFile([c for _, c in held], scores, self.pool(scores))


def _joined(first: Encoded, second: Encoded) -> Encoded:
    """Two windows as one prefix: each segment of the second goes on where that of the first ends."""
    behind = {s.name: s for s in second.segments if s.name != "system"}
    segments = []
    for s in first.segments:
        other = behind.pop(s.name, None)
        if other is not None:
            s = EncodedSegment(s.name, s.ids + other.ids, torch.cat([s.positions, other.positions + s.span], 1))
        segments.append(s)
    return Encoded([*segments, *behind.values()], stack_media([first.media, second.media]), [])


def _content(arrays: Sequence[np.ndarray], pair: float) -> bytes:
    """A key of what is in the arrays, wherever they lie in memory."""
    digest = hashlib.blake2b(repr((pair, [(a.shape, a.dtype.str) for a in arrays])).encode(), digest_size=16)
    for a in arrays:
        digest.update(np.ascontiguousarray(a).data)
    return digest.digest()
