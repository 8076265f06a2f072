"""`python -m tests.abuse NAME ...`: what strangers and bad luck do to the tool, as often as you like.

NAME is a module of this folder with a `main(arguments)` that returns the exit code; `NAME --help` says what it takes.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

HERE = Path(__file__).parent
NAMES = sorted(p.stem for p in HERE.glob("*.py") if not p.stem.startswith(("_", "test_", "conftest")))


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0] not in NAMES:
        print(f"usage: python -m tests.abuse {{{','.join(NAMES)}}} ...", file=sys.stderr)
        return 2
    sys.path.insert(0, str(HERE))
    return int(import_module(arguments[0]).main(arguments[1:]) or 0)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
