"""Five aspects from one encoded clip, against one aspect and against five separate passes. Model time only."""

from __future__ import annotations

import torch

from benchmarks.base import Measured, Options, Ratio, medians
from mllm_avqa.corridor import Encoded
from mllm_avqa.rater import Rater


def encoded_window(settings: Options) -> tuple[Rater, Encoded]:
    """The checkpoint, with the first window of the clip encoded: model time can be measured alone."""
    rater = Rater.from_pretrained(settings.checkpoint, threads=settings.threads, context="none")
    try:
        p = next(rater.windows(str(settings.clip)))
    finally:
        rater.close()
    return rater, rater.corridor.encode(p, rater.language)


def run(settings: Options) -> Measured:
    rater, encoded = encoded_window(settings)
    aspects = list(rater.card.aspects)

    def score(names: list[str]) -> None:
        rater.corridor.score([encoded._replace(aspects=names)])

    cost = medians(
        {
            "five": lambda: score(aspects),
            "one": lambda: score(aspects[:1]),
            "separate": lambda: [score([a]) for a in aspects],
        },
        settings.repeats,
    )
    five, one, separate = cost["five"], cost["one"], cost["separate"]
    n = len(aspects)
    return Measured(
        "Aspects",
        [
            Ratio(f"{n} aspects in one forward / 1 aspect, wall", f"{five}", f"{one}", five.wall / one.wall, "<= 1.10"),
            Ratio(
                f"{n} separate passes / {n} in one, wall", f"{five}", f"{separate}", separate.wall / five.wall, ">= 4"
            ),
            Ratio(f"{n} aspects in one forward / 1 aspect, CPU", f"{five}", f"{one}", five.cpu / one.cpu),
            Ratio(f"{n} separate passes / {n} in one, CPU", f"{five}", f"{separate}", separate.cpu / five.cpu),
        ],
        [
            f"Same prepared window ({sum(len(s.ids) for s in encoded.segments)} prefix tokens); model time only, "
            f"decoding and tokenising of the prefix excluded; medians of {settings.repeats} interleaved runs, "
            f"{torch.get_num_threads()} threads."
        ],
    )
