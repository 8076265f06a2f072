"""`python -m train.mini`: makes what mini needs beside other people's weights. Its makers use it, nobody else must."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mllm_avqa.schema.errors import ConfigError

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@app.command()
def start(
    records: Annotated[Path, typer.Argument(help="record file; training clips of it settle the projectors")],
    sight: Annotated[str, typer.Option(help="checkpoint whose schooled vision tower is taken")] = "nano",
    hearing: Annotated[
        Path | None,
        typer.Option(help="checkpoint whose sound tower was at school by adapter (configs/school/mini.yaml)"),
    ] = None,
    clips: Annotated[int, typer.Option(help="training clips that are looked at")] = 96,
) -> None:
    """Write mllm_avqa/bases/mini/start.safetensors; prints the sha256 of the base for bases.yaml."""
    from train.mini.start import make

    typer.echo(make(records, sight, clips, hearing))


@app.command()
def rebase(
    adapter: Annotated[Path, typer.Argument(help="checkpoint trained on an earlier base")],
    out: Annotated[Path, typer.Argument(help="folder for what training goes on from")],
    side: Annotated[
        list[str] | None,
        typer.Option(help="audio, video: sides whose tower is another now; not one that only learnt longer"),
    ] = None,
) -> None:
    """Put an adapter of an earlier base onto today's: the projectors of the given sides begin anew."""
    from train.mini.start import WHOLE
    from train.mini.start import rebase as put

    sides = side or []
    if unknown := set(sides) - set(WHOLE):
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: audio and video are allowed", param_hint="--side")
    try:
        put(adapter, out, sides)
    except ConfigError as e:
        raise typer.BadParameter(str(e)) from e


@app.command()
def replay(base: Annotated[Path, typer.Option(help="card of the base")] = Path("train/configs/bases/mini")) -> None:
    """Let the base answer replay.txt into replay.jsonl."""
    from train.mini.replay import write
    from train.start import reopened

    typer.echo(write(reopened(base)[0]))


if __name__ == "__main__":
    app()
