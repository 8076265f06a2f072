"""The leaderboard as one HTML file that asks nothing of the network, with JSON and Markdown beside it."""

from __future__ import annotations

from pathlib import Path

from jinja2 import BaseLoader, Environment, StrictUndefined
from markupsafe import Markup

from eval.board.schema import Board
from eval.board.view import markdown, view
from eval.writing import write_text
from mllm_avqa.report.labels import visible

HERE = Path(__file__).parent
NAME = "leaderboard"


def write_board(board: Board, folder: Path) -> str:
    """Write leaderboard.html, .md and .json; returns the page's path. Raises OutputError."""
    texts = {"html": render(board), "md": markdown(board) + "\n", "json": board.model_dump_json(indent=1) + "\n"}
    for ending, text in texts.items():
        write_text(folder / f"{NAME}.{ending}", text)
    return f"{folder / NAME}.html"


def render(board: Board) -> str:
    env = Environment(
        loader=BaseLoader(),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda v: visible(v) if isinstance(v, str) and not isinstance(v, Markup) else v,
    )
    template = env.from_string((HERE / f"{NAME}.html.j2").read_text(encoding="utf-8"))
    return template.render(board=board, view=view(board))
