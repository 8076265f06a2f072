"""The exam: who orders faults passes, who mixes sides up or says nothing does not."""

from pathlib import Path

import numpy as np
import pytest

from eval import judges
from eval.judges import Given, score_of
from eval.studies.exam import Exam, _cross, _order, _spread, _widths
from mllm_avqa.model.endpoint import Reply, _reply
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.records import Label, Record, write_records


@pytest.fixture
def records() -> list[Record]:
    rng = np.random.default_rng(0)
    return [
        Record(
            id=f"{g}-{k}", media=f"{g}-{k}.mp4", dataset="d", group=f"g{g}", split="test",
            labels={"video": Label(mean=1 + k), "audio": Label(mean=float(rng.uniform(1, 5)))},
        )
        for g in range(5)
        for k in range(5)
    ]  # fmt: skip


def told(rows, what):
    return next(r["value"] for r in rows if what in r["what"])


def test_a_judge_that_sees_and_hears_passes_and_one_that_mixes_sides_does_not(records) -> None:
    right = {r.id: Given({a: lb.mean for a, lb in r.labels.items()}, {"video": 1.0}) for r in records}
    mixed = {r.id: Given({"video": r.labels["audio"].mean, "audio": r.labels["video"].mean}) for r in records}
    assert told(_order(records, right), "video") == 1.0
    assert abs(told(_order(records, mixed), "video")) < 0.5
    assert told(_cross(records, right), "audio in video") < told(_cross(records, mixed), "audio in video") == 1.0
    assert told(_widths(right), "video") == 1.0 and list(_widths(mixed)) == []
    assert told(_order(records, {r.id: Given({"video": 3.0}) for r in records}), "video") == 0.0  # says nothing


def test_each_source_gives_its_extremes(records) -> None:
    more = [r.model_copy(update={"id": f"x{n}-{r.id}"}) for n in range(4) for r in records]
    assert len(_spread(more, 2)) == 16
    assert {r.labels["video"].mean for r in _spread(more, 1)} == {1, 2, 3, 4, 5}


def answer(content: str, tops: list[dict[str, float]]) -> Reply:
    places = [
        {"token": "x", "logprob": 0.0, "top_logprobs": [{"token": t, "logprob": p} for t, p in place.items()]}
        for place in tops
    ]
    return _reply({"choices": [{"message": {"content": content}, "logprobs": {"content": places}}]}, "m")


def test_a_servers_answer_is_read_by_likelihood_and_else_by_its_word() -> None:
    half = float(np.log(0.5))
    assert judges._points(answer("good", [{"The": 0.0}, {" good": half, " Fair": half}])) == pytest.approx(3.5)
    assert judges._points(answer("It is poor.", [])) == 2.0
    assert judges._points(answer("I cannot watch clips.", [])) is None
    assert _reply({"choices": [{"message": {"content": "a"}, "logprobs": "none"}]}, "m").tops == ()


def test_a_file_of_ratings_sits_the_exam(records, tmp_path: Path) -> None:
    write_records(tmp_path / "records.jsonl", records)
    rows = [f"{r.media},{r.labels['video'].mean},{r.labels['audio'].mean}" for r in records[1:]]
    (tmp_path / "mine.csv").write_text("path,video,audio\n" + "\n".join(rows) + "\n")
    found = Exam(records=tmp_path / "records.jsonl", ratings=tmp_path / "mine.csv").run()
    assert told(found["rows"], "video, mean Spearman") == 1.0
    assert found["failed"] == {"0-0.mp4": "0-0.mp4: no row in the file of ratings"}
    (tmp_path / "svr.csv").write_text("path,video_svr\n" + "\n".join(r.rpartition(",")[0] for r in rows) + "\n")
    columns = Exam(records=tmp_path / "records.jsonl", ratings=tmp_path / "svr.csv", model="svr").run()
    assert columns["judge"] == "svr of svr.csv" and told(columns["rows"], "video, mean Spearman") == 1.0
    both = Exam(records=tmp_path / "records.jsonl", ratings=tmp_path / "mine.csv", beside=(f"{tmp_path}/svr.csv#svr",))
    report = both.report(both.run())
    assert "| mine.csv, 24 clips | svr of svr.csv, 24 clips" in report.text and "mine.csv: 0-0.mp4" in report.failed
    assert next(line for line in report.text.splitlines() if "audio, mean" in line).endswith(" None (0) |")
    with pytest.raises(ConfigError, match="one judge at a time"):
        Exam(records=tmp_path / "records.jsonl", ratings=tmp_path / "mine.csv", endpoint="http://x/v1").run()


def test_a_judge_that_fails_is_noted(tmp_path: Path) -> None:
    failed: dict[str, str] = {}
    assert score_of(judges.ratings({}, tmp_path), tmp_path / "a.mp4", failed) is None
    assert failed == {"a.mp4": "a.mp4: no row in the file of ratings"}
