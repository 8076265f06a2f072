"""Finding the clip a label row names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

RAW = (".yuv", ".rgb", ".raw")  # no header, so no size and rate: nothing can open it


@dataclass
class MediaFinder:
    """Looks for candidates below `root`; falls back to names that differ only in case (IXX.BMP, Talking_head)."""

    root: Path
    listings: dict[str, dict[str, str]] = field(default_factory=dict)
    other_case: int = 0

    def find(self, candidates: Sequence[str]) -> str | None:
        """The first candidate that is a file, as a path below the root (or absolute, if it was given so)."""
        usable = [c for c in candidates if not c.lower().endswith(RAW)]
        for candidate in usable:
            if os.path.isfile(os.path.join(self.root, candidate)):
                return candidate
        for candidate in usable:
            found = self._ignoring_case(candidate)
            if found is not None and os.path.isfile(os.path.join(self.root, found)):
                self.other_case += 1
                return found
        return None

    def _ignoring_case(self, candidate: str) -> str | None:
        found = ""
        for part in Path(candidate).parts:
            folder = os.path.join(self.root, found)
            name = part if os.path.exists(os.path.join(folder, part)) else self._listing(folder).get(part.lower())
            if name is None:
                return None
            found = os.path.join(found, name)
        return found

    def _listing(self, folder: str) -> dict[str, str]:
        if folder not in self.listings:
            names = os.listdir(folder) if os.path.isdir(folder) else []
            self.listings[folder] = {n.lower(): n for n in names}
        return self.listings[folder]
