"""Files of votes: layouts, orientation, missing votes, and what is refused, with its place and flag."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from data_recipes.votes import Columns, Votes, VotesError, read_votes, summary
from mllm_avqa.schema.levels import Scale

LONG = "clip,subject,score\na,x,1\na,y,2\nb,x,4\nb,y,5\n"


def read(tmp_path: Path, text: str | bytes, **options: object) -> Votes:
    path = tmp_path / "v.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_votes(path, **options)  # type: ignore[arg-type]


def means(votes: Votes) -> dict[str, float]:
    return dict(zip(votes.clips, summary(votes).score.tolist(), strict=True))


@pytest.mark.parametrize(
    "text",
    [
        LONG,
        "\ufeff" + LONG,
        LONG.replace("\n", "\r\n"),
        LONG.replace("\n", "\n\n"),
        LONG.replace(",", ";"),
        LONG.replace(",", "\t"),
        "score;Sample ID;listener-name\n1,0;a;x\n2,0;a;y\n4,0;b;x\n5,0;b;y\n",
        'score,sample_id,listener\n"1,0",a,x\n"2,0",a,y\n"4,0",b,x\n"5,0",b,y\n',
        LONG + "c,x,\nc,y,-1\n",  # a clip without votes
        ",subject1,subject2\na,1,2\nb,4,5\n",
        "subject,a,b\nx,1,4\ny,2,5\n",
        "video,x,y\na,1,2\nb,4,5\n",
        ",x,y\na.mp4,1,2\nb.mp4,4,5\n",
        ",a,b\nrater 1,1,4\nrater 2,2,5\n",
        "clip;101;102\na;1;2\nb;4;5\n",
    ],
)
def test_all_these_are_the_same_votes(tmp_path: Path, text: str) -> None:
    found = {clip.removesuffix(".mp4"): mean for clip, mean in means(read(tmp_path, text)).items()}
    assert found == {"a": 1.5, "b": 4.5}


def test_nameless_matrix_has_clips_in_rows(tmp_path: Path) -> None:
    assert means(read(tmp_path, "1,2,nan\n4,5,3\n")) == {"1": 1.5, "2": 4.0}
    turned = read(tmp_path, "1,2,nan\n4,5,3\n", rows="subjects")
    assert means(turned) == {"1": 2.5, "2": 3.5, "3": 3.0}


@pytest.mark.parametrize("gap", [",", ",,", "-1,-1,-1", ""])
def test_repetitions_are_blocks(tmp_path: Path, gap: str) -> None:
    votes = read(tmp_path, f"1,2,3\n4,5,3\n{gap}\n3,2,1\n4,nan,5\n\n")
    assert len(votes.score) == 11
    assert means(votes) == {"1": 2.0, "2": 4.2}


def test_minus_one_is_a_vote_where_the_scale_reaches_it(tmp_path: Path) -> None:
    text = "clip,subject,score\na,x,-1\na,y,3\n"
    assert read(tmp_path, text).score.tolist() == [3.0]
    assert means(read(tmp_path, text, scale=Scale(-100, 100))) == {"a": 1.0}


def test_repetition_column_and_kept_duplicates(tmp_path: Path) -> None:
    assert len(read(tmp_path, "clip,subject,repetition,score\na,x,0,1\na,x,1,2\na,y,0,3\n").score) == 3
    assert len(read(tmp_path, LONG + "a,x,3\n", duplicates="keep").score) == 5


def test_columns_by_name(tmp_path: Path) -> None:
    text = "wav,who,sig,ovr\na,x,1,5\na,y,1,4\n"
    votes = read(tmp_path, text, columns=Columns(clip="wav", subject="who", score="ovr"))
    assert means(votes) == {"a": 4.5}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", r"v\.csv is empty"),
        (b"\xff\xfec\x00", "UTF-16"),
        (LONG.encode() + b"b\xe9b\xe9,z,3\n", "not UTF-8 at byte"),
        (LONG + 'c,"x,1\n', "not CSV"),
        ("clip,subject,score\n", "a header and no votes"),
        ("clip,subject,score\na,x,\na,y,nan\n", "no vote in it"),
        ("clip,subject,sig\na,x,3\n", r"v\.csv:1: no column for the score: name it with --score; .*sig"),
        (LONG + "a,x,3\n", r"v\.csv:6: subject 'x' voted for clip 'a' on line 2 .*--repetition.*--duplicates keep"),
        (LONG + "c,x,6\n", r"v\.csv:6: column 3 \('score'\): score 6 is outside the scale 1\.\.5 \(--scale\)"),
        (LONG + "c,x,good\n", r"v\.csv:6: column 3 \('score'\): 'good' is not a score"),
        (LONG + "c,x,inf\n", "'inf' is not a score"),
        (LONG + "c,x,3,5\n", r"v\.csv:6: 4 cells where the header has 3; quote a decimal comma"),
        (LONG + "c,,3\n", r"v\.csv:6: column 2 \('subject'\): empty subject"),
        ("asset_id,other_asset_id,subject,score\n0,1,x,1\n", "--layout pairs"),
        (",a,b\nc,1,2\nd,3,4\n", r"names \('a', 'b', 'c', 'd'\) do not tell clips from subjects.*--rows"),
        (",subject1,subject1\na,1,2\n", "'subject1' appears twice as the name of a column"),
        (",subject1,subject2\na,1,2\na,3,4\n", "'a' appears twice as the name of a row"),
        (",subject1,subject2\na,1,2\nb,3\n", r"v\.csv:3: 2 cells where the lines above have 3"),
        (",subject1,subject2\na,1,2\nb,3,x\n", r"v\.csv:3: column 3 \('subject2'\): 'x' is not a score"),
        ("1,2\n3,4\n,\n1,2\n", "repetition 2 has 1 rows, repetition 1 2"),
        (",subject1,subject2\na,1,2\n,,\nb,1,2\n", "repetition 2 has row 'b' where repetition 1 has another"),
    ],
)
def test_refused_with_place_and_flag(tmp_path: Path, text: str | bytes, error: str) -> None:
    with pytest.raises(VotesError, match=error):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "left_out"),
    [
        ("clip,a,b,c,mean\nx.mp4,5,4,5,4.667\ny.mp4,1,2,1,1.333\nz.mp4,3,3,4,3.333\n", "'mean'"),
        ("clip,a,b,c,MOS,Std. dev,95 % CI\nx.mp4,5,4,5,4,.6,1\ny.mp4,1,2,1,1,.6,1\nz.mp4,3,3,4,3,.6,1\n", "'95 % CI'"),
        ("clip,a,b,c\nx.mp4,5,4,5\ny.mp4,1,2,1\nz.mp4,3,3,4\nAverage,3,3,3.33\n", "'Average'"),
        ("subject,x.mp4,y.mp4,z.mp4,平均\na,5,1,3,3\nb,4,2,3,3\nc,5,1,4,3.33\nstd,.58,.58,.58,0\n", "'平均'"),
        ("clip,subject,score\n" + "".join(f"{c},{s},{v}\n" for c, s, v in (
            ("x.mp4", "a", 5), ("x.mp4", "b", 4), ("x.mp4", "c", 5), ("x.mp4", "MOS", 4.67), ("y.mp4", "a", 1),
            ("y.mp4", "b", 2), ("y.mp4", "c", 1), ("z.mp4", "a", 3), ("z.mp4", "b", 3), ("z.mp4", "c", 4))), "'MOS'"),
    ],
)  # fmt: skip
def test_a_summary_is_nobody_and_left_out_by_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str, left_out: str
) -> None:
    """Analytic: three people, whatever a spreadsheet computed of their votes; its numbers may leave the scale."""
    votes = read(tmp_path, text)
    assert votes.n_clip.tolist() == [3, 3, 3]
    assert sorted(votes.subjects) == ["a", "b", "c"]
    assert means(votes) == pytest.approx({"x.mp4": 14 / 3, "y.mp4": 4 / 3, "z.mp4": 10 / 3})
    assert left_out in caplog.text and "left out" in caplog.text


def test_nothing_but_summaries_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VotesError, match=r"v\.csv: the columns \('MOS', 'std'\) are summaries, not votes of people"):
        read(tmp_path, "clip,MOS,std\nx.mp4,4.2,0.3\ny.mp4,3.1,0.5\n")


def test_missing_file_and_column(tmp_path: Path) -> None:
    with pytest.raises(VotesError, match=r"none\.csv does not exist"):
        read_votes(tmp_path / "none.csv")
    with pytest.raises(VotesError, match=r"no column 'ovr' \(--score\); there are: clip, subject, score"):
        read(tmp_path, LONG, columns=Columns(score="ovr"))


def test_counts_per_level(tmp_path: Path) -> None:
    levels = read(tmp_path, LONG).levels()
    assert levels is not None and levels.tolist() == [[1, 1, 0, 0, 0], [0, 0, 0, 1, 1]]
    assert read(tmp_path, LONG + "b,z,4.5\n").levels() is None
    assert read(tmp_path, LONG, scale=Scale(0, 10)).levels() is None
    assert np.array_equal(read(tmp_path, LONG).n_subject, [2, 2])
