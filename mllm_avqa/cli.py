"""`mllm-avqa`: its commands. stdout is data, everything else goes to stderr.

Exit codes: 0 done, 1 a clip could not be rated (or a check of `doctor` failed), 2 wrong usage or configuration,
3 a clip did not pass the gate (--fail-under, --fail-on), 130 stopped by Ctrl-C, 143 by SIGTERM.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from mllm_avqa import __version__
from mllm_avqa.bases.command import weights
from mllm_avqa.batch.gates import FAILED, Gate
from mllm_avqa.batch.manifests import ManifestColumns
from mllm_avqa.batch.stopping import Stopped, ends_on_signal
from mllm_avqa.cli_support import RaterOptions, Shown, converse, flattened, one_line, progress, reported, tally
from mllm_avqa.pipeline.command import calibrate, merge, schema
from mllm_avqa.pipeline.takes import compare, pick
from mllm_avqa.scale.command import Engine, run_on_ray
from mllm_avqa.schema.plain import json_text
from mllm_avqa.serving.command import serve

app = typer.Typer(
    help="Rates the audio-visual quality of clips the way people would, and explains why.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
_DEFAULT = RaterOptions()
_COLUMNS, _NO_GATE, _HERE = ManifestColumns(), Gate(), Engine()
STDIN = Path("-")
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks and all log messages.")]


def main() -> None:
    """Entry point of the console script."""
    sys.stderr = Shown(sys.stderr)  # usage errors repeat what was typed, or what a glob found
    try:
        with ends_on_signal():
            app(prog_name="mllm-avqa")
    except Stopped as e:  # before a command began
        raise SystemExit(128 + e.signum) from None


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


app.command()(weights)
app.command()(compare)
app.command()(pick)
app.command()(schema)
app.command()(calibrate)
app.command()(merge)
app.command()(serve)


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    pass


@app.command()
@flattened
def rate(
    clip: Annotated[Path, typer.Argument(help="The file to rate; -: standard input.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole rating as JSON.")] = False,
    html: Annotated[Path | None, typer.Option(help="Also write a self-contained HTML report.")] = None,
    timeline: Annotated[
        Path | None, typer.Option(help="Also write facts and scores of every second: .csv, .parquet.")
    ] = None,
    text: Annotated[str | None, typer.Option(help="Caption or description that belongs to the clip.")] = None,
    explain: Annotated[bool, typer.Option("--explain/--no-explain", help="Write the explanation.")] = True,
    attribution: Annotated[
        bool, typer.Option("--attribution", help="Say what the scores rest on (Shapley shares); many forwards.")
    ] = False,
    gate: Gate = _NO_GATE,
    options: RaterOptions = _DEFAULT,
    debug: Debug = False,
) -> None:
    """Rate one clip and explain the rating: a report for people, or JSON."""
    from mllm_avqa.media.sources import as_file, called
    from mllm_avqa.report.frames import thumbnails
    from mllm_avqa.report.html import write_html
    from mllm_avqa.report.timeline import check_timeline, write_timeline

    with reported(debug) as console:
        gate.check()
        if timeline is not None:
            check_timeline(timeline)
        with as_file(sys.stdin.buffer if clip == STDIN else clip, options.limits) as (path, name):
            with console.status("rating ..."):
                rater = options.load()
                rating = rater.rate(path, user_text=text, explain=explain, attribution=attribution)
            card_limits = rater.card.limits
            shown = thumbnails(rating, rater.reader, rater.card.views) if html is not None else []
            rating = rating if name == path else called(rating, name)
        rating.gate = gate.passed(rating, clip)
        if html is not None:
            played = None if clip == STDIN else clip
            write_html(rating, html, limits=card_limits, thumbnails=shown, clip=played)
            console.print(f"wrote {html}")
        if timeline is not None:
            console.print(f"{write_timeline(rating, timeline)} rows: {timeline}")
    if as_json:
        typer.echo(json_text(rating.model_dump(mode="json"), indent=2))
    else:
        from rich.console import Console

        from mllm_avqa.report.terminal import render

        Console(highlight=False, markup=False, emoji=False).print(render(rating, card_limits))
    if rating.gate:
        console.print(f"gate: {rating.path}: {one_line('; '.join(rating.gate))}")
        raise typer.Exit(FAILED)


@app.command()
@flattened
def score(
    output: Annotated[Path, typer.Option("--output", "-o", help="OUT.jsonl, .csv or .parquet; -: rows on stdout.")],
    inputs: Annotated[
        list[str] | None,
        typer.Argument(help="Files, directories (recursive), globs; -: a path per line of standard input."),
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(help="List of clips: .txt, or .csv/.tsv/.jsonl/.parquet, whose columns rows carry on."),
    ] = None,
    columns: ManifestColumns = _COLUMNS,
    batch_size: Annotated[int, typer.Option(help="Clips the model scores at once.")] = 4,
    workers: Annotated[int, typer.Option(help="Processes, each with its own copy of the model.")] = 1,
    explain: Annotated[bool, typer.Option("--explain/--no-explain", help="Write explanations (slower).")] = False,
    findings: Annotated[
        bool, typer.Option("--findings", help="Look for faults too (slower); implied by --explain.")
    ] = False,
    full: Annotated[bool, typer.Option("--full", help="JSONL only: the nested rating in every row.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start the output anew instead of continuing it.")] = False,
    allow_errors: Annotated[bool, typer.Option("--allow-errors", help="Exit 0 though clips failed.")] = False,
    shard: Annotated[
        str | None, typer.Option(help="K/N: only part K of N, by the clips' bytes; `merge` joins them.")
    ] = None,
    export: Annotated[bool, typer.Option("--export", help="Rate nothing: write OUT from its journal.")] = False,
    timeline: Annotated[
        Path | None, typer.Option(help="Also write facts and scores of every second of all: .csv, .parquet.")
    ] = None,
    gate: Gate = _NO_GATE,
    engine: Engine = _HERE,
    options: RaterOptions = _DEFAULT,
    debug: Debug = False,
) -> None:
    """Score many clips into one file. Run it again to continue: what is done and unchanged is not rated twice."""
    from mllm_avqa.batch import BatchOptions, check_options, run_batch
    from mllm_avqa.batch.inputs import expand, listed, read_shard
    from mllm_avqa.batch.outputs import check_output, journal_path
    from mllm_avqa.batch.outputs import export as export_rows

    if export:
        with reported(debug) as console:
            check_output(output)
            console.print(f"{export_rows(output)} rows: {output}")
        return
    rows_out = sys.stdout.buffer
    opened = replace(options, threads=options.threads or _share(workers))
    load = opened.load_beside_engine if engine.engine == "vllm" else opened.load
    with reported(debug) as console:
        batch = BatchOptions(
            output=output,
            inputs=listed(inputs or (), sys.stdin),
            manifest=manifest,
            columns=columns,
            gate=gate,
            batch_size=batch_size,
            workers=workers,
            explain=explain,
            findings=findings,
            fresh=fresh,
            full=full,
            shard=read_shard(shard) if shard else None,
            settings=options.settings,
            limits=options.limits,
            stdout=rows_out,
            timeline=timeline,
        )
        on_ray = engine.engine != "local"
        if not on_ray:
            check_options(batch)
        passed_over: Counter[str] = Counter()
        total = sum(1 for _ in expand(batch.inputs, manifest, passed_over, columns))  # errors of the manifest show here
        if passed_over:
            console.print(f"not rated, no media by their ending: {tally(passed_over)}")
        with progress(console, total) as tick:
            if on_ray:
                result = run_on_ray(load, batch, engine, tick, options.checkpoint)
            else:
                result = run_batch(load, batch, tick)
        counts = f"{result.rated} rated, {result.failed} failed, {result.current} already there"
        if result.stopped:
            console.print(f"stopped: {counts}; run the same command again to continue {journal_path(output)}")
            raise typer.Exit(128 + result.signum)
        console.print(f"{counts}: {output}")
        for path, reason in result.gated:
            console.print(f"gate: {one_line(path)}: {one_line(reason)}")
        if result.gated:
            raise typer.Exit(FAILED)
        if result.failed and not allow_errors:
            console.print("rows with status 'error' are tried again on the next run; --allow-errors accepts them")
            raise typer.Exit(1)


@app.command()
@flattened
def chat(
    clip: Annotated[Path, typer.Argument(help="The file to talk about.", show_default=False)],
    text: Annotated[str | None, typer.Option(help="Caption or description that belongs to the clip.")] = None,
    options: RaterOptions = _DEFAULT,
    debug: Debug = False,
) -> None:
    """Ask questions about one clip: one per line on stdin, one answer per line on stdout. /quit ends."""
    answers_out = sys.stdout
    with reported(debug) as console:
        with console.status("rating ..."):
            rater = options.load()
            session = rater.chat(clip, user_text=text)
        failed = converse(session, sys.stdin, answers_out, console, limits=rater.card.limits)
        if failed:
            raise typer.Exit(1)


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print the checks as JSON.")] = False,
    debug: Debug = False,
) -> None:
    """Check what this installation can do, and say how to get what is missing."""
    from mllm_avqa.doctor import examine, show, to_json

    with reported(debug):
        checks = examine()
    if as_json:
        typer.echo(to_json(checks))
    else:
        from rich.console import Console

        Console(highlight=False, markup=False, emoji=False).print(show(checks))
    if any(c.required and c.state != "ok" for c in checks):
        raise typer.Exit(1)


def _share(workers: int) -> int | None:
    """Threads per worker so that all of them together fill the machine once."""
    return max(1, (os.cpu_count() or 1) // workers) if workers > 1 else None
