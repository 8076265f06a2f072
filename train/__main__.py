"""`python -m train`: data on stdout, everything human on stderr."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from mllm_avqa.schema.errors import AvqaError

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
TRY_AGAIN = 75  # EX_TEMPFAIL of sysexits.h: not finished, nothing wrong
app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def main() -> None:
    """Train checkpoints from record files."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(name)s %(message)s")


@contextlib.contextmanager
def _settled() -> Iterator[None]:
    """What libraries print must not mix with the result; what goes wrong on purpose is a message and an exit code."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except AvqaError as e:
        again = e.kind == "interrupted"
        typer.echo(f"{e}; run the same command to go on" if again else f"error: {e}", err=True)
        raise typer.Exit(TRY_AGAIN if again else 2) from e


@app.command()
def run(
    config: Annotated[Path, typer.Argument(help="YAML of train/configs/")],
    set_: Annotated[list[str] | None, typer.Option("--set", help="a.b=c, may be repeated")] = None,
    workers: Annotated[int, typer.Option(help="processes that prepare clips")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would be done, and do nothing")] = False,
    gpus: Annotated[int, typer.Option(min=1, help="GPUs that --dry-run counts with")] = 1,
    four_bit: Annotated[bool, typer.Option("--four-bit", help="QLoRA: frozen layers of the base in 4 bits")] = False,
    folds: Annotated[str | None, typer.Option(help="a training per split of the records: all, or 0,1,2")] = None,
    cross: Annotated[bool, typer.Option("--cross", help="train on every dataset alone, test on all")] = False,
) -> None:
    """Run all stages of CONFIG; run it again to resume."""
    with _settled():
        from train.config import load_config

        cfg = load_config(config, [*(set_ or []), *["four_bit=true"] * four_bit])
        if dry_run:
            from train.dry_run import dry_run as describe

            result = describe(cfg, gpus, config.parent)
        elif folds is not None or cross:
            from train.folds import run_cross, run_folds

            result = run_cross(cfg, workers) if cross else run_folds(cfg, folds or "all", workers)
            typer.echo(result.pop("table"), err=True)
        else:
            from train.run import run as run_stages
            from train.stage import DONE

            last = run_stages(cfg, workers)
            reports = {s.name: json.loads((cfg.output / s.name / DONE).read_text()) for s in cfg.stages}
            result = {"checkpoint": str(last), "stages": reports}
    if os.environ.get("RANK", "0") == "0":
        typer.echo(json.dumps(result, indent=1))


@app.command()
def school(
    config: Annotated[Path, typer.Argument(help="YAML of train/configs/school/")],
    set_: Annotated[list[str] | None, typer.Option("--set", help="a.b=c, may be repeated")] = None,
) -> None:
    """School the towers of a checkpoint on lessons; run it again to go on where it was."""
    with _settled():
        from train.config import read
        from train.schooling.config import Schooling
        from train.schooling.school import DONE
        from train.schooling.school import school as teach

        done = teach(read(config, Schooling, set_))
        result = {"checkpoint": str(done)} | json.loads((done / DONE).read_text())
    typer.echo(json.dumps(result, indent=1))


@app.command()
def publish(
    stage: Annotated[Path, typer.Argument(help="directory of a finished stage")],
    directory: Annotated[Path, typer.Argument(help="where the checkpoint goes")],
    earlier: Annotated[Path | None, typer.Option(help="checkpoint it came from, mixed into its language model")] = None,
    share: Annotated[float, typer.Option(help="of the earlier one", min=0, max=1)] = 0.25,
) -> None:
    """Write a finished stage as one bf16 checkpoint: adapters merged, card beside the weights."""
    with _settled():
        from train.export import publish as write

        write(stage, directory, earlier, share)
    typer.echo(str(directory))


@app.command()
def export(
    checkpoint: Annotated[Path, typer.Argument(help="a finished stage, or any checkpoint directory")],
    directory: Annotated[Path, typer.Argument(help="new folder")],
    example: Annotated[Path | None, typer.Option(help="clip to score, for the lines in its README")] = None,
    dtype: Annotated[str, typer.Option(help="bfloat16 or float32")] = "bfloat16",
) -> None:
    """Merge an adapter and write what stock transformers and serving engines load."""
    with _settled():
        from train.export import export as write

        report = write(checkpoint, directory, str(example) if example else None, dtype)
    typer.echo(json.dumps(report, indent=1))


@app.command()
def push(
    checkpoint: Annotated[Path, typer.Argument(help="a finished stage, or any checkpoint directory")],
    name: Annotated[str, typer.Argument(help="ORG/NAME on the hub, or ORG/NAME@BRANCH")],
    private: Annotated[bool, typer.Option(help="a new repository is private")] = False,
    adapter: Annotated[bool, typer.Option("--adapter", help="the adapter alone, where its base is on the hub")] = False,
    message: Annotated[str, typer.Option(help="of the commit")] = "",
) -> None:
    """Upload CHECKPOINT with its model card; HF_TOKEN holds the token. Prints the name to load it by."""
    with _settled():
        from train.push import push as upload

        report = upload(checkpoint, name, private=private, adapter=adapter, message=message)
    typer.echo(json.dumps(report, indent=1))


if __name__ == "__main__":
    app()
