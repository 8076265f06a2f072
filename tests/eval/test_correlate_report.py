"""Correlations as text and as a page."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from typer.testing import CliRunner

from eval.__main__ import app
from eval.correlation.html import link, render_html, write_html
from eval.correlation.numbers import study
from eval.correlation.sections import escape, latex, markdown, terminal
from eval.joining import ColumnNames
from eval.svg import Axis, span
from mllm_avqa.schema.errors import OutputError

N = 40
RNG = np.random.default_rng(9)
TRUTH = RNG.uniform(1, 5, N)
HOSTILE = "<script>alert(1)</script>\u202e.mp4"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    names = [HOSTILE, "javascript:alert(1)", *(f"clips/{i} a.mp4" for i in range(2, N))]
    for name, noise in (("one", 0.2), ("two_b", 0.8)):
        rows = [f'"{n}",{t + e:.4f}' for n, t, e in zip(names, TRUTH, RNG.normal(0, noise, N), strict=True)]
        rows[0] = f'"{HOSTILE}",{TRUTH[0] + 3}'  # the worst error, so that its name is shown
        rows[1] = f'"{names[1]}",{TRUTH[1] - 3}'
        (folder / f"{name}.csv").write_text("path,score\n" + "\n".join(rows), encoding="utf-8")
    rows = [f'"{n}",{t:.4f},0.6,24,c{i % 9},{"xy"[i % 2]}' for i, (n, t) in enumerate(zip(names, TRUTH, strict=True))]
    (folder / "labels.csv").write_text("path,mos,sd,k,content,base\n" + "\n".join(rows), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def found(files):
    columns = ColumnNames(group="content", by="base", std=("sd",), votes=("k",))
    return study(files / "one.csv", files / "labels.csv", [files / "two_b.csv"], label_columns=columns, draws=200)


def test_page_is_whole_and_alone(found):
    page = render_html(found, clips="", title="labels.csv")
    assert "default-src 'none'" in page
    assert not re.search(r"(src|href)=\"(?!\./|file:|https?:)", page)
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "\u202e" not in page
    pictures = re.findall(r"<svg.*?</svg>", page, re.S)
    assert len(pictures) == 5  # a forest, and two plots of each model
    roots = [ElementTree.fromstring(p) for p in pictures]
    assert sum(len(r.findall("circle")) for r in roots[1:]) == 4 * N
    assert all(len(r.findall("path[@class='curve']")) == 1 for r in roots[1:])
    assert all("M" in r.find("path[@class='bar']").get("d") for r in roots[1:])
    assert "means nothing: 95 % of the pairs" in page
    assert page.index("Models compared") < page.index("Worst errors") < page.index("Errors (ITU-T P.1401)")


def test_worst_errors_come_first_with_links(found):
    page = render_html(found, clips="../set", title="t")
    links = re.findall(r'<a href="([^"]*)"', page)
    assert len(links) == 24
    strange = ("%3Cscript%3Ealert%281%29%3C/script%3E%E2%80%AE.mp4", "javascript%3Aalert%281%29")
    assert {f"../set/{name}" for name in strange} <= set(links[:12])
    errors = [float(e) for e in re.findall(r"<td>([+-][\d.]+)</td></tr>", page)[:12]]
    assert errors == sorted(errors, key=abs, reverse=True)


@pytest.mark.parametrize(
    ("path", "clips", "address"),
    [
        ("a b.mp4", "", "./a%20b.mp4"),
        ("javascript:alert(1)", "", "./javascript%3Aalert%281%29"),
        ("https://example.org/a.mp4?x=1", "set", "https://example.org/a.mp4?x=1"),
        ("/data/ä.mp4", "set", "file:///data/%C3%A4.mp4"),
        ("sub\\a.mp4", "../set", "../set/sub/a.mp4"),
        ("", "set", ""),
    ],
)
def test_links_are_files_or_http(path, clips, address):
    assert link(path, clips) == address


def test_page_of_undefined_numbers(files, tmp_path):
    flat = tmp_path / "flat.csv"
    names = [line.rsplit(",", 1)[0] for line in (files / "one.csv").read_text(encoding="utf-8").splitlines()[1:]]
    flat.write_text("path,score\n" + "\n".join(f"{n},3" for n in names), encoding="utf-8")
    page = render_html(study(flat, files / "labels.csv", draws=100), clips="", title="t")
    assert "predictions are constant" in page
    assert "nan" not in re.sub(r"<style>.*?</style>", "", page, flags=re.S).lower()


def test_page_is_written_whole_or_not_at_all(found, files, tmp_path):
    out = tmp_path / "new" / "r.html"
    write_html(found, out, clips=files, title="t")
    assert [p.name for p in out.parent.iterdir()] == ["r.html"]
    (tmp_path / "taken").mkdir()
    with pytest.raises(OutputError, match="--html"):
        write_html(found, tmp_path / "taken", clips=files, title="t")
    assert {p.name for p in tmp_path.iterdir()} == {"new", "taken"}


def test_markdown_and_latex_hold_the_same_numbers(found):
    srcc = f"{found.result.aspects['overall'].srcc.value:.3f}"
    text, tex = markdown(found.result), latex(found.result)
    assert text.startswith("| aspect")
    assert srcc in text
    assert srcc in tex
    assert tex.count(r"\begin{tabular}") == text.count("### ") + 1 == tex.count(r"\end{table}")
    assert r"two\_b" in tex
    assert escape("a_b & 5 % of -0.3 x-2 ~ {^}") == (
        r"a\_b \& 5 \% of $-$0.3 x-2 \textasciitilde{} \{\textasciicircum{}\}"
    )


def test_terminal_turns_tables_that_are_too_wide(found):
    narrow = terminal(found.result, 70).splitlines()
    assert any(line.startswith(" SRCC [95 % CI]  ") for line in narrow)
    wide = terminal(found.result, 200)
    assert "SRCC [95 % CI]" in wide.splitlines()[2]
    assert "…" not in wide


def test_formats_and_html_of_the_command(files, tmp_path):
    out = tmp_path / "r.html"
    args = ["correlate", str(files / "one.csv"), str(files / "labels.csv"), "--group", "content", "--draws", "100"]
    for form, start in (
        ("terminal", "Agreement"),
        ("latex", r"\begin{table}"),
        ("json", "{"),
        ("markdown", "| aspect"),
    ):
        got = CliRunner().invoke(app, [*args, "--format", form, "--html", str(out)])
        assert got.exit_code == 0, got.output
        assert got.stdout.startswith(start)
    assert "wrote" in got.stderr
    assert out.is_file()
    got = CliRunner().invoke(app, [*args, "--html", str(files)])
    assert got.exit_code == 2
    assert got.stdout == ""


def test_axes_have_few_round_ticks():
    assert Axis(0.9, 5.1, 0, 100).ticks == [1, 2, 3, 4, 5]
    assert Axis(-0.02, 0.13, 0, 100).ticks == [0, 0.05, 0.1]
    assert 3 <= len(Axis(*span(np.array([3.0])), 0, 1).ticks) <= 8
