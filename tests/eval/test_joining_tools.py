"""What other tools write becomes predictions: one file of each, in the form its own code writes."""

from __future__ import annotations

import json

import pytest

from eval.correlation.numbers import study
from eval.joining import read_predictions
from eval.joining.tools import tools
from mllm_avqa.schema.errors import ConfigError

DOVER = (
    "path, aesthetic score, technical score, overall/final score\n/x/a.mp4, 0.1, 0.2, 0.61\n/x/b.mp4, 0.3, 0.1, 0.42\n"
)
DNSMOS = (
    ",filename,len_in_sec,sr,num_hops,OVRL_raw,SIG_raw,BAK_raw,OVRL,SIG,BAK,P808_MOS\n"
    "0,/x/a.wav,9,16000,1,2,3,3,2.5,3,3,3\n"
)
NISQA = "deg,mos_pred,noi_pred,dis_pred,col_pred,loud_pred,model\na.wav,3.1,4,4,4,4,NISQA\n"
LEVELS = dict.fromkeys(("excellent", "good", "fair", "poor", "bad", "high"), 0.0)
QALIGN = json.dumps({"img_path": "koniq/a.jpg", "gt_score": 3, "logits": LEVELS | {"fair": 30.0}}) + json.dumps(
    {"img_path": "koniq/b.jpg", "logits": LEVELS}
)
VMAF = {"version": "3.0", "frames": [], "pooled_metrics": {"vmaf": {"min": 1.0, "max": 99.0, "mean": 73.5}}}


@pytest.mark.parametrize(("file", "text", "name", "aspect", "score"), [
    ("dover.csv", DOVER, "/x/a.mp4", "video", 0.61),
    ("dnsmos.csv", DNSMOS, "/x/a.wav", "audio", 2.5),
    ("NISQA_results.csv", NISQA, "a.wav", "audio", 3.1),
    ("test_koniq.json", QALIGN, "koniq/a.jpg", "video", 3.0),
    ("clip1.json", json.dumps(VMAF, indent=2), "clip1", "video", 73.5),
    ("musiq.csv", "a.jpg,63.5\nb.jpg,41\n", "a.jpg", "video", 63.5),
    ("niqe.txt", "a.jpg\t4.5\nb, c.jpg\t9\n", "a.jpg", "video", -4.5),
])  # fmt: skip
def test_output_is_recognised(file, text, name, aspect, score, tmp_path):
    path = tmp_path / file
    path.write_text(text, encoding="utf-8")
    entries, notes = read_predictions(path)
    assert entries[0].paths == [name] and entries[0].values == {aspect: pytest.approx(score)}
    assert "is read as" in notes[0] and aspect in notes[0]


def test_even_levels_are_fair(tmp_path):
    (tmp_path / "q.json").write_text(QALIGN, encoding="utf-8")
    assert read_predictions(tmp_path / "q.json")[0][1].values == {"video": pytest.approx(3.0)}


def test_a_folder_of_logs_is_one_prediction_file(tmp_path):
    for n, score in enumerate((80.0, 20.0)):
        pooled = {"pooled_metrics": {"vmaf": {"mean": score}}}
        (tmp_path / f"clip{n}.json").write_text(json.dumps(pooled), encoding="utf-8")
    entries, _ = read_predictions(tmp_path)
    assert {e.paths[0]: e.values["video"] for e in entries} == {"clip0": 80.0, "clip1": 20.0}


def test_audiobox_rows_are_named_by_the_list_they_were_made_from(tmp_path):
    out = tmp_path / "aes.jsonl"
    out.write_text('{"CE": 5.1, "CU": 5.2, "PC": 2.0, "PQ": 6.4}\n', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"aes\.input\.jsonl"):
        read_predictions(out)
    (tmp_path / "aes.input.jsonl").write_text('{"path": "/x/a.wav"}\n', encoding="utf-8")
    entries, _ = read_predictions(out)
    assert entries[0].paths == ["/x/a.wav"] and entries[0].values == {"audio": 6.4}
    (tmp_path / "aes.input.jsonl").write_text('{"path": "/x/a.wav"}\n{"path": "/x/b.wav"}\n', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"1 rows, aes\.input\.jsonl has 2"):
        read_predictions(out)


def test_our_own_tables_are_no_tool(tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text("path,overall,video\na.mp4,3,4\n", encoding="utf-8")
    assert read_predictions(path)[1] == []


def test_another_tool_beside_a_model(tmp_path):
    """Two outputs in one comparison, as `--compare` does."""
    (tmp_path / "labels.csv").write_text("path,video\n" + "".join(f"{i}.jpg,{i}\n" for i in range(9)), encoding="utf-8")
    (tmp_path / "musiq.csv").write_text("".join(f"{i}.jpg,{i * i}\n" for i in range(9)), encoding="utf-8")
    (tmp_path / "niqe.csv").write_text("".join(f"{i}.jpg,{9 - i}\n" for i in range(9)), encoding="utf-8")
    found = study(tmp_path / "musiq.csv", tmp_path / "labels.csv", [tmp_path / "niqe.csv"], draws=100).result
    assert found.aspects["video"].srcc.value == found.others["niqe"].aspects["video"].srcc.value == pytest.approx(1)


def test_every_tool_says_what_it_is():
    assert set(tools()) == {"pyiqa", "dover", "qalign", "vmaf", "dnsmos", "nisqa", "audiobox"}
    assert all(t.about and (t.scores or t.levels) for t in tools().values())
