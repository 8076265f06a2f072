"""The command line with a fake rater: streams, exit codes, messages."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

sys.path.insert(0, str(Path(__file__).parent / "batch"))
from fake_rater import FakeRater

from mllm_avqa import doctor
from mllm_avqa.cli import app
from mllm_avqa.cli_support import Shown
from mllm_avqa.schema.errors import AvqaError
from mllm_avqa.schema.rating import Rating

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("mllm_avqa.rater")
    module.Rater = FakeRater  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mllm_avqa.rater", module)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip [1].mp4"
    path.write_bytes(b"any")
    return path


def cli(*arguments: object, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], input=stdin, env={"COLUMNS": "160"})


def test_rate_json_is_pure(clip: Path) -> None:
    result = cli("rate", clip, "--json")
    assert result.exit_code == 0
    rating = Rating.model_validate_json(result.stdout)  # the fake prints to stdout: it must not get through
    assert rating.path == str(clip)
    assert "chatty" in result.stderr
    assert rating.explanation
    assert Rating.model_validate_json(cli("rate", clip, "--json", "--no-explain").stdout).explanation is None


def test_rate_report_and_html(clip: Path, tmp_path: Path) -> None:
    result = cli("rate", clip, "--html", tmp_path / "r.html", "--text", "a dog")
    assert result.exit_code == 0
    for part in ("clip [1].mp4", "Overall", "not scored: no captions", "contradicted", "A fake: its scores"):
        assert part in result.stdout
    assert "chatty" not in result.stdout
    assert "<!doctype html>" in (tmp_path / "r.html").read_text()
    assert "r.html" in result.stderr


def test_options_reach_the_rater(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}

    def record(cls: type, name: str, **options: object) -> FakeRater:
        seen.update(options, name=name)
        return FakeRater()

    monkeypatch.setattr(FakeRater, "from_pretrained", classmethod(record))
    flags = "--context full --lang zh --checkpoint dir --reader decord --asr w.pt --threads 3"
    flags += " --device cuda:1 --dtype bfloat16 --four-bit"
    flags += " --max-seconds 5 --max-pixels 100 --max-memory-mb 512 --max-duration 60"
    flags += " --max-bytes 1000 --max-hash-seconds 7 --max-sidecars 3 --max-sidecar-bytes 99 --allow-pickle"
    flags += " --without facts --without sound --free-text"
    flags += " --max-pass-seconds 9 --max-frames 11 --max-frame-bytes 2000000 --no-full-pass --windows 20 --hop 4"
    cli("rate", clip, *flags.split())
    limits = seen.pop("limits").model_dump()
    assert limits == {
        "max_seconds": 5.0,
        "max_pixels": 100,
        "max_memory_mb": 512,
        "max_duration": 60.0,
        "max_bytes": 1000,
        "max_hash_seconds": 7.0,
        "max_sidecars": 3,
        "max_sidecar_bytes": 99,
        "max_pass_seconds": 9.0,
        "max_frames": 11,
        "max_frame_bytes": 2000000,
        "max_threads": 4,
    }
    model = {"device": "cuda:1", "dtype": "bfloat16", "four_bit": True, "threads": 3, "allow_pickle": True}
    model |= {"without": ["facts", "sound"], "free_text": True, "full_pass": False, "windows": 20, "hop": 4.0}
    assert seen == {"name": "dir", "context": "full", "language": "zh", "reader": "decord", "asr": "w.pt", **model}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("rate gone.mp4", 1, "error: gone.mp4: No such file"),
        ("rate gone.mp4 --reader vlc", 2, "--reader"),
        ("rate gone.mp4 --max-seconds 0", 2, "--max-seconds"),
        ("score -o out.xls clip.mp4", 2, "error: -o out.xls: the ending must be one of .jsonl .csv .parquet"),
        ("score -o out.csv gone.mp4", 2, "INPUTS: 'gone.mp4' does not exist"),
        ("score -o out.csv", 2, "nothing to rate"),
        ("score -o out.csv --batch-size 0 clip.mp4", 2, "--batch-size 0: must be 1 or more"),
        ("score -o out.csv --full clip.mp4", 2, "--full needs"),
        ("score -o out.csv --manifest bad.csv", 2, "bad.csv: no column 'path'"),
        ("score -o clip.mp4/out.csv clip.mp4", 2, "-o"),
        ("rate clip.mp4 --html clip.mp4/r.html", 2, "--html"),
        ("rate clip.mp4 --timeline t.txt", 2, "--timeline t.txt: a name that ends with .csv or .parquet"),
        ("chat gone.mp4", 1, "No such file"),
        ("score clip.mp4", 2, "--output"),
        ("unknown", 2, "unknown"),
    ],
)
def test_errors_are_one_line_with_an_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: str, code: int, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("clip.mp4").write_bytes(b"any")
    Path("bad.csv").write_text("file\n")
    result = cli(*arguments.split())
    assert result.exit_code == code
    assert result.stdout == ""
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    result = cli("rate", tmp_path / "gone.mp4", "--debug")
    assert result.exit_code == 1
    assert "Traceback" in result.stderr


def test_score_exit_codes_and_streams(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"a")
    (tmp_path / "b.mp4").write_bytes(b"BAD")
    out = tmp_path / "out.jsonl"
    result = cli("score", tmp_path, "-o", out)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "1 rated, 1 failed, 0 already there" in result.stderr
    assert cli("score", tmp_path, "-o", out, "--allow-errors").exit_code == 0
    (tmp_path / "b.mp4").write_bytes(b"b")
    result = cli("score", tmp_path, "-o", out)
    assert result.exit_code == 0
    assert "1 rated, 0 failed, 1 already there" in result.stderr
    result = cli("score", tmp_path, "-o", out, "--context", "none")
    assert result.exit_code == 2
    assert "context=none" in result.stderr
    assert cli("score", tmp_path, "-o", out, "--context", "none", "--fresh").exit_code == 0
    assert len(out.read_text().splitlines()) == 2


def test_chat_gives_one_line_per_question(clip: Path) -> None:
    result = cli("chat", clip, stdin="Is it sharp?\n\n  And the sound?  \n/quit\nnever asked\n")
    assert result.exit_code == 0
    assert result.stdout == "You asked: Is it sharp?\nYou asked: And the sound?\n"
    assert "> " not in result.stderr


def test_chat_goes_on_after_a_question_that_failed(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(question: str) -> str:
        if "long" in question:
            raise AvqaError("the question is too long")
        return "yes"

    monkeypatch.setattr(FakeRater, "chat", lambda *_, **__: types.SimpleNamespace(rating=None, ask=ask))
    result = cli("chat", clip, stdin="long one\nshort one")
    assert (result.exit_code, result.stdout) == (1, "\nyes\n")
    assert "error: the question is too long" in result.stderr


def test_a_bug_is_one_line_too(clip: Path) -> None:
    code = "import fake_rater, run_fake; fake_rater.FakeRater.rate = lambda *a, **k: 1 / 0; run_fake.main()"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE / "batch"), str(HERE.parent)])}
    done = subprocess.run([sys.executable, "-c", code, "rate", clip], env=env, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.strip() == "internal error: ZeroDivisionError: division by zero (--debug shows where)"


HOSTILE = """
import logging, sys, warnings
import fake_rater, run_fake
EVIL = "title \\x1b[2J \\x9b2J \\x07 \\u202e end"
rate = fake_rater.FakeRater.rate
def evil(self, path, **more):
    logging.getLogger("library").warning("a tag says %s", EVIL)
    warnings.warn(EVIL)
    print(EVIL)
    print(EVIL, file=sys.stderr)
    rating = rate(self, path, **more)
    rating.warnings = [EVIL, "\\ud800"]
    return rating
fake_rater.FakeRater.rate = evil
run_fake.main()
"""


@pytest.mark.parametrize(
    "arguments", [["--json"], [], ["--json", "--debug"], ["--no-such-\x1b[2J\x9b2J"], ["--lang", "\x1b"]]
)
def test_control_characters_never_reach_a_terminal(clip: Path, arguments: list[str]) -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE / "batch"), str(HERE.parent)])}
    command = [sys.executable, "-c", HOSTILE, "rate", str(clip), *arguments]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    for text in (done.stdout, done.stderr):
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text), text
    if arguments == ["--json"]:
        assert json.loads(done.stdout)["warnings"] == ["title \x1b[2J \x9b2J \x07 \u202e end", "\\ud800"]
        assert done.stderr.count("title") == 4


def test_a_name_that_is_not_unicode_is_rated(tmp_path: Path) -> None:
    clip = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mp4"))
    clip.write_bytes(b"any")
    result = cli("rate", clip, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["path"].endswith("caf\\xe9.mp4")


def test_start_is_fast_because_heavy_packages_wait() -> None:
    code = "import sys, mllm_avqa.cli; print({'torch', 'transformers', 'av', 'cv2', 'scipy'} & set(sys.modules))"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=HERE.parent).stdout
        == "set()\n"
    )


def test_version() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", cli("--version").stdout.strip())


def test_doctor_reports_and_fails_on_required_checks_only(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = [doctor.Check("a", "ok", "fine"), doctor.Check("b", "missing", "[not] there", "get it", required=False)]
    monkeypatch.setattr(doctor, "examine", lambda: checks)
    result = cli("doctor")
    assert result.exit_code == 0
    assert "missing (optional)" in result.stdout
    assert "-> get it" in result.stdout
    checks.append(doctor.Check("c", "broken", "bad", "mend it"))
    result = cli("doctor", "--json")
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert (report["ok"], report["checks"][2]["remedy"]) == (False, "mend it")


def test_doctor_ranges_are_those_of_the_requirements() -> None:
    text = (HERE.parent / "requirements.txt").read_text()
    for name, low, high, _ in doctor.TESTED:
        assert f"\n{name}>={low}" + (f",<{high}" if high else "") in text


def test_doctor_compares_versions_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"transformers": "6.0.1", "av": "18", "torch": "2.14.0+cu130", "scipy": "1.9.3"}
    monkeypatch.setattr(doctor, "version", lambda name: found.get(name, "99999999"))
    states = {c.name: c.state for c in doctor._packages()}
    assert (states["transformers"], states["scipy"]) == ("broken", "broken")
    assert (states["av"], states["torch"]) == ("ok", "ok")


def test_doctor_really_reads_a_clip(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    doctor.make_clip(path)
    assert doctor._reader("pyav", path, required=True).state == "ok"
    path.write_bytes(b"no clip")
    check = doctor._reader("pyav", path, required=True)
    assert (check.state, check.remedy) == ("broken", "pip install -U av")


def test_a_gate_ends_with_three_and_its_reasons(clip: Path, tmp_path: Path) -> None:
    result = cli("rate", clip, "--json", "--fail-under", "text=2", "--fail-on", "blur")
    assert result.exit_code == 3
    reasons = Rating.model_validate_json(result.stdout).gate
    assert reasons == ["text has no score: no captions and no on-screen text found", "blur is strong (3.2 px at 540p)"]
    assert f"gate: {clip}: {reasons[0]}" in result.stderr
    assert cli("rate", clip, "--fail-under", "overall=1", "--fail-on", "silence").exit_code == 0
    result = cli("score", clip, "-o", tmp_path / "o.csv", "--fail-on", "blur")
    assert result.exit_code == 3
    assert "blur is strong" in result.stderr
    assert cli("score", clip, "-o", tmp_path / "o.csv", "--fail-on", "blak").exit_code == 2
    assert cli("score", clip, "-o", tmp_path / "o.csv").exit_code == 0


def test_usage_errors_arrive_as_text(monkeypatch):
    """Click asks a stream for bytes first: one that takes them is given nothing else."""
    shown = io.StringIO()
    monkeypatch.setattr(sys, "stderr", Shown(shown))
    typer.echo("Error: No such option: --nope", err=True)
    assert shown.getvalue() == "Error: No such option: --nope\n"
