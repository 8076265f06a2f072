"""`mllm-avqa serve` as a process: starts, answers, drains on SIGTERM, refuses wrong usage."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "abuse"))
from serving import cases, server

from mllm_avqa.cli import app


def test_it_stands_what_strangers_send_and_finishes_what_is_under_way():  # starts a process: some seconds
    answers: list[int] = []
    quick = ("half uploads", "path traversal", "wrong key", "no media", "HTML", "another's")
    with server() as host:
        for name, (right, call) in cases(10).items():
            if any(q in name for q in quick):
                assert call(host) <= right, name
        assert host.free() and host.leaks == []
        clients = [threading.Thread(target=lambda: answers.append(host.upload()[0])) for _ in range(3)]
        for c in clients:
            c.start()
        while host.taken() < 3:
            assert len(answers) < 3
            time.sleep(0.05)
    for c in clients:  # `server` told it to stop, saw it end with 143 and leave no file
        c.join(60)
    assert answers == [200, 200, 200]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--media-root", "/nowhere"], "--media-root"),
        (["--api-key", "short"], "8 ASCII"),
        (["--api-key-file", "/nowhere"], "--api-key-file"),
        (["--host", "192.0.2.1"], "--host"),
    ],
)
def test_wrong_usage_is_refused_before_anything_is_loaded(arguments: list[str], told: str):
    result = CliRunner().invoke(app, ["serve", *arguments])
    assert result.exit_code == 2 and told in result.output


def test_a_checkpoint_that_is_not_there_ends_the_server():
    result = CliRunner().invoke(app, ["serve", "--port", "0", "--checkpoint", "nope"])
    assert result.exit_code == 2 and "--checkpoint" in result.output
