"""Whole runs with a tiny random checkpoint: rows, resume, what is left out, and the command."""

from __future__ import annotations

import json

import numpy as np
import pytest
from chat_server import serving
from typer.testing import CliRunner

from eval.__main__ import app
from eval.questions import run as run_module
from eval.questions.run import answer_all
from eval.questions.summary import render, summarise
from eval.questions.task import load_task
from eval.store import Log
from eval.studies.questions import Questions
from mllm_avqa.schema.errors import ConfigError, OutputError


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Folder with five pictures and one file that is none."""
    import cv2

    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for n in range(5):
        cv2.imwrite(str(folder / f"{n}.png"), rng.integers(0, 50 * (n + 1), (90, 120, 3), dtype=np.uint8))
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def rater(tiny_dir):
    from mllm_avqa.rater import Rater

    made = Rater.from_pretrained(str(tiny_dir), context="none", threads=1)
    yield made
    type(made).close(made)


@pytest.fixture(autouse=True)
def one_rater(rater, monkeypatch):
    """Loading is not what is tested here: every run gets the same rater, left open."""
    monkeypatch.setattr(rater, "close", lambda: None)
    monkeypatch.setattr(run_module.Rater, "from_pretrained", lambda *_, **__: rater)


def a1(name="0.png", kind=1, options=("Noise", "Blur", "Haze"), right="Blur"):
    row = {"type": kind, "concern": 0, "question": "What is wrong?", "img_path": name, "candidates": list(options)}
    return row if right is None else row | {"correct_ans": right}


def save(path, rows):
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def asked(tmp_path, rows, pictures, name="qbench_a1", **settings):
    data = save(tmp_path / "d.json", rows)
    made = Questions(bench=name, data=data, output=tmp_path / "out", **settings)
    return answer_all(load_task(name), data, pictures, made.opened, made.output, made)


def statuses(answers):
    return [r["status"] for r in answers.rows]


def test_every_item_has_a_row_and_is_counted(tmp_path, pictures):
    rows = [a1(), a1(kind=0, options=("Yes", "No"), right="No"), a1("none.png"), a1("broken.png"), a1(right=None)]
    answers = asked(tmp_path, rows, pictures)
    assert statuses(answers) == ["answered", "answered", "missing", "failed", "answered"]
    assert answers.rows[2]["why"] == "no file none.png"
    assert str(pictures) not in json.dumps(answers.rows)  # results travel, folders do not
    result = summarise(answers)
    every = result["accuracy"]["all"]
    assert (every["n"], every["no_key"], every["left_out"]) == (2, 1, 2)
    assert every["chance"] == pytest.approx((1 / 3 + 1 / 2) / 2, abs=1e-4)
    assert result["left_out"] == {"missing": 1, "failed": 1, "unsupported": 0}
    text = render(result)
    assert "1 media missing, 1 media failed, 0 not supported" in text
    assert "type: yes-no" in text
    assert [json.loads(x)["id"] for x in (tmp_path / "out" / "qbench_a1.jsonl").open()] == list("01234")


def test_a_stopped_run_goes_on_and_failures_are_tried_again(tmp_path, pictures, monkeypatch):
    rows = [a1(), a1("1.png"), a1("late.png")]
    first = asked(tmp_path, rows, pictures)
    log = tmp_path / "out" / "qbench_a1.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(lines[0] + lines[1][:40])  # killed while it wrote the second row
    seen = []
    answer = run_module.choice_answers

    def spy(items, *rest):
        seen.extend(i.id for i in items)
        return answer(items, *rest)

    monkeypatch.setattr(run_module, "choice_answers", spy)
    (pictures / "late.png").write_bytes((pictures / "2.png").read_bytes())
    try:
        again = asked(tmp_path, rows, pictures)
    finally:
        (pictures / "late.png").unlink()
    assert seen == ["1", "2"]
    assert again.rows[:2] == first.rows[:2]
    assert statuses(again) == ["answered"] * 3
    assert len(log.read_text().splitlines()) == 3


def test_a_log_of_another_run_is_not_mixed_with_this_one(tmp_path, pictures):
    asked(tmp_path, [a1()], pictures)
    with pytest.raises(OutputError, match="--fresh"):
        asked(tmp_path, [a1()], pictures, shuffles=2)
    assert statuses(asked(tmp_path, [a1()], pictures, shuffles=2, fresh=True)) == ["answered"]
    (tmp_path / "out" / "qbench_a1.jsonl").write_text("{}\n")
    with pytest.raises(OutputError, match="not a row"):
        asked(tmp_path, [a1()], pictures)


def test_two_runs_do_not_write_one_log(tmp_path):
    with (
        Log(tmp_path / "x.jsonl", "r"),
        pytest.raises(OutputError, match="another run"),
        Log(tmp_path / "x.jsonl", "r"),
    ):
        pass


def test_items_of_a_clip_share_one_encoding(tmp_path, pictures, rater, monkeypatch):
    calls = []
    encode = rater.corridor.hold
    monkeypatch.setattr(rater.corridor, "hold", lambda *a, **k: calls.append(1) or encode(*a, **k))
    answers = asked(tmp_path, [a1(), a1(right="Haze"), a1(kind=2), a1("1.png")], pictures)
    assert len(calls) == 2
    assert answers.rows[0]["log_probs"] == answers.rows[1]["log_probs"]


def test_orders_are_averaged(tmp_path, pictures):
    row = asked(tmp_path, [a1()], pictures, shuffles=3).rows[0]
    assert len(row["chosen"]) == 3
    assert row["credit"] == pytest.approx(sum(c == 1 for c in row["chosen"]) / 3)


@pytest.mark.parametrize(
    ("said", "status", "credit"),
    [
        (["B. Blur", "A. Blur"], "answered", 1.0),
        (["B", "B"], "answered", 0.5),  # a habit for a letter
        (["Blur", "who knows"], "answered", 0.5),
        (["", "who knows"], "unanswered", 0.0),
    ],
)
def test_written_answers_are_read_and_never_guessed(tmp_path, pictures, monkeypatch, said, status, credit):
    texts = iter(said)
    monkeypatch.setattr("mllm_avqa.model.scoring.EncodedClip.generate", lambda *_: next(texts))
    answers = asked(tmp_path, [a1()], pictures, readout="generate", shuffles=2)
    row = answers.rows[0]
    assert (row["status"], row["credit"], row["texts"]) == (status, credit, said)
    every = summarise(answers)["accuracy"]["all"]
    assert every["n"] == 1  # an unanswered question stays in the denominator
    assert every["unanswered"] == row["silent"]


def test_the_real_generator_runs(tmp_path, pictures):
    row = asked(tmp_path, [a1()], pictures, readout="generate").rows[0]
    assert isinstance(row["texts"][0], str)


def test_a3_logs_logits_and_correlates(tmp_path, pictures):
    rows = [{"img_path": f"{n}.png", "gt_score": 5 - n} for n in range(5)] + [{"img_path": "no.png", "gt_score": 1}]
    answers = asked(tmp_path, rows, pictures, "qbench_a3")
    result = summarise(answers)
    x = [r["predicted"] for r in answers.rows[:5]]
    logits = answers.rows[0]["logits"]
    # analytic
    assert x[0] == pytest.approx(1 / (1 + np.exp((logits["poor"] - logits["good"]) / 100)), abs=1e-12)
    found = result["agreement"]["predicted"]
    assert (found["n"], found["m"]) == (5, 6)
    ranks = np.argsort(np.argsort(x))
    assert found["srcc"]["value"] == pytest.approx(np.corrcoef(ranks, [4, 3, 2, 1, 0])[0, 1], abs=1e-3)  # analytic
    assert "5 of 6" in render(result)


def test_too_few_scores_have_no_correlation_but_a_reason(tmp_path, pictures):
    answers = asked(tmp_path, [{"img_path": "0.png", "gt_score": 5}], pictures, "qbench_a3")
    assert "at least 5 needed" in render(summarise(answers))


# ---- pairs ----------------------------------------------------------------------------------------------------------


def test_other_questions_on_pairs_are_not_supported(tmp_path, pictures):
    common = {"video_type": "N", "question_type": "what", "context": "Compare", "correct_choice": "A"}
    two = {"video_name": "0.png_cat_4.png.png", "answers": ["The first", "The second"]}
    rows = [
        {**common, **two, "question": "Which video has better quality?"},
        {**common, **two, "question": "Which video is noisier?"},
        {**common, **two, "question": "Which video has better quality?", "answers": ["Left", "Right"]},
        {**common, **two, "question": "Which video has better quality?", "video_name": "0.png_cat_no.png.png"},
        {**common, **two, "question": "Which video has better quality?", "video_name": "broken.png_cat_0.png.png"},
        {**common, "video_name": "0.png", "answers": ["Yes", "No"], "question": "Is it sharp?"},
        {**common, "video_name": "0.png", "question_type": "open_ended", "answers": "Grain.", "question": "Why?"},
    ]
    rows[6]["correct_choice"] = None
    answers = asked(tmp_path, rows, pictures, "qbench_video")
    assert statuses(answers)[:6] == ["answered", "unsupported", "unsupported", "missing", "failed", "answered"]
    gap = np.subtract(*answers.rows[0]["scores"])
    assert answers.rows[0]["chosen"] == [0 if gap > 0 else 1]
    result = summarise(answers)
    assert result["left_out"] == {"missing": 1, "failed": 1, "unsupported": 2}
    assert result["pairs_by_scores"] == 1
    assert result["open"]["with_reference"] == 1
    text = render(result)
    assert "1 comparisons were answered by rating both clips" in text
    assert "counted as not supported" in text


# ---- descriptions and the command -----------------------------------------------------------------------------------


def command(*arguments):
    return CliRunner().invoke(app, ["questions", *map(str, arguments)])


def test_descriptions_go_to_a_judge_and_come_back(tmp_path, pictures, monkeypatch):
    texts = iter(["It is noisy.", "", "It is dark."])
    monkeypatch.setattr("mllm_avqa.model.scoring.EncodedClip.generate", lambda *_: next(texts))
    rows = [{"img_path": f"{n}.png", "reference": "Grainy."} for n in range(2)] + [{"img_path": "2.png"}]
    data, out = save(tmp_path / "d.json", rows), tmp_path / "out"
    done = command("qbench_a2", "--data", data, "--media-root", pictures, "-o", out)
    assert done.exit_code == 0, done.output
    assert "not judged (--replies)" in done.stdout
    prompts = [json.loads(x) for x in (out / "qbench_a2.judge.jsonl").open()]
    wanted = ["0/completeness", "0/preciseness", "0/relevance", "2/relevance"]  # no reference, nothing to compare with
    assert [p["id"] for p in prompts] == wanted
    assert "Grainy." in prompts[0]["prompt"] and "Grainy." not in prompts[2]["prompt"]
    replies = [("0/completeness", "Score: 2"), ("0/completeness", "1"), ("0/preciseness", "good"), ("2/relevance", "2")]
    lines = "".join(json.dumps({"id": i, "reply": r}) + "\n" for i, r in replies)
    (tmp_path / "r.jsonl").write_text(lines)
    done = command(
        "qbench_a2", "--data", data, "--media-root", pictures, "-o", out, "--replies", tmp_path / "r.jsonl", "--json"
    )
    judge = json.loads(done.stdout)["open"]["judge"]
    assert judge["completeness"] == {
        "score": 0.75,
        "n": 2,
        "unread": 0,
    }  # analytic: (2 + 1) / 2, and 0 of the empty one
    assert judge["preciseness"] == {"score": 0.0, "n": 1, "unread": 1}
    assert judge["relevance"] == {"score": 1.0, "n": 2, "unread": 0}


def test_an_endpoint_judges_descriptions(tmp_path, pictures, monkeypatch):
    monkeypatch.setattr("mllm_avqa.model.scoring.EncodedClip.generate", lambda *_: "It is noisy.")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    data = save(tmp_path / "d.json", [{"img_path": "0.png", "reference": "Grainy."}])
    arguments = ("qbench_a2", "--data", data, "--media-root", pictures, "-o", tmp_path / "out", "--rounds", 2)
    with serving() as server:
        server.reply = lambda p: "Score: 2" if "Grainy." in p else "no idea"
        judge = ("--judge", server.url, "--judge-model", "m")
        result = json.loads(command(*arguments, *judge, "--json").stdout)
        assert result["open"]["judge"]["completeness"] == {"score": 2.0, "n": 1, "unread": 0}
        assert result["open"]["judge"]["relevance"] == {"score": None, "n": 0, "unread": 2}  # it has no reference
        assert (result["judged_by"]["answered_by"], result["judged_by"]["read"]) == (["served-1"], 4)
        assert len(server.seen) == 6
        assert command(*arguments, *judge).exit_code == 0
        assert len(server.seen) == 8  # those not read are asked again
        both = command(*arguments, *judge, "--replies", data)
        assert both.exit_code == 2 and "--replies" in both.stderr


def test_command_exit_codes(tmp_path, pictures):
    data = save(tmp_path / "d.json", [a1(), a1("none.png")])
    done = command("qbench_a1", "--data", data, "--media-root", pictures, "-o", tmp_path / "out")
    assert done.exit_code == 1
    assert done.stdout.startswith("# qbench_a1")
    assert json.loads((tmp_path / "out" / "qbench_a1.json").read_text())["left_out"]["missing"] == 1
    for arguments in (
        ["nothing", "--data", data],
        ["qbench_a1", "--data", tmp_path / "no.json"],
        ["qbench_a1", "--data", data, "--media-root", tmp_path / "nowhere"],
        ["qbench_a1", "--data", data, "--replies", tmp_path / "no.jsonl"],
        ["qbench_a1", "--data", data, "--replies", data],
    ):
        done = command(*arguments, "-o", tmp_path / "out2")
        assert done.exit_code == 2, done.output
        assert done.stderr.startswith("error: ")


def test_a_limit_takes_evenly_spread_items(tmp_path, pictures):
    answers = asked(tmp_path, [a1(f"{n % 5}.png") for n in range(10)], pictures, clips=2)
    assert [i.id for i in answers.items] == ["0", "5"]


def test_without_a_media_folder(tmp_path):
    made = Questions(bench="qbench_a1", data=save(tmp_path / "d.json", [a1()]), media=tmp_path / "x", output=tmp_path)
    with pytest.raises(ConfigError, match="--media-root"):
        made.run()
