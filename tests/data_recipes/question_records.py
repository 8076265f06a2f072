"""Random records in the proportions of a recipe, for tests of questions, descriptions, benches and rewrites."""

from random import Random

from data_recipes.distortions import kinds
from data_recipes.synthesis.pseudo_mos import labels
from mllm_avqa.schema.records import Distortion, Record

SECONDS = 4.0


def fault(kind: str, modality: str, level: int, start: float = 0.0, end: float = SECONDS, **parameters) -> Distortion:
    return Distortion(kind=kind, modality=modality, level=level, start=start, end=end, parameters=parameters)


def clip(faults, present=("video", "audio"), ceilings=None, name="r", group="g", split=None, **more) -> Record:
    return Record(
        id=name, media=f"clips/{name}.mp4", start=0.0, end=SECONDS, dataset="d", group=group, split=split,
        labels=labels(faults, SECONDS, present, ceilings), distortions=faults, **more,
    )  # fmt: skip


def some_clip(rng: Random, **more) -> Record:
    present = ["video", "audio", *(["sync"] if rng.random() < 0.4 else []), *(["text"] if rng.random() < 0.2 else [])]
    faults = []
    for modality in present:
        if rng.random() < {"video": 0.7, "audio": 0.7, "sync": 0.3, "text": 0.6}[modality]:
            kind = rng.choice(kinds(modality))
            whole = kind.whole_clip or rng.random() < 0.7
            span = (0.0, SECONDS) if whole else (rng.uniform(0, 2), rng.uniform(2.5, 4))
            faults.append(fault(kind.kind, modality, rng.randint(1, 5), *span))
    if rng.random() < 0.1:  # picture or sound alone
        side = rng.choice(["video", "audio"])
        present, faults = [side], [f for f in faults if f.modality == side]
    ceilings = {"video": rng.choice([4.7, 4.3, 3.4])}
    return clip(faults, present, ceilings, **more)


def some_clips(n: int, seed: int = 3) -> list[Record]:
    """Clips of 3 splits; ten of a kind share their content."""
    rng = Random(seed)
    splits = ("train", "train", "val", "test", "test")
    return [
        some_clip(rng, name=f"c{i}", group=f"video/{i // 10}+audio/{i // 10}", split=splits[i // 10 % 5], licence="CC0")
        for i in range(n)
    ]
