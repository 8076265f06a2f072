"""`python -m train.mini RECORDS`: makes mllm_avqa/bases/mini/start.safetensors, which nobody but its maker needs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def main(
    records: Annotated[Path, typer.Argument(help="record file; training clips of it settle the projectors")],
    sight: Annotated[str, typer.Option(help="checkpoint whose schooled vision tower is taken")] = "nano",
    clips: Annotated[int, typer.Option(help="training clips that are looked at")] = 96,
) -> None:
    """Write where mini starts: vision tower, projectors, embeddings of the added tokens."""
    from train.mini.start import make

    typer.echo(make(records, sight, clips))


if __name__ == "__main__":
    typer.run(main)
