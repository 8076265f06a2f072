"""`mllm-avqa`: rate, score, chat, doctor. stdout is data, everything else goes to stderr.

Exit codes: 0 done, 1 a clip could not be rated (or a check of `doctor` failed), 2 wrong usage or configuration,
130 stopped by Ctrl-C, 143 by SIGTERM.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mllm_avqa import __version__
from mllm_avqa.bases.command import weights
from mllm_avqa.batch.stopping import Stopped, ends_on_signal
from mllm_avqa.cli_support import Shown, converse, progress, reported, tally
from mllm_avqa.schema.clip import Limits
from mllm_avqa.schema.plain import json_text

if TYPE_CHECKING:
    from mllm_avqa.rater import Rater

app = typer.Typer(
    help="Rates the audio-visual quality of clips the way people would, and explains why.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
_DEFAULT = Limits()

Context = Annotated[
    Literal["none", "fast", "full"],
    typer.Option(help="Text to look for: none; fast = metadata and subtitles; full = also on-screen text and speech."),
]
Lang = Annotated[Literal["en", "zh"], typer.Option(help="Language of explanation and report.")]
Checkpoint = Annotated[str, typer.Option(help="'nano' or a checkpoint directory (with avqa.yaml).")]
ReaderName = Annotated[Literal["pyav", "decord"], typer.Option(help="Library that decodes.")]
Asr = Annotated[str | None, typer.Option(help="Whisper checkpoint for --context full: file, folder or name.")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads of the model.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 ...; default: an accelerator if there is one.")]
Dtype = Annotated[Literal["float32", "bfloat16", "float16"], typer.Option(help="Precision of the model.")]
FourBit = Annotated[bool, typer.Option("--four-bit", help="Language model in 4 bits (needs bitsandbytes).")]
Pickle = Annotated[bool, typer.Option("--allow-pickle", help="Load weights that are no safetensors too.")]
MaxSeconds = Annotated[float, typer.Option(min=0.1, help="Wall time for decoding one window.")]
MaxPixels = Annotated[int, typer.Option(min=1, help="Width x height of a frame.")]
MaxMemory = Annotated[int, typer.Option(min=64, help="Memory of the decoding process, MB.")]
MaxDuration = Annotated[float, typer.Option(min=0.1, help="Seconds of media.")]
MaxBytes = Annotated[int, typer.Option(min=1, help="Size of a file.")]
MaxHashSeconds = Annotated[float, typer.Option(min=0.1, help="Wall time for reading a file's bytes.")]
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


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    pass


@app.command()
def rate(
    clip: Annotated[Path, typer.Argument(help="The file to rate.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole rating as JSON.")] = False,
    html: Annotated[Path | None, typer.Option(help="Also write a self-contained HTML report.")] = None,
    text: Annotated[str | None, typer.Option(help="Caption or description that belongs to the clip.")] = None,
    explain: Annotated[bool, typer.Option("--explain/--no-explain", help="Write the explanation.")] = True,
    attribution: Annotated[
        bool, typer.Option("--attribution", help="Say what the scores rest on (Shapley shares); many forwards.")
    ] = False,
    context: Context = "fast",
    lang: Lang = "en",
    checkpoint: Checkpoint = "nano",
    reader: ReaderName = "pyav",
    asr: Asr = None,
    threads: Threads = None,
    device: Device = None,
    dtype: Dtype = "float32",
    four_bit: FourBit = False,
    pickle: Pickle = False,
    max_seconds: MaxSeconds = _DEFAULT.max_seconds,
    max_pixels: MaxPixels = _DEFAULT.max_pixels,
    max_memory_mb: MaxMemory = _DEFAULT.max_memory_mb,
    max_duration: MaxDuration = _DEFAULT.max_duration,
    max_bytes: MaxBytes = _DEFAULT.max_bytes,
    max_hash_seconds: MaxHashSeconds = _DEFAULT.max_hash_seconds,
    debug: Debug = False,
) -> None:
    """Rate one clip and explain the rating: a report for people, or JSON."""
    limits = _limits(max_seconds, max_pixels, max_memory_mb, max_duration, max_bytes, max_hash_seconds)
    with reported(debug) as console:
        with console.status("rating ..."):
            rater = _load(checkpoint, reader, limits, context, asr, lang, threads, device, dtype, four_bit, pickle)
            rating = rater.rate(clip, user_text=text, explain=explain, attribution=attribution)
        card_limits = rater.card.limits
        if html is not None:
            from mllm_avqa.report.frames import thumbnails
            from mllm_avqa.report.html import write_html

            write_html(rating, html, limits=card_limits, thumbnails=thumbnails(rating, rater.reader, rater.card.views))
            console.print(f"wrote {html}")
    if as_json:
        typer.echo(json_text(rating.model_dump(mode="json"), indent=2))
        return
    from rich.console import Console

    from mllm_avqa.report.terminal import render

    Console(highlight=False, markup=False, emoji=False).print(render(rating, card_limits))


@app.command()
def score(
    output: Annotated[Path, typer.Option("--output", "-o", help="OUT.jsonl, .csv or .parquet; -: rows on stdout.")],
    inputs: Annotated[list[str] | None, typer.Argument(help="Files, directories (recursive), globs.")] = None,
    manifest: Annotated[
        Path | None, typer.Option(help="List of clips: .txt, or .csv/.jsonl with 'path' and optional 'text'.")
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Clips the model scores at once.")] = 4,
    workers: Annotated[int, typer.Option(help="Processes, each with its own copy of the model.")] = 1,
    explain: Annotated[bool, typer.Option("--explain/--no-explain", help="Write explanations (slower).")] = False,
    full: Annotated[bool, typer.Option("--full", help="JSONL only: the nested rating in every row.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start the output anew instead of continuing it.")] = False,
    allow_errors: Annotated[bool, typer.Option("--allow-errors", help="Exit 0 though clips failed.")] = False,
    export: Annotated[bool, typer.Option("--export", help="Rate nothing: write OUT from its journal.")] = False,
    context: Context = "fast",
    lang: Lang = "en",
    checkpoint: Checkpoint = "nano",
    reader: ReaderName = "pyav",
    asr: Asr = None,
    threads: Threads = None,
    device: Device = None,
    dtype: Dtype = "float32",
    four_bit: FourBit = False,
    pickle: Pickle = False,
    max_seconds: MaxSeconds = _DEFAULT.max_seconds,
    max_pixels: MaxPixels = _DEFAULT.max_pixels,
    max_memory_mb: MaxMemory = _DEFAULT.max_memory_mb,
    max_duration: MaxDuration = _DEFAULT.max_duration,
    max_bytes: MaxBytes = _DEFAULT.max_bytes,
    max_hash_seconds: MaxHashSeconds = _DEFAULT.max_hash_seconds,
    debug: Debug = False,
) -> None:
    """Score many clips into one file. Run it again to continue: what is done and unchanged is not rated twice."""
    from mllm_avqa.batch import BatchOptions, check_options, run_batch
    from mllm_avqa.batch.inputs import expand
    from mllm_avqa.batch.outputs import check_output, journal_path
    from mllm_avqa.batch.outputs import export as export_rows

    if export:
        with reported(debug) as console:
            check_output(output)
            console.print(f"{export_rows(output)} rows: {output}")
        return
    limits = _limits(max_seconds, max_pixels, max_memory_mb, max_duration, max_bytes, max_hash_seconds)
    options = BatchOptions(
        output=output,
        inputs=inputs or (),
        manifest=manifest,
        batch_size=batch_size,
        workers=workers,
        explain=explain,
        fresh=fresh,
        full=full,
        settings={"context": context, "lang": lang, "reader": reader, "asr": Path(asr).name if asr else "none"},
        limits=limits,
        stdout=sys.stdout.buffer,
    )
    share = threads or _share(workers)
    load = partial(_load, checkpoint, reader, limits, context, asr, lang, share, device, dtype, four_bit, pickle)
    with reported(debug) as console:
        check_options(options)
        passed_over: Counter[str] = Counter()
        total = sum(1 for _ in expand(options.inputs, manifest, passed_over))  # errors of the manifest show here
        if passed_over:
            console.print(f"not rated, no media by their ending: {tally(passed_over)}")
        with progress(console, total) as tick:
            result = run_batch(load, options, tick)
        counts = f"{result.rated} rated, {result.failed} failed, {result.current} already there"
        if result.stopped:
            console.print(f"stopped: {counts}; run the same command again to continue {journal_path(output)}")
            raise typer.Exit(128 + result.signum)
        console.print(f"{counts}: {output}")
        if result.failed and not allow_errors:
            console.print("rows with status 'error' are tried again on the next run; --allow-errors accepts them")
            raise typer.Exit(1)


@app.command()
def chat(
    clip: Annotated[Path, typer.Argument(help="The file to talk about.", show_default=False)],
    text: Annotated[str | None, typer.Option(help="Caption or description that belongs to the clip.")] = None,
    context: Context = "fast",
    lang: Lang = "en",
    checkpoint: Checkpoint = "nano",
    reader: ReaderName = "pyav",
    asr: Asr = None,
    threads: Threads = None,
    device: Device = None,
    dtype: Dtype = "float32",
    four_bit: FourBit = False,
    pickle: Pickle = False,
    max_seconds: MaxSeconds = _DEFAULT.max_seconds,
    max_pixels: MaxPixels = _DEFAULT.max_pixels,
    max_memory_mb: MaxMemory = _DEFAULT.max_memory_mb,
    max_duration: MaxDuration = _DEFAULT.max_duration,
    max_bytes: MaxBytes = _DEFAULT.max_bytes,
    max_hash_seconds: MaxHashSeconds = _DEFAULT.max_hash_seconds,
    debug: Debug = False,
) -> None:
    """Ask questions about one clip: one per line on stdin, one answer per line on stdout. /quit ends."""
    limits = _limits(max_seconds, max_pixels, max_memory_mb, max_duration, max_bytes, max_hash_seconds)
    answers_out = sys.stdout
    with reported(debug) as console:
        with console.status("rating ..."):
            rater = _load(checkpoint, reader, limits, context, asr, lang, threads, device, dtype, four_bit, pickle)
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


def _limits(seconds: float, pixels: int, memory: int, duration: float, size: int, hash_seconds: float) -> Limits:
    return Limits(
        max_seconds=seconds, max_pixels=pixels, max_memory_mb=memory, max_duration=duration, max_bytes=size,
        max_hash_seconds=hash_seconds,
    )  # fmt: skip


def _load(
    checkpoint: str,
    reader: str,
    limits: Limits,
    context: str,
    asr: str | None,
    lang: str,
    threads: int | None,
    device: str | None,
    dtype: str,
    four_bit: bool,
    pickle: bool,
) -> Rater:
    from mllm_avqa.rater import Rater

    return Rater.from_pretrained(
        checkpoint, reader=reader, limits=limits, context=context, asr=asr, language=lang, threads=threads,
        device=device, dtype=dtype, four_bit=four_bit, allow_pickle=pickle,
    )  # fmt: skip


def _share(workers: int) -> int | None:
    """Threads per worker so that all of them together fill the machine once."""
    return max(1, (os.cpu_count() or 1) // workers) if workers > 1 else None
