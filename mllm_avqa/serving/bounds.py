"""What requests may cost. Imports nothing heavy: the command line reads it whatever command runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer


@dataclass(frozen=True)
class ServerBounds:
    """What requests may cost, and its options on the command line. Of a clip: `RaterOptions`."""

    places: Annotated[int, typer.Option(min=1, help="Requests with a clip at a time; more are told to come back.")] = 32
    per_minute: Annotated[float, typer.Option(min=1, help="Requests a minute of one key, or address without keys.")] = (
        600.0
    )
    json_bytes: Annotated[int, typer.Option(min=1000, help="Size of a JSON body, data URLs included.")] = 32 * 2**20
    head_seconds: Annotated[float, typer.Option(min=1, help="Time for the head of a request.")] = 20.0
    body_seconds: Annotated[float, typer.Option(min=1, help="Time for a body to arrive.")] = 120.0
    remote_seconds: Annotated[float, typer.Option(min=1, help="Time for a clip of an allowed host.")] = 60.0
    wait_seconds: Annotated[float, typer.Option(min=0, help="How long POST waits for a rating before it says 202.")] = (
        60.0
    )
    keep_seconds: Annotated[float, typer.Option(min=1, help="How long a rating can be asked for.")] = 600.0
    kept: Annotated[int, typer.Option(min=1, help="Ratings kept at most.")] = 256
    held: Annotated[int, typer.Option(min=1, help="Clips kept encoded for chats.")] = 8
    batch_size: Annotated[int, typer.Option(min=1, help="Clips the model scores at once.")] = 4
    drain_seconds: Annotated[float, typer.Option(min=0, help="How long SIGTERM waits for what is under way.")] = 30.0
