"""`mllm-avqa serve` as a process: starts, answers, drains on SIGTERM, refuses wrong usage."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mllm_avqa.cli import app

HERE = Path(__file__).parents[2]


def ask(url: str, data: bytes | None = None, kind: str = "application/json") -> tuple[int, bytes]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(url, data, {"Content-Type": kind}), timeout=60) as answer:
        return answer.status, answer.read()


def test_it_finishes_what_is_under_way_when_it_is_told_to_stop(clip: Path):  # starts a process: some seconds
    command = [sys.executable, "-m", "mllm_avqa", "serve", "--port", "0", "--threads", "1", "--media-root"]
    with subprocess.Popen([*command, str(clip.parent)], stderr=subprocess.PIPE, text=True, cwd=HERE) as process:
        try:
            assert process.stderr is not None
            url = re.findall(r"http://\S+", process.stderr.readline())[0]
            while True:
                try:
                    ask(f"{url}/readyz")
                    break
                except OSError:
                    assert process.poll() is None
                    time.sleep(0.2)
            answers: list[int] = []
            body = b'{"clip": "%s"}' % clip.name.encode()
            clients = [
                threading.Thread(target=lambda: answers.append(ask(f"{url}/v1/ratings", body)[0])) for _ in range(3)
            ]
            for c in clients:
                c.start()
            while b"avqa_places_taken 3.0" not in ask(f"{url}/metrics")[1]:
                assert len(answers) < 3
                time.sleep(0.05)
            process.send_signal(signal.SIGTERM)
            for c in clients:
                c.join(60)
            assert answers == [200, 200, 200]
            assert process.wait(60) == 128 + signal.SIGTERM
        finally:
            process.kill()


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
