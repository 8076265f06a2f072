"""`school`: lessons for the towers of a model, from the sources of a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from data_recipes.commands import SourcesOption, command


@command("school")
def school(
    recipe: Annotated[Path, typer.Argument(help="Recipe file whose sources and splits are used.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the shards.")],
    sight: Annotated[int, typer.Option(help="Lessons of sight for training.")] = 4800,
    hearing: Annotated[int, typer.Option(help="Lessons of hearing for training.")] = 3200,
    held_out: Annotated[int, typer.Option(help="Lessons of each from the sources of `val`.")] = 400,
    seed: Annotated[int, typer.Option(help="Other lessons from the same sources.")] = 0,
    workers: Annotated[int, typer.Option(help="Processes; the result does not depend on it.")] = 1,
    sources: SourcesOption = None,
) -> None:
    """Write shards of lessons for the stage kind `schooling`. Shards that are there are kept."""
    from data_recipes.synthesis.recipe import load_recipe
    from data_recipes.synthesis.school import write_lessons
    from data_recipes.synthesis.sources import find_sources

    counts = {"video-val": held_out, "audio-val": held_out, "video-train": sight, "audio-train": hearing}
    loaded = load_recipe(recipe)
    loaded = loaded.model_copy(update={"sources": [s.model_copy(update={"spoken": False}) for s in loaded.sources]})
    found = find_sources(loaded, sources or ())
    for shard in write_lessons(found.sources, out, counts, seed, workers):
        typer.echo(str(shard))
