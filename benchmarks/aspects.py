"""Five aspects from one encoded clip, against one aspect and against five separate passes. Model time only."""

from __future__ import annotations

import torch

from benchmarks.base import Findings, Options, Ratio, encoded_window, medians


def run(settings: Options) -> Findings:
    from mllm_avqa.corridor import Encoded

    rater, segments, media = encoded_window(settings)
    aspects = list(rater.card.aspects)

    def score(names: list[str]) -> None:
        rater.corridor.score([Encoded(segments, media, names)])

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
    return Findings(
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
            f"Same prepared window ({sum(len(s.ids) for s in segments)} prefix tokens); model time only, decoding and "
            f"tokenising of the prefix excluded; medians of {settings.repeats} interleaved runs, "
            f"{torch.get_num_threads()} threads."
        ],
    )
