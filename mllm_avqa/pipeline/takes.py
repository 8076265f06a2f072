"""`mllm-avqa compare` and `pick`: clips against each other, for people, as JSON and as one page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mllm_avqa.cli_support import RaterOptions, flattened, reported
from mllm_avqa.schema.names import Aspect

if TYPE_CHECKING:
    from mllm_avqa.rater import Rater
    from mllm_avqa.schema.comparison import ComparedClips, PickedTakes

_DEFAULT = RaterOptions()
AsJson = Annotated[bool, typer.Option("--json", help="Print everything as JSON, both ratings included.")]
Html = Annotated[Path | None, typer.Option(help="Also write one page with the clips side by side.")]
Text = Annotated[str | None, typer.Option(help="Caption or description that belongs to all of them.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks and all log messages.")]


@flattened
def compare(
    first: Annotated[Path, typer.Argument(help="A clip.", show_default=False)],
    second: Annotated[Path, typer.Argument(help="Another clip, of the same content or not.", show_default=False)],
    as_json: AsJson = False,
    html: Html = None,
    text: Text = None,
    options: RaterOptions = _DEFAULT,
    debug: Debug = False,
) -> None:
    """Which of two clips is better in each aspect, by how much, how sure, and why."""
    from mllm_avqa.report import takes

    with reported(debug) as console:
        with console.status("rating ..."):
            rater = options.load()
            found = rater.compare(first, second, user_text=text)
        _page(found, html, rater)
    typer.echo(found.model_dump_json(indent=2) if as_json else takes.text(found))


@flattened
def pick(
    clips: Annotated[list[Path], typer.Argument(help="Takes of one picture, encodes of one source ...")],
    aspect: Annotated[Aspect, typer.Option(help="Score to order them by.")] = "overall",
    as_json: AsJson = False,
    html: Html = None,
    text: Text = None,
    options: RaterOptions = _DEFAULT,
    debug: Debug = False,
) -> None:
    """Put clips in order, the best first. Exits with 1 when one of them could not be rated."""
    from mllm_avqa.report import takes

    with reported(debug) as console:
        with console.status("rating ..."):
            rater = options.load()
            found = rater.pick(clips, aspect=aspect, user_text=text)
        _page(found, html, rater)
    typer.echo(found.model_dump_json(indent=2) if as_json else takes.picked_text(found, options.lang))
    if found.failed:
        raise typer.Exit(1)


def _page(found: ComparedClips | PickedTakes, html: Path | None, rater: Rater) -> None:
    from mllm_avqa.report.frames import thumbnails
    from mllm_avqa.report.page import write_page
    from mllm_avqa.report.takes import render_takes
    from mllm_avqa.schema.comparison import ComparedClips

    if html is None:
        return
    pairs = [found] if isinstance(found, ComparedClips) else found.against_best
    ratings = {r.path: r for c in pairs for r in (c.first, c.second)}
    frames = {path: thumbnails(r, rater.reader, rater.card.views) for path, r in ratings.items()}
    write_page(html, render_takes(found, frames, limits=rater.card.limits), "--html")
