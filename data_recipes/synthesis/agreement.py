"""Do the labels of a finished set agree with full-reference measures of its clips?

The clip's picture and sound before their faults are made again from the plan, and the finished file is decoded: what is
compared is what a model will see with what it was made of.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_recipes.distortions.audio_core import resample
from data_recipes.distortions.base import Material
from data_recipes.synthesis import measures
from data_recipes.synthesis.audit import SET, families_and_ceilings, index_of, read_made, read_sidecar, relative
from data_recipes.synthesis.build import Builder
from data_recipes.synthesis.doses import measure_of
from data_recipes.synthesis.mux import read_material
from data_recipes.synthesis.plan import Plan, Planner, picture_order
from data_recipes.synthesis.recipe import load_recipe, load_transcripts
from data_recipes.synthesis.sources import find_sources
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.records import Record

SEED = 0  # of the sample: the same set gives the same clips
FEWEST = 4  # clips with different labels that a correlation needs


@dataclass(frozen=True)
class Point:
    """One clip in one modality: its faults there, its label relative to the source, and what was measured."""

    kinds: tuple[str, ...]
    label: float
    value: float


def of_set(
    folder: Path,
    records: Sequence[Record],
    count: int,
    recipe: str | Path | None = None,
    seed: int | None = None,
    sources: Sequence[str | Path] | None = None,
) -> dict[str, Any]:
    """Spearman correlation of labels and measures on up to `count` clips of the synthesised set in `folder`.

    recipe, seed, sources: what the set was made of, where its set.json does not say it or says it wrongly.

    Returns the number of clips sampled and per measure ("ms_ssim" with the video label, "visqol" with the audio label)
    n and srcc of all clips, of those with believed kinds only (see doses.yaml), and per kind over the clips where it is
    the only fault of that side; None below four different labels. "visqol" is None without the package.
    Left out: pictures with text drawn into them, and sound that was moved.
    Raises ConfigError when it is not known or not true what the set was made of, MediaError when a source or a clip
    does not decode.
    """
    chosen = random.Random(SEED).sample(list(records), min(count, len(records)))
    builder, plans = _planned(folder, chosen, recipe, seed, sources)
    _, ceilings = families_and_ceilings(folder, chosen)
    pairs = sorted(zip(plans, chosen, strict=True), key=lambda c: picture_order(c[0]))
    pictures: list[Point] = []
    sounds: list[Point] = []
    for plan, record in pairs:
        before, after = builder.reference(plan), read_material(folder / record.media)
        for aspect, value, points in (
            ("video", _picture(plan, record, before, after), pictures),
            ("audio", _sound(record, before, after), sounds),
        ):
            if value is not None:
                kinds = tuple(d.kind for d in record.distortions if d.modality == aspect)
                points.append(Point(kinds, relative(record, aspect, ceilings), value))
    return {
        "sampled": len(chosen),
        "ms_ssim": _summary(pictures),
        "visqol": _summary(sounds) if measures.installed() else None,
    }


def _planned(
    folder: Path,
    records: Sequence[Record],
    recipe_path: str | Path | None,
    seed: int | None,
    sources: Sequence[str | Path] | None,
) -> tuple[Builder, list[Plan]]:
    """The plans that the clips were made by, checked against the keys in their sidecars."""
    made = read_made(folder)
    path = recipe_path or (made.recipe if made is not None else None)
    if path is None:
        raise ConfigError(f"{folder / SET} does not exist: name the recipe of this set (--recipe, --seed, --sources)")
    recipe = load_recipe(path)
    if seed is None:
        seed = recipe.seed if made is None else made.seed
    if sources is None:
        sources = [] if made is None else made.sources
    planner = Planner(recipe, find_sources(recipe, sources, load_transcripts(recipe, path)))
    plans = []
    for record in records:
        index = index_of(record)
        row = None if index is None else read_sidecar(folder, index)
        plan = None if index is None else planner.plan(index, seed)
        if plan is None or row is None or row["key"] != plan.key(recipe, planner.files):
            raise ConfigError(
                f"{folder / record.media} was not made by recipe {path} with seed {seed} of these sources "
                "(--recipe, --seed, --sources)"
            )
        plans.append(plan)
    return Builder(recipe, planner.files, folder), plans


def _picture(plan: Plan, record: Record, before: Material, after: Material) -> float | None:
    drawn = (plan.burn and plan.captions) or any(d.kind == "illegible_text" for d in record.distortions)
    if drawn or before.frames is None or after.frames is None:
        return None
    first = before.frames if plan.still is None else before.frames[-1:]  # the frame that was kept
    n, (h, w) = min(len(first), len(after.frames)), first.shape[1:3]
    return measures.ms_ssim(first[:n], after.frames[:n, :h, :w])  # odd sides were padded


def _sound(record: Record, before: Material, after: Material) -> float | None:
    moved = any(d.modality == "sync" for d in record.distortions)
    if moved or before.sound is None or after.sound is None or not measures.installed():
        return None
    return measures.visqol(before.sound, resample(after.sound, after.rate, before.rate), before.rate)


def _summary(points: Sequence[Point]) -> dict[str, Any]:
    single = defaultdict(list)
    for p in points:
        if len(p.kinds) == 1:
            single[p.kinds[0]].append(p)
    believed = [p for p in points if all(measure_of(k) is not None for k in p.kinds)]
    return {
        "all": _srcc(points),
        "believed": _srcc(believed),
        "kinds": {k: _srcc(found) | {"believed": measure_of(k) is not None} for k, found in sorted(single.items())},
    }


def _srcc(points: Sequence[Point]) -> dict[str, Any]:
    from scipy.stats import spearmanr

    labels, values = [p.label for p in points], [p.value for p in points]
    enough = len(set(labels)) >= FEWEST and len(set(values)) >= FEWEST
    srcc = round(float(spearmanr(labels, values).statistic), 3) if enough else None
    return {"n": len(points), "srcc": srcc}


def as_text(numbers: Mapping[str, Any]) -> str:
    """The agreement for people."""
    lines = [f"labels against full-reference measures of {numbers['sampled']} clips (Spearman):"]
    for name, found in (("MS-SSIM", numbers["ms_ssim"]), ("ViSQOL", numbers["visqol"])):
        if found is None:
            lines.append(f"{name}: not installed (pip install {measures.PACKAGE})")
            continue
        lines.append(f"{name}: all {_told(found['all'])}; kinds it is believed for {_told(found['believed'])}")
        known = {k: v for k, v in found["kinds"].items() if v["srcc"] is not None}
        lines += [f"  {k:18s}{_told(v)}" + ("" if v["believed"] else "  not believed") for k, v in known.items()]
    return "\n".join(lines)


def _told(found: Mapping[str, Any]) -> str:
    return f"{'–' if found['srcc'] is None else format(found['srcc'], '.2f')} (n {found['n']})"
