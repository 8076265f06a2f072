"""Options of every command that asks a judge."""

from __future__ import annotations

from typing import Annotated

import typer

JudgeOption = Annotated[
    str | None, typer.Option("--judge", help="Base URL of an OpenAI-compatible server, e.g. http://host:8000/v1.")
]
JudgeModelOption = Annotated[str | None, typer.Option("--judge-model", help="Name of the judging model there.")]
JudgeKeyOption = Annotated[
    str | None, typer.Option("--judge-key-env", help="Environment variable that holds the judge's API key.")
]
JudgeTemperatureOption = Annotated[
    float | None, typer.Option("--judge-temperature", min=0, help="Of the judge; the server's default if absent.")
]
JudgeTimeoutOption = Annotated[
    float, typer.Option("--judge-timeout", min=0.1, help="Seconds to wait for one judgement.")
]
RoundsOption = Annotated[int, typer.Option(min=1, help="Judgements of every text and rubric, averaged.")]
JobsOption = Annotated[int, typer.Option(min=1, help="Requests to the judge under way at the same time.")]
