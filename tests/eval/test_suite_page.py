"""The board as page and text: marks, wins, and nothing of a stranger's name that a browser would run."""

from __future__ import annotations

import re

from eval.board.reading import Board, Result
from eval.board.view import markdown, render, view
from eval.stats import Number
from eval.study import Line


def line(who, value, n=20, **more):
    numbers = {"SRCC": Number(value=value, low=value - 0.1, high=value + 0.1), "RMSE": Number(value=1 - value)}
    return Line(what="overall", who=who, values=numbers, n=n, of=20, **more)


def board(*lines, name="a", **more):
    result = Result(kind="score", task="mine", version="2", about="", lines=list(lines), **more)
    return Board(
        suite="s", version="1", about="", notes=["read this"], made_by=[], checkpoints={name: "w", "b": "w"},
        command="python -m eval suite s.yaml a b -o out", machine={"date": "d", "hardware": "h", "commit": None,
        "versions": {"x": "1"}}, seconds={"all": 2.0, "model": 1.0}, results=[result],
    )  # fmt: skip


def cells(found, who):
    return {r.who: r.cells for r in view(found).sections[0].tables[0].rows}[who]


def test_the_best_checkpoint_is_marked_and_less_error_is_better():
    found = board(line("a", 0.7), line("b", 0.5))
    assert [c.mark for c in cells(found, "a")] == ["best", "best"]
    assert [c.mark for c in cells(found, "b")] == ["", ""]


def test_a_baseline_wins_over_the_checkpoint_it_belongs_to_alone():
    found = board(
        line("a", 0.7), line("b", 0.5), line("b: x", 0.6, baseline=True, beside="b"), line("z", 0.8, baseline=True)
    )
    assert view(found).wins == [
        "mine, overall, SRCC: b: x 0.600 against b 0.500",
        "mine, overall, SRCC: z 0.800 against a 0.700",
        "mine, overall, SRCC: z 0.800 against b 0.500",
    ]
    assert cells(found, "b: x")[0].mark == "wins" and "▲ 0.600" in markdown(found)
    assert view(found).overview.rows[0].cells[-1].span == "z"


def test_the_overview_takes_the_first_aspect_that_is_labelled():
    found = board(
        line("a", 0.7).model_copy(update={"what": "video"}), line("b", 0.5).model_copy(update={"what": "video"})
    )
    row = view(found).overview.rows[0]
    assert row.who == "video SRCC" and [c.text for c in row.cells] == ["0.700", "0.500"]


def test_numbers_over_other_clips_are_not_compared():
    assert view(board(line("a", 0.5), line("x", 0.9, n=12, baseline=True))).wins == []


def test_a_loss_against_one_modality_is_told():
    gain = Line(what="overall over sound only", who="a", values={"SRCC gained": Number(value=-0.2)}, n=20, table="gain")
    assert view(board(line("a", 0.5), gain)).wins == ["mine, overall over sound only: a loses 0.200 (SRCC gained)"]


def test_the_page_stands_alone_and_holds_commands_failures_and_reasons():
    name = "<script>alert(1)</script>\u202e"
    text = render(
        board(line(name, 0.5, command="python -m eval suite 'x y'"), name=name, failed={"b": "checkpoint: no card"},
              lost={name: ["c1: not_found"]})
    )  # fmt: skip
    assert "<script" not in text and "\u202e" not in text
    assert not re.search(r"(?:src|href)=|url\(|@import", text)
    for words in ("checkpoint: no card", "1 without a result: c1: not_found", "python -m eval suite", "read this"):
        assert words in text
    assert "<details>" in text and "0.400 to 0.600" in text
