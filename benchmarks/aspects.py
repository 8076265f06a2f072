"""Five aspects from one encoded clip, against one aspect and against five separate passes. Model time only."""

from __future__ import annotations

import torch

from benchmarks.base import Report, Row, Settings, medians


def run(settings: Settings) -> Report:
    from mllm_avqa.prepare import prepare
    from mllm_avqa.rater import Rater
    from mllm_avqa.scoring import encode_prefix

    rater = Rater.from_pretrained(settings.checkpoint, threads=settings.threads, context="none")
    try:
        p = prepare(str(settings.clip), 0.0, rater.reader, rater.card.views, context="none")
    finally:
        rater.close()
    segments, media = encode_prefix(rater.backbone, p.views, p.evidence, p.context)
    aspects = list(rater.card.aspects)

    def score(names: list[str]) -> None:
        rater.scorer.score([(segments, media, names)])

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
    return Report(
        "Aspects",
        [
            Row(f"{n} aspects in one forward / 1 aspect, wall", f"{five}", f"{one}", five.wall / one.wall, "<= 1.10"),
            Row(f"{n} separate passes / {n} in one, wall", f"{five}", f"{separate}", separate.wall / five.wall, ">= 4"),
            Row(f"{n} aspects in one forward / 1 aspect, CPU", f"{five}", f"{one}", five.cpu / one.cpu),
            Row(f"{n} separate passes / {n} in one, CPU", f"{five}", f"{separate}", separate.cpu / five.cpu),
        ],
        [
            f"Same prepared window ({sum(len(s.ids) for s in segments)} prefix tokens); model time only, decoding and "
            f"tokenising of the prefix excluded; medians of {settings.repeats} interleaved runs, "
            f"{torch.get_num_threads()} threads."
        ],
    )
