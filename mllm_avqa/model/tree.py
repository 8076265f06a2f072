"""Many questions and answers behind one held prefix, as a tree of tokens: what they share is computed once.

A token sees what its aspect may see of the prefix, and the tokens before it on its own branch. So every branch has the
result that it would have alone (tests/model/test_tree.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from mllm_avqa.model.rows import EncodedBranch, PackedRow

MOST = 384  # tokens in one forward, unless those of one name are more: each is compared with all of the others


def together(parts: Sequence[tuple[str, int]], most: int = MOST) -> list[list[int]]:
    """Which parts (name, tokens) go into one forward: those of a name always, names until there are `most` tokens.

    What stands in one row is compared with all of it, seen or not: in many small rows a processor has less to do.
    Tokens are counted before branches share them.
    """
    named: dict[str, list[int]] = {}
    for k, (name, _) in enumerate(parts):
        named.setdefault(name, []).append(k)
    out: list[list[int]] = []
    held = 0
    for own in named.values():
        size = sum(parts[k][1] for k in own)
        if not out or held + size > most:
            out.append([])
            held = 0
        out[-1] += own
        held += size
    return out


@dataclass
class TokenTree:
    """Nodes in an order that has every parent before its children."""

    ids: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)  # -1: the first token of a branch
    depths: list[int] = field(default_factory=list)
    aspects: list[str] = field(default_factory=list)
    paths: list[list[int]] = field(default_factory=list)  # by branch, its nodes

    @classmethod
    def of(cls, branches: Sequence[EncodedBranch]) -> TokenTree:
        """Branches of one aspect share the tokens with which they begin alike."""
        tree = cls()
        known: dict[tuple[str, int, int], int] = {}  # aspect, parent, token -> node
        for b in branches:
            at, path = -1, []
            for depth, token in enumerate(b.ids):
                key = (b.aspect, at, token)
                if key not in known:
                    known[key] = len(tree.ids)
                    tree.ids.append(token)
                    tree.parents.append(at)
                    tree.depths.append(depth)
                    tree.aspects.append(b.aspect)
                at = known[key]
                path.append(at)
            tree.paths.append(path)
        return tree

    def behind(self, prefix: PackedRow) -> tuple[torch.Tensor, torch.Tensor]:
        """Positions int64 [3, 1, N] and attention mask bool [1, 1, N, prefix + N] of the nodes."""
        n = len(self.ids)
        own = torch.zeros(n, n, dtype=torch.bool)
        for k, parent in enumerate(self.parents):
            if parent >= 0:
                own[k] = own[parent]
            own[k, k] = True
        sees = torch.stack([prefix.visible_from[a] for a in self.aspects])
        position = torch.tensor([prefix.next_position[a] + d for a, d in zip(self.aspects, self.depths, strict=True)])
        return position.expand(3, 1, -1), torch.cat([sees, own], -1)[None, None]
