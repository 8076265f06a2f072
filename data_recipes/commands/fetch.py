"""`fetch`: get a data set from its owner, or say how."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from data_recipes.commands import fail
from mllm_avqa.schema.errors import AvqaError, ConfigError


def fetch(
    name: Annotated[str | None, typer.Argument(help="Data set; without one all are listed (tab-separated).")] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Folder; default: data/NAME.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Download. Without it the steps are only told.")] = False,
    ids: Annotated[Path | None, typer.Option(help="List of YouTube ids or addresses, one per line.")] = None,
    wait: Annotated[
        tuple[float, float], typer.Option(help="Bounds of the random pause between two videos, seconds.")
    ] = (5.0, 20.0),
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try videos again that failed before.")] = False,
) -> None:
    """Tell how to get a data set; with --yes, download it where its owner allows that. Repeat to resume.

    Prints the paths of what was downloaded.
    """
    from data_recipes.fetch import FetchError, catalogue, way

    try:
        if name is None:
            for known, how in sorted(catalogue().items()):
                typer.echo(f"{known}\t{how.kind}\t{how.homepage}")
            return
        how = way(name)
        folder = out or Path("data") / name
        _tell(name)
        if how.kind == "youtube" and ids is None and yes:
            raise ConfigError("a list of videos is needed (--ids FILE)")
        if ids is not None and how.kind != "youtube":
            raise ConfigError(f"--ids is for youtube, {name} is {how.kind}")
        if not yes:
            return
        if how.kind == "manual":
            typer.echo("this one is not downloaded by a program; see the steps", err=True)
            raise typer.Exit(1)
        if ids is not None:
            _videos(ids, folder, wait, retry_failed)
        else:
            _files(name, folder)
    except FetchError as e:
        typer.echo(f"error: {e}", err=True)
        raise typer.Exit(1) from e
    except AvqaError as e:
        raise fail(e) from e


def _tell(name: str) -> None:
    from data_recipes.datasets.card import card_names, load_card
    from data_recipes.fetch import way

    how = way(name)
    typer.echo(f"{name}: {how.kind}, {how.homepage}", err=True)
    for file in how.files:
        checks = [f"{file.bytes:,} bytes"] if file.bytes else []
        checks += [f"md5 {file.md5}"] if file.md5 else []
        typer.echo(f"  {file.url}" + (f" ({', '.join(checks)})" if checks else ""), err=True)
    if how.repo:
        typer.echo(f"  data set repository {how.repo}", err=True)
    for step in how.steps:
        typer.echo(f"  {step}", err=True)
    licence = load_card(name).licence if name in card_names() else "see the homepage"
    typer.echo(f"  Licence: {licence}. Read it before you use the data.", err=True)
    if how.kind != "manual":
        typer.echo("  Download with --yes.", err=True)


def _files(name: str, folder: Path) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    from data_recipes.fetch import fetch as get
    from data_recipes.fetch import way

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        tasks: dict[str, TaskID] = {}

        def progress(file: str, done: int, whole: int | None) -> None:
            if file not in tasks:
                tasks[file] = bar.add_task(file, total=whole)
            bar.update(tasks[file], completed=done, total=whole)

        got = get(way(name), folder, progress)
    for path in got:
        typer.echo(path)


def _videos(ids: Path, folder: Path, wait: tuple[float, float], retry_failed: bool) -> None:
    from data_recipes.youtube import STATE, fetch_videos, read_ids

    done = fetch_videos(
        read_ids(ids),
        folder,
        wait,
        retry_failed,
        lambda id, place, of: typer.echo(f"{place + 1}/{of} {id}", err=True),
    )
    for id, why in done.failed.items():
        typer.echo(f"failed: {id}: {why}", err=True)
    typer.echo(f"{done.made} downloaded, {done.kept} there before, {len(done.failed)} failed", err=True)
    typer.echo(folder / STATE)
    if done.failed:
        raise typer.Exit(1)


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("fetch")(fetch)
