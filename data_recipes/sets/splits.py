"""Seeded train / val / test splits by content group, stratified by score."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from random import Random
from typing import get_args

from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.records import Record, Split, read_records, relocation, write_records

STRATUM = 5  # neighbours in score that are dealt together: one of five equal groups is 20 %
MOST = 100  # splits in a record file
SPLITS: tuple[Split, ...] = get_args(Split)
_PARTS: dict[int, tuple[Split, ...]] = {2: ("train", "test"), 3: SPLITS}


@dataclass
class Group:
    """What a split needs to know of a group: clips, the scores of those that have one (1-5), official parts."""

    clips: int = 0
    scored: int = 0
    total: float = 0.0
    official: set[Split] = field(default_factory=set)

    @property
    def score(self) -> float:
        """Mean score on 1-5; groups without any count as fair, 3."""
        return self.total / self.scored if self.scored else 3.0


@dataclass(frozen=True)
class Dealt:
    """What `split_file` wrote. sizes: clips per part, one entry per split. groups: number of groups."""

    records: int
    groups: int
    sizes: list[dict[Split, int]]


def parse_shares(text: str) -> dict[Split, float]:
    """Of `80/20` (train/test) or `60/20/20` (train/val/test). Raises ConfigError for others (--shares)."""
    try:
        shares = [float(s) for s in text.split("/")]
    except ValueError:
        shares = []
    if len(shares) not in _PARTS or min(shares) <= 0 or not abs(sum(shares) - 100.0) < 1e-9:
        raise ConfigError(f"--shares {text!r}: give train/test or train/val/test adding up to 100, e.g. 80/20")
    return {part: share / 100.0 for part, share in zip(_PARTS[len(shares)], shares, strict=True)}


def survey(records: Iterable[Record]) -> dict[str, Group]:
    """Groups by name. Streams; keeps nothing per clip. Raises ConfigError for a record without a group."""
    groups: dict[str, Group] = {}
    for r in records:
        if not r.group:
            raise ConfigError(f"record {r.id!r} has no group; splits are made by group (its reference content)")
        group = groups.setdefault(r.group, Group())
        group.clips += 1
        if r.split:
            group.official.add(r.split)
        label = r.labels.get("overall") or next(iter(r.labels.values()), None)
        if label:
            group.scored += 1
            group.total += label.mean_five
    return groups


def joined(groups: Mapping[str, Group]) -> tuple[dict[str, str], dict[str, Group]]:
    """Groups that share a content (a borrowed sound) must not be parted: (family by group, families by name)."""
    above: dict[str, str] = {}

    def top(name: str) -> str:
        while above.setdefault(name, name) != name:
            above[name] = name = above[above[name]]
        return name

    for group in groups:
        for content in group.split("+"):
            above[top(content)] = top(group)
    family_of = {group: top(group) for group in groups}
    families: dict[str, Group] = {}
    for name, part in groups.items():
        whole = families.setdefault(family_of[name], Group())
        whole.clips += part.clips
        whole.scored += part.scored
        whole.total += part.total
        whole.official |= part.official
    return family_of, families


def assign(groups: Mapping[str, Group], shares: Mapping[Split, float], seed: int, index: int) -> dict[str, Split]:
    """Part per group: the split number `index` of a seed. Independent of the order of records.

    Groups are sorted by mean score, neighbours shuffled in strata of five, and each goes to the part that lacks most
    clips of its share so far. So every part has its share of clips along the whole range of scores even in a set of
    few groups; shares are met up to one group. Every part gets a group. (VSFA's lists of permutations are another
    rule: ceil(0.6 n) and ceil(0.8 n) of the clips in a random order; use an official split to compare with those.)
    Raises ConfigError for fewer groups than parts.
    """
    if len(groups) < len(shares):
        raise ConfigError(f"{len(groups)} groups can not be split into {' / '.join(shares)}: a group is never cut")
    rng = Random(f"{seed}:{index}")
    names = sorted(groups, key=lambda name: (groups[name].score, name))
    part_of: dict[str, Split] = {}
    has: Counter[Split] = Counter()
    seen = 0
    for start in range(0, len(names), STRATUM):
        stratum = names[start : start + STRATUM]
        rng.shuffle(stratum)
        for name in stratum:
            empty = [part for part in shares if not has[part]]
            choice = empty if len(names) - len(part_of) <= len(empty) else list(shares)
            seen += groups[name].clips
            part = max(choice, key=lambda p: shares[p] * seen - has[p])
            part_of[name] = part
            has[part] += groups[name].clips
    return part_of


def split_file(
    source: str | Path,
    out: str | Path,
    shares: Mapping[Split, float],
    count: int = 10,
    seed: int = 0,
    keep_official: bool = False,
) -> Dealt:
    """Write the records with `folds` filled: one entry per split. Streams the file twice and keeps only the groups.

    keep_official: groups with a part in `split` keep it in every split, the others are dealt. `split` itself is
    filled from the first split where it is empty, unless other records have an official one that is not kept (two
    rules must not mix in one field). Media paths stay valid when `out` lies in another folder.
    Raises ConfigError for no records, a group that the official split cuts, too few groups, or count outside 1..100.
    """
    if not 1 <= count <= MOST:
        raise ConfigError(f"--count {count}: allowed are 1..{MOST} splits")
    groups = survey(read_records(source))
    if not groups:
        raise ConfigError(f"{source} has no records to split")
    family_of, families = joined(groups)
    fixed = _official(families) if keep_official else {}
    dealt = {name: family for name, family in families.items() if name not in fixed}
    parts = [fixed | (assign(dealt, shares, seed, i) if dealt else {}) for i in range(count)]
    folds = [{group: part[family] for group, family in family_of.items()} for part in parts]
    fill = keep_official or not any(g.official for g in groups.values())
    clips = write_records(out, _marked(source, out, folds, fill))
    sizes = [Counter[Split]() for _ in folds]
    for fold, size in zip(folds, sizes, strict=True):
        for name, part in fold.items():
            size[part] += groups[name].clips
    return Dealt(clips, len(groups), [dict(s) for s in sizes])


def _official(groups: Mapping[str, Group]) -> dict[str, Split]:
    cut = [name for name, group in groups.items() if len(group.official) > 1]
    if cut:
        raise ConfigError(
            f"--keep-official: the official split cuts {len(cut)} groups, e.g. {', '.join(map(repr, islice(cut, 3)))}; "
            "`leakage` lists them"
        )
    return {name: next(iter(group.official)) for name, group in groups.items() if group.official}


def _marked(source: str | Path, out: str | Path, folds: Sequence[Mapping[str, Split]], fill: bool) -> Iterator[Record]:
    place = relocation(Path(source).parent, Path(out).parent)
    for r in read_records(source):
        update: dict[str, object] = {"folds": [fold[r.group] for fold in folds], "media": place(r.media)}
        if fill and r.split is None:
            update["split"] = folds[0][r.group]
        yield r.model_copy(update=update)
