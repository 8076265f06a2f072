"""A rating in three stages, for engines that hold the model of a pipeline: questions, their answers, rows.

The first stage reads a file and writes its questions down as plain data; the last one takes the answers and goes on
where `Many` stopped. Between them only prompts, views and log-probabilities travel: an engine needs nothing of this
project.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from mllm_avqa.model.served import runs, sampling
from mllm_avqa.rater.many import ReadFile
from mllm_avqa.rater.one import Rater
from mllm_avqa.rater.served import Answer, AskedLater, ServedCorridor, ShownElsewhere
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.rating import Rating, RatingFailure

Question = dict[str, Any]  # a row of `ray.data.llm`: tokenized_prompt, multimodal_data, sampling_params ...


def questions(rater: Rater, file: ReadFile) -> list[Question]:
    """What an engine is asked about a file that was read; the file holds its views no more.

    Raises ConfigError for a rater that has its model itself.
    """
    corridor = corridor_of(rater)
    asked: list[Question] = []
    for _, window in [] if file.error else file.windows:
        assert isinstance(window, ShownElsewhere)
        shown, window.inputs = window.inputs, None
        for aspect in window.aspects:
            ids = corridor.prompt(window, aspect, rater.language)
            seen = {k: shown[k] for k, pad in rater.backbone.pads.items() if runs(ids, pad)}
            asked.append({
                "tokenized_prompt": _collapsed(ids, rater.backbone.pads.values()), "multimodal_data": seen,
                "mm_processor_kwargs": shown["how"], "sampling_params": sampling(corridor.level_ids),
            })  # fmt: skip
    return asked


def _collapsed(ids: Sequence[int], pads: Iterable[int]) -> list[int]:
    """One place for each view: an engine puts as many there as it makes of the view."""
    places = set(pads)
    return [i for token, run in groupby(ids) for i in ([token] if token in places else run)]


@dataclass(frozen=True)
class Answered:
    """Rates one file that was read, with the answers to its questions; stands where a batch wants a rater."""

    rater: Rater
    file: ReadFile
    answers: Sequence[Answer]

    @property
    def fingerprint(self) -> dict[str, str]:
        return self.rater.fingerprint

    def rate_many(
        self, paths: object, *, explain: bool = False, findings: bool = False, **_: object
    ) -> Iterator[Rating | RatingFailure]:
        corridor, told = corridor_of(self.rater), iter(self.answers)
        for _p, window in [] if self.file.error else self.file.windows:
            assert isinstance(window, ShownElsewhere)
            window.inputs = {tuple(corridor.prompt(window, a, self.rater.language)): next(told) for a in window.aspects}
        return self.rater.many.finish([self.file], 1, explain, findings)

    def close(self) -> None:
        """The rater is others' to close."""


def corridor_of(rater: Rater) -> ServedCorridor:
    if isinstance(rater.corridor, ServedCorridor) and isinstance(rater.corridor.model, AskedLater):
        return rater.corridor
    raise ConfigError(f"{rater.card.name}: an engine holds the model, so open the rater with Rater.for_engine")
