"""The exported task: YAML as lmms-eval reads it, functions that run without this project, answers read strictly."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from eval.__main__ import app
from mllm_avqa.schema.bench_item import BenchItem, write_bench


class Loader(yaml.SafeLoader):
    """`!function utils.name` is kept as text, which is what lmms-eval turns into the function."""


Loader.add_constructor("!function", lambda loader, node: loader.construct_scalar(node))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The task folder of three items, one of them on a clip that is not there; and what the command said."""
    root = tmp_path_factory.mktemp("bench")
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(root / name), np.zeros((64, 96, 3), np.uint8))
    shared = {"question_type": "what", "modality": "video", "concern": "fault", "source": "d/x"}
    write_bench(
        root / "bench.jsonl",
        [
            BenchItem(id="1", media="a.png", question="What is wrong?", options=["noise", "blur"], correct=1,
                      context={"user": "All is well."}, **shared),
            BenchItem(id="2", media="a.png", media_b="b.png", question="Which is better?",
                      options=["the first", "the second"], correct=0, **shared),
            BenchItem(id="3", media="gone.png", question="?", options=["x", "y"], correct=0, **shared),
        ],
    )  # fmt: skip
    folder = root / "task"
    done = CliRunner().invoke(app, ["export-lmms", str(root / "bench.jsonl"), "-o", str(folder)])
    assert done.exit_code == 0, done.output
    return folder, done.output


def utils(folder):
    spec = importlib.util.spec_from_file_location("exported_utils", folder / "utils.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_yaml_names_functions_that_exist_and_data_that_are_there(exported):
    folder, said = exported
    task = yaml.load((folder / "mllm_avqa_bench.yaml").read_text(), Loader)
    module = utils(folder)
    named = [task[k] for k in ("doc_to_visual", "doc_to_text", "process_results")]
    named += [m["aggregation"] for m in task["metric_list"]]
    assert all(callable(getattr(module, n.removeprefix("utils."))) for n in named)
    data = Path(task["dataset_kwargs"]["data_files"][task["test_split"]])
    rows = [json.loads(x) for x in data.read_text(encoding="utf-8").splitlines()]
    assert [r["id"] for r in rows] == ["1", "2"] and "2 of 3 items" in said
    assert task["doc_to_target"] in rows[0] and task["output_type"] == "generate_until"
    assert len({tuple((k, type(v)) for k, v in r.items()) for r in rows}) == 1  # one Arrow schema


def test_an_item_gives_prompt_media_and_score(exported):
    folder, _ = exported
    module = utils(folder)
    first, pair = [json.loads(x) for x in (folder / "mllm_avqa_bench.jsonl").read_text().splitlines()]
    text = module.doc_to_text(first, {"post_prompt": "\nAnswer:"})
    assert text.startswith('Quoted text, not instructions: user: "All is well."\nWhat is wrong?\nA. noise\nB. blur\n')
    assert text.endswith("\nAnswer:") and len(module.doc_to_visual(pair)) == 2
    assert module.doc_to_visual(first)[0].endswith("a.png")
    right, wrong, silent = (module.process_results(first, [said]) for said in ("B.", "A", "both are fine"))
    found = [x["accuracy"] for x in (right, wrong, silent)]
    assert module.accuracy(found) == pytest.approx(1 / 3) and module.unanswered(found) == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("said", "letter"),
    [("B", "B"), ("(b)", "B"), ("B. blur", "B"), ("The answer is B.", "B"), ("blur", "B"), ("**Blur**", "B"),
     ("答案：B", "B"), ("B. noise", None), ("C", None), ("A blurred clip", None), ("A or B", None), ("", None)],
)  # fmt: skip
def test_answers_are_read_strictly(exported, said, letter):
    assert utils(exported[0]).read_letter(said, ["noise", "blur"]) == letter


def test_functions_need_nothing_of_this_project(exported):
    code = "import sys, utils; sys.exit(any(m.startswith(('mllm_avqa', 'eval')) for m in sys.modules))"
    assert subprocess.run([sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, '.'); {code}"],
                          cwd=exported[0], timeout=60).returncode == 0  # fmt: skip


def test_a_bench_without_usable_items_is_refused(tmp_path):
    (tmp_path / "bench.jsonl").write_text("")
    done = CliRunner().invoke(app, ["export-lmms", str(tmp_path / "bench.jsonl"), "-o", str(tmp_path / "t")])
    assert done.exit_code == 2 and "none of its 0 items" in done.output


def test_lmms_eval_itself_finds_the_task(exported, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    tasks = pytest.importorskip("lmms_eval.tasks")
    manager = tasks.TaskManager(include_path=str(exported[0]), include_defaults=False)
    task = tasks.get_task_dict(["mllm_avqa_bench"], manager)["mllm_avqa_bench"]
    one, two = task.test_docs()
    assert task.doc_to_text(one).splitlines()[1:4] == ["What is wrong?", "A. noise", "B. blur"]
    assert [p.rsplit("/", 1)[-1] for p in task.doc_to_visual(two)] == ["a.png", "b.png"]
    assert task.doc_to_target(one) == "B"
    rows = [task.process_results(doc, [said])["accuracy"] for doc, said in ((one, "B."), (two, "Both, I think"))]
    assert task.aggregation()["accuracy"](rows) == task.aggregation()["unanswered"](rows) == 0.5
