"""Pair comparisons, and the command over every layout."""

from __future__ import annotations

import json
from math import log
from pathlib import Path

import pytest
from typer.testing import CliRunner

from data_recipes.__main__ import app
from data_recipes.votes import VotesError
from data_recipes.votes.estimates import bradley_terry, read_pairs

SHARED = Path(__file__).parents[4] / "shared" / "fixtures" / "per_subject"
LONG = "clip,subject,score\na,x,1\na,y,2\na,z,2\nb,x,3\nb,y,5\nb,z,4\nc,x,4\nc,y,5\nc,z,5\n"


def pairs_file(tmp_path: Path, *rows: tuple[str, str, int]) -> Path:
    path = tmp_path / "p.csv"
    lines = (f"{a},{b},s{i},1" for a, b, n in rows for i in range(n))
    path.write_text("\n".join(("clip,other_clip,subject,score", *lines)))
    return path


def test_two_clips_have_the_log_odds(tmp_path: Path) -> None:
    """Analytic: 6 wins to 2 is a difference of log 3; a second pair is a set of its own."""
    pairs = read_pairs(pairs_file(tmp_path, ("a", "b", 6), ("b", "a", 2), ("c", "d", 1), ("d", "c", 1)))
    strength, sets = bradley_terry(pairs)
    assert strength == pytest.approx([log(3) / 2, -log(3) / 2, 0.0, 0.0], abs=1e-6)
    assert sets.tolist() == [0, 0, 1, 1]


def test_unbeaten_clip_has_no_place(tmp_path: Path) -> None:
    with pytest.raises(VotesError, match=r"clip 'c' .*won, or lost, every comparison"):
        bradley_terry(read_pairs(pairs_file(tmp_path, ("a", "b", 1), ("b", "a", 1), ("c", "a", 2))))


def test_bad_pairs(tmp_path: Path) -> None:
    with pytest.raises(VotesError, match=r":2: 'a' against 'a' is no comparison"):
        read_pairs(pairs_file(tmp_path, ("a", "a", 1)))
    path = tmp_path / "p.csv"
    path.write_text("clip,other_clip,score\na,b,won\n")
    with pytest.raises(VotesError, match=r":2: column 3 \('score'\): 'won'"):
        read_pairs(path)


@pytest.mark.skipif(not SHARED.is_dir(), reason="shared fixtures are not here")
def test_lukas_reads_as_five_contents() -> None:
    pairs = read_pairs(SHARED / "lukas_pc.csv")
    _, sets = bradley_terry(pairs)
    assert (len(pairs.clips), pairs.wins.sum(), sets.max() + 1) == (40, 2128, 5)


def run(*arguments: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["votes", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


def test_table_and_files(tmp_path: Path) -> None:
    path = tmp_path / "v.csv"
    path.write_text(LONG)
    code, out, err = run(
        path, "-o", tmp_path / "o" / "clips.jsonl", "--subjects", tmp_path / "s.csv", "--model", "p910"
    )
    assert code == 0, err
    header, first, *_ = (line.split("\t") for line in out.splitlines())
    row = dict(zip(header, first, strict=True))
    assert (row["clip"], row["n"], row["mos"], row["votes_2"]) == ("a", "3", "1.6667", "2")
    assert row["score"] == row["mos_p910"]
    written = [json.loads(line) for line in (tmp_path / "o" / "clips.jsonl").read_text().splitlines()]
    assert written[0]["shift"] == pytest.approx(written[0]["mos_p910"] - written[0]["mos"])
    assert (tmp_path / "s.csv").read_text().startswith("subject,n,bias,inconsistency\nx,3,-")
    assert "9 votes of 3 subjects for 3 clips" in err
    assert not list(tmp_path.glob("**/*.part"))


def test_means_without_a_link_between_biases(tmp_path: Path) -> None:
    path = tmp_path / "v.csv"
    path.write_text("clip,subject,score\na,x,1\na,y,2\nb,v,3\nb,w,5\n")
    code, out, _ = run(path)
    assert code == 0
    assert "mos_p910" not in out and "1.5000" in out
    assert run(path, "--model", "p910")[0] == 2


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--scale", "5"), "--scale '5'"),
        (("--scale", "5:1"), "--scale"),
        (("--model", "best"), "'best' is not one of"),
        (("--layout", "wide"), "'wide' is not one of"),
        (("--rows", "both"), "'both' is not one of"),
        (("-o", "x.txt"), "x.txt: the ending must be .csv or .jsonl"),
    ],
)
def test_refused_flags(tmp_path: Path, arguments: tuple[str, str], error: str) -> None:
    path = tmp_path / "v.csv"
    path.write_text(LONG)
    code, out, err = run(path, *arguments)
    assert (code, out) == (2, "")
    assert error in err
