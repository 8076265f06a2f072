"""The folder of a finished set (a sidecar per clip, what it was made of, one digest over everything), and its audit.

The audit counts, tells label ranges and fallbacks, and whether worse levels score lower.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from data_recipes.synthesis.pseudo_mos import CLEAN, mos_of, quality
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.files import whole_file
from mllm_avqa.schema.levels import WORDS, mean_std, soft_target, target_kind, word
from mllm_avqa.schema.records import Label, Record

RECORDS = "records.jsonl"
SET = "set.json"
ASPECTS = ("overall", "video", "audio", "sync", "text")
APART = 1.0  # picture and sound labels this far from each other (one grade) make a clip asymmetric


class Made(BaseModel):
    """What a set was made of, as given by the user: enough to plan its clips again."""

    model_config = ConfigDict(extra="forbid")

    recipe: str
    seed: int
    sources: list[str]
    labels: str  # the pseudo-MOS model in words
    digest: str


def sidecar(out: Path, index: int) -> Path:
    """The JSON file with record, plan key and ceilings of clip `index`."""
    return out / "parts" / f"{index:06d}.json"


def read_sidecar(out: Path, index: int) -> dict[str, Any] | None:
    """Its content, or None when it is missing or damaged."""
    try:
        row: dict[str, Any] = json.loads(sidecar(out, index).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return row if {"key", "bytes", "record", "family", "ceilings"} <= row.keys() else None


def index_of(record: Record) -> int | None:
    """Number of the clip of a synthesised record, None for a record of another origin."""
    stem = Path(record.media).stem
    return int(stem) if stem.isdecimal() else None


def families_and_ceilings(out: Path, records: Iterable[Record]) -> tuple[dict[str, str], dict[str, dict[str, float]]]:
    """Family and source ceilings by record id, for the records that have a sidecar in `out`."""
    families, ceilings = {}, {}
    for record in records:
        index = index_of(record)
        row = None if index is None else read_sidecar(out, index)
        if row is not None and row["record"].get("id") == record.id:
            families[record.id], ceilings[record.id] = row["family"], row["ceilings"]
    return families, ceilings


def digest(out: Path, records: Iterable[Record]) -> str:
    """SHA-256 over records.jsonl and all clips in order of the records, 64 hex digits: equal for equal sets."""
    total = hashlib.sha256()
    for name in (RECORDS, *(r.media for r in records)):
        with (out / name).open("rb") as f:
            total.update(f"{name} {hashlib.file_digest(f, 'sha256').hexdigest()}\n".encode())
    return total.hexdigest()


def write_made(out: Path, made: Made) -> None:
    """Write `out`/set.json."""
    with whole_file(out / SET) as part:
        part.write_text(made.model_dump_json(indent=1) + "\n", encoding="utf-8")


def read_made(out: Path) -> Made | None:
    """What `out`/set.json says, None without the file. Raises ConfigError for a damaged one."""
    path = out / SET
    if not path.is_file():
        return None
    try:
        return Made.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as e:
        raise ConfigError(f"{path}: {e.errors()[0]['loc']}: {e.errors()[0]['msg']}") from e


def audit(
    records: Iterable[Record],
    families: Mapping[str, str] | None = None,
    ceilings: Mapping[str, Mapping[str, float]] | None = None,
) -> dict[str, Any]:
    """Numbers that tell whether a set can be trained on.

    families: record id -> family of the mixture. ceilings: record id -> score of the untouched source per aspect.

    Returns counts by split and family; per aspect what `_aspect` says; `sides`: share of clips with faults of picture
    and sound, of one only, of none; `asymmetric`: of the clips with both, the share whose labels are a grade apart;
    `mirrored`: correlation of picture and sound labels (near 0 or the set teaches the halo); `kinds`: clips per kind at
    levels 1-5; `alone`: per kind the mean label of its aspect at levels 1-5, relative to the source's ceiling, over
    clips where it is the only fault of that aspect and fills the clip; `not_monotone`: kinds for which that does not
    fall from each level to the next; `monotone`: none is; `unchecked`: kinds seen alone at fewer than two levels;
    `dose_not_monotone`: see `dose_faults`.
    """
    records = list(records)
    labels: dict[str, list[Label]] = defaultdict(list)
    pairs = []
    counts: dict[str, list[int]] = defaultdict(lambda: [0] * 5)
    alone: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    sides: Counter[str] = Counter()
    for r in records:
        for aspect, label in r.labels.items():
            labels[aspect].append(label)
        touched = {d.modality for d in r.distortions}
        both = {"video", "audio"} & touched
        sides["both" if len(both) == 2 else next(iter(both), "neither")] += 1
        if "video" in r.labels and "audio" in r.labels:
            pairs.append((r.labels["video"].mean_five, r.labels["audio"].mean_five))
        for d in r.distortions:
            if not 1 <= d.level <= 5:
                raise ConfigError(f"record {r.id!r}: level {d.level} of {d.kind!r}; allowed: 1 to 5")
            counts[d.kind][d.level - 1] += 1
            if fills_alone(r, d.modality) and d.modality in r.labels:
                alone[d.kind][d.level].append(relative(r, d.modality, ceilings))
    curves = {k: {lv: sum(v) / len(v) for lv, v in sorted(by.items())} for k, by in sorted(alone.items())}
    rising = [k for k, by in curves.items() if _not_falling(list(by.values()))]
    n = len(records)
    return {
        "clips": n,
        "splits": dict(Counter(r.split or "none" for r in records)),
        "families": dict(Counter((families or {}).get(r.id, "unknown") for r in records)),
        "sides": {k: round(v / n, 4) for k, v in sides.items()} if n else {},
        "groups": len({r.group for r in records}),
        "aspects": {a: _aspect(labels[a]) for a in ASPECTS if labels[a]},
        "asymmetric": round(sum(abs(v - a) >= APART for v, a in pairs) / len(pairs), 4) if pairs else None,
        "mirrored": _correlation(pairs),
        "kinds": {k: counts[k] for k in sorted(counts)},
        "alone": {k: {str(lv): round(m, 3) for lv, m in by.items()} for k, by in curves.items()},
        "monotone": not rising,
        "not_monotone": rising,
        "dose_not_monotone": dose_faults(),
        "unchecked": sorted(k for k in counts if len(curves.get(k, {})) < 2),
    }


def fills_alone(record: Record, modality: str) -> bool:
    """Whether the clip has exactly one fault of this modality, from its first moment to its last."""
    same = [d for d in record.distortions if d.modality == modality]
    return len(same) == 1 and same[0].start <= 0.05 and same[0].end >= (record.end or 0.0) - 0.05  # a still has no end


def relative(record: Record, aspect: str, ceilings: Mapping[str, Mapping[str, float]] | None = None) -> float:
    """Label of an aspect, 1-5, as if the untouched source were perfect."""
    ceiling = (ceilings or {}).get(record.id, {}).get(aspect, CLEAN)
    return mos_of(quality(record.labels[aspect].mean_five) / quality(ceiling))


def dose_faults() -> list[str]:
    """Kinds of the registry whose dose does not fall strictly from level to level (there should be none)."""
    from data_recipes.distortions import kinds
    from data_recipes.synthesis.doses import dose

    return [k.kind for k in kinds() if any(dose(k.kind, v) <= dose(k.kind, v + 1) for v in range(1, 5))]


def _aspect(labels: list[Label]) -> dict[str, Any]:
    """Of one aspect: number, mean, std, range and words of the labels, how many are pseudo, and how well the soft
    targets of those without votes hold them: share that is not max-entropy, largest error of mean and of std."""
    pairs = [(label.mean_five, label.std_five) for label in labels]
    n, means = len(pairs), [m for m, _ in pairs]
    mean = sum(means) / n
    words = Counter(word(m) for m in means)
    made = {pair: mean_std(soft_target(*pair)) for label, pair in zip(labels, pairs, strict=True) if not label.votes}
    computed = [pair for label, pair in zip(labels, pairs, strict=True) if not label.votes]
    fallback = sum(target_kind(m, s) != "maxent" for m, s in computed)
    return {
        "n": n,
        "pseudo": sum(label.pseudo for label in labels),
        "mean": round(mean, 3),
        "std": round((sum((m - mean) ** 2 for m in means) / n) ** 0.5, 3),
        "range": [round(min(means), 3), round(max(means), 3)],
        "levels": {w: round(words[w] / n, 4) for w in WORDS},
        "fallback": round(fallback / len(computed), 4) if computed else 0.0,
        "mean_error": round(max((abs(m - got[0]) for (m, _), got in made.items()), default=0.0), 6),
        "std_error": round(max((abs(s - got[1]) for (_, s), got in made.items()), default=0.0), 6),
    }


def _correlation(pairs: list[tuple[float, float]]) -> float | None:
    if len(pairs) < 3:
        return None
    import numpy as np

    a, b = np.array(pairs).T
    return None if a.std() == 0 or b.std() == 0 else round(float(np.corrcoef(a, b)[0, 1]), 3)


def _not_falling(values: list[float]) -> bool:
    return any(later >= earlier for earlier, later in pairwise(values))


def as_text(numbers: Mapping[str, Any]) -> str:
    """The audit for people: a line per aspect, a line per kind, and the verdict."""
    lines = [
        f"{numbers['clips']} clips, {numbers['groups']} groups; splits {numbers['splits']}",
        f"families {numbers['families']}",
        f"faults by side {numbers['sides']}; picture and sound a grade apart {_share(numbers['asymmetric'])}; "
        f"correlation of their labels {numbers['mirrored']}",
        "",
        f"{'aspect':9s}{'n':>6s}{'pseudo':>8s}{'mean':>7s}{'std':>6s}  {'range':11s}"
        f"{''.join(f'{w:>10s}' for w in WORDS)}  not max-entropy  worst error of mean, std",
    ]
    for aspect, a in numbers["aspects"].items():
        low, high = a["range"]
        lines.append(
            f"{aspect:9s}{a['n']:6d}{a['pseudo']:8d}{a['mean']:7.2f}{a['std']:6.2f}  {low:.2f}-{high:.2f}  "
            f"{''.join(f'{share:>10.0%}' for share in a['levels'].values())}{a['fallback']:17.1%}  "
            f"{a['mean_error']:.4f}, {a['std_error']:.4f}"
        )
    if numbers["kinds"]:
        lines += ["", f"{'kind':18s}{'clips at level 1-5':>25s}   label alone throughout, relative to the source"]
    for kind, counts in numbers["kinds"].items():
        curve = numbers["alone"].get(kind, {})
        means = "".join(f"{curve[str(v)]:6.2f}" if str(v) in curve else "     –" for v in range(1, 6))
        verdict = "  NOT falling" if kind in numbers["not_monotone"] else ""
        lines.append(f"{kind:18s}{''.join(f'{c:5d}' for c in counts)}   {means}{verdict}")
    if numbers["kinds"]:
        lines.append(f"labels fall with the level: {_verdict(numbers['not_monotone'])}")
        lines.append(f"doses fall with the level: {_verdict(numbers['dose_not_monotone'])}")
        lines.append(f"not seen alone at two levels: {len(numbers['unchecked'])} of {len(numbers['kinds'])} kinds")
    return "\n".join(lines)


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"


def _verdict(offending: Sequence[str]) -> str:
    return f"NO: {', '.join(offending)}" if offending else "yes"
