"""One test per known trap of the public datasets. Numbers of real label files are published; the rest is analytic."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from dataset_trees import fixture, media, put, run, warned
from scipy.io import savemat
from scipy.stats import spearmanr

from data_recipes.datasets.card import load_card
from data_recipes.datasets.convert import ConversionJob, convert
from data_recipes.datasets.labels import number
from data_recipes.datasets.mapping import Mapping, custom_card
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.levels import Scale


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out" / "records.jsonl"


def five(label):
    return Scale(*label.scale, label.higher_is_better).to_five(label.mean)


def test_trap_01_live_vqa_is_dmos_though_its_copies_call_it_mos(tmp_path, out):
    put(tmp_path, "videval_metadata.csv", "filename,MOS,std\npa2_25fps.yuv,44.5,12\npa3_25fps.yuv,70.1,8\n")
    put(tmp_path, "labels.txt", "pa/pa2_25fps.yuv, -1, -1, 44.5\npa/pa3_25fps.yuv, -1, -1, 70.1\n")
    records, report = run("live_vqa", tmp_path, out)
    assert not records["pa2_25fps"].labels["video"].higher_is_better
    assert five(records["pa2_25fps"].labels["video"]) > five(records["pa3_25fps"].labels["video"])
    assert {r.group for r in records.values()} == {"live_vqa/pa"}
    other, _ = run("live_vqa", tmp_path, out, layout="fastvqa")
    assert other["pa3_25fps"].labels["video"].mean == 70.1
    assert not other["pa3_25fps"].labels["video"].higher_is_better
    assert not report.problems.errors


def test_trap_02_kadid_dmos_is_higher_is_better(tmp_path, out):
    put(
        tmp_path,
        "dmos.csv",
        "dist_img,ref_img,dmos,var\nI01_01_01.png,I01.png,4.57,0.496\nI01_01_05.png,I01.png,1.7,0.6\n",
    )
    label = run("kadid_10k", tmp_path, out)[0]["I01_01_01.png"].labels["video"]
    assert (label.mean, label.std, label.scale, label.higher_is_better) == (4.57, 0.496, (1, 5), True)


def test_trap_03_maxwell_order_is_technical_aesthetic_overall(tmp_path, out):
    put(tmp_path, "val_labels.txt", "0000.mp4, 1.1, 1.2, 1.3\n0012.mp4, 2.1, 2.2, 2.3\n")
    header = "O,A-1,A-all,T-1,T-all\n"
    put(tmp_path, "MaxWell_val.csv", header + "1.3,0,1.2,0,1.1\n2.3,0,2.2,0,2.1\n")
    records, report = run("maxwell", tmp_path, out)
    assert [r.labels["video"].mean for r in records.values()] == [1.3, 2.3]
    assert not report.problems.errors
    put(tmp_path, "MaxWell_val.csv", header + "1.3,0,1.1,0,1.2\n2.3,0,2.2,0,2.1\n")  # technical and aesthetic swapped
    assert run("maxwell", tmp_path, tmp_path / "b.jsonl")[1].problems.errors == 2
    put(tmp_path, "MaxWell_val.csv", header + "1.3,0,1.2,0,1.1\n")
    with pytest.raises(ConfigError, match=r"ends before val_labels.txt:2"):
        run("maxwell", tmp_path, out)


def test_trap_03_maxwell_table_has_no_names(tmp_path, out):
    put(tmp_path, "MaxWell_val.csv", "O,A-all,T-all\n1.3,1.2,1.1\n")
    with pytest.raises(ConfigError, match="no clip names"):
        run("maxwell", tmp_path, out)


def test_trap_03_maxwell_real_files_agree(out):
    records, report = run("maxwell", fixture("maxwell"), out)
    assert len(records) == 909 and not report.problems.errors


def test_trap_04_koniq_votes_are_shares_and_the_std_is_on_another_scale(tmp_path, out):
    line = "10004473376.jpg,0.0,0.0,0.25,0.7,0.05,105,77.38,0.5,training\n"
    put(tmp_path, "koniq10k_distributions_sets.csv", "image_name,c1,c2,c3,c4,c5,c_total,MOS,SD,set\n" + line)
    record = run("koniq_10k", tmp_path, out)[0]["10004473376.jpg"]
    label = record.labels["video"]
    assert record.split == "train" and label.votes == [0, 0, 0.25, 0.7, 0.05]  # bad to excellent
    assert label.mean == 77.38 and label.scale == (0, 100)
    assert Scale(*label.scale).std_to_five(label.std) == pytest.approx(0.5)  # analytic: back on the votes' scale


def test_trap_04_koniq_mos_is_not_linear_in_the_votes(out):
    records, _ = run("koniq_10k", fixture("koniq10k"), out)
    mos = np.array([r.labels["video"].mean for r in records.values()])
    votes = np.array([np.dot(r.labels["video"].votes, np.arange(1, 6)) for r in records.values()])
    fit = np.polyval(np.polyfit(votes, mos, 1), votes)
    assert 5 < np.abs(fit - mos).max() < 6.5 and (mos.min(), mos.max()) == pytest.approx((3.91, 88.39), abs=0.01)


def test_trap_05_cvd2014_goes_below_zero_and_the_byte_copy_is_refused(tmp_path, out):
    put(tmp_path, "labels.txt", "Test1/City/Test01_City_D01.avi, 15, 25, -6.5\n")
    records, report = run("cvd2014", tmp_path, out)
    assert records["Test01_City_D01"].labels["video"].mean == -6.5
    assert warned(report, "a little outside") == 1 and not report.problems.errors
    put(tmp_path, "labels.txt", "Test1/City/Test01_City_D01.avi, 15, 25, -16.5\n")
    assert run("cvd2014", tmp_path, tmp_path / "b.jsonl")[1].problems.errors == 1
    only_bytes = tmp_path / "bytes"
    only_bytes.mkdir()
    savemat(only_bytes / "CVD2014_data.mat", {"video_name": ["a"], "video_score": np.uint8([4])})
    with pytest.raises(ConfigError, match="unsigned bytes"):
        run("cvd2014", only_bytes, out)


def test_trap_06_lsvq_copies_are_compared_on_what_they_share(tmp_path, out):
    put(tmp_path, "labels_train.txt", "yfcc-batch1/1.mp4, -1, -1, 50\n")
    put(tmp_path, "labels_test.txt", "yfcc-batch1/2.mp4, -1, -1, 50\nyfcc-batch1/3.mp4, -1, -1, 60\n")
    put(tmp_path, "LSVQ_whole_test.csv", "name,mos,is_test\nyfcc-batch1/2,50,True\nyfcc-batch1/4,70,True\n")
    _, report = run("lsvq", tmp_path, out)
    assert report.copies == ["copy 'whole-test' of test: 1 clips shared, 1 only here, 1 only there"]
    assert warned(report, "this published copy has 7186") == 1


def test_trap_06_lsvq_real_counts(tmp_path):
    records, report = run("lsvq", fixture("lsvq"), tmp_path / "r.jsonl")
    assert report.parts == {"train": 28056, "test": 7186, "1080p": 3573}
    assert "copy 'whole-test' of test: 7174 clips shared, 12 only here, 46 only there" in report.copies
    assert {r.dataset for r in records.values()} == {"lsvq", "lsvq_1080p"}


def test_trap_06_lsvq_official_split_column_and_second_test_set(tmp_path, out):
    put(tmp_path, "labels_train_test.csv", "name,mos,is_test\na/1,50,False\na/2,51,True\n")
    put(tmp_path, "labels_test_1080p.csv", "name,mos\na/3,52\n")
    records, _ = run("lsvq", tmp_path, out)
    assert [(r.split, r.dataset) for r in records.values()] == [
        ("train", "lsvq"), ("test", "lsvq"), ("test", "lsvq_1080p")]  # fmt: skip
    assert list(run("lsvq", tmp_path, out, parts=("test",))[0]) == ["a/2", "a/3"]
    assert list(run("lsvq", tmp_path, out, parts=("1080p",))[0]) == ["a/3"]


def test_trap_07_youtube_ugc_names_differ_between_copies(tmp_path, out):
    put(tmp_path, "videval_metadata.csv", "vid,MOSFull,stdFull\nSports_2160P-4e9f,4.405,0.5\nVlog_720P-0001,3,0.5\n")
    put(tmp_path, "labels.txt", "Sports_2160P-4e9f_crf_10_ss_00_t_20.0.mp4, -1, -1, 4.405\n")
    media(tmp_path, "original_videos/Vlog/720P/Vlog_720P-0001.mkv", "Sports_2160P-4e9f_crf_10_ss_00_t_20.0.mp4")
    records, report = run("youtube_ugc", tmp_path, out)
    assert report.missing == 0 and "1 clips shared, 1 only here, 0 only there" in report.copies[0]
    assert records["Sports_2160P-4e9f"].media.endswith("_t_20.0.mp4")
    assert list(run("youtube_ugc", tmp_path, out, layout="fastvqa")[0]) == ["Sports_2160P-4e9f"]


def test_trap_07_youtube_ugc_real_copies_agree(out):
    _, report = run("youtube_ugc", fixture("youtube_ugc"), out)
    assert report.copies == ["copy 'fastvqa' of all: 1147 clips shared, 233 only here, 0 only there"]
    assert not warned(report, "differently")


def test_trap_08_bom_inside_the_first_value(tmp_path, out):
    path = put(tmp_path, "abcd.jsonl", '\ufeff{"video": "\ufeffa.mp4", "mos": 3}\r\n{"video": "b.mp4", "mos": 4}\r\n')
    media(tmp_path, "a.mp4", "b.mp4")
    card = custom_card(Mapping(name="video", scores={"video": "mos"}, scale=(1, 5), higher_is_better=True), path)
    report = convert(ConversionJob(card, tmp_path), out)
    assert (report.records, report.missing) == (2, 0)


def test_trap_09_p1203_keeps_both_devices(tmp_path, out):
    rows = ["TR04_SRC001_HRC01,pc,1,5", "TR04_SRC001_HRC01,pc,2,4", "TR04_SRC001_HRC01,mobile,1,3"]
    put(tmp_path, "subjective_scores/ratings.csv", "\n".join(["pvs_id,context,subject,rating", *rows, ""]))
    put(tmp_path, "O46.csv", "pvs_id,mode,context,O46\nTR04_SRC001_HRC01,0,pc,4.9\n")
    records, _ = run("p1203", tmp_path, out)
    pc, mobile = records["TR04_SRC001_HRC01-pc"], records["TR04_SRC001_HRC01-mobile"]
    assert (pc.labels["overall"].mean, mobile.labels["overall"].mean) == (4.5, 3.0)
    assert pc.labels["overall"].votes == [0, 0, 0, 1, 1] and pc.labels["overall"].std == pytest.approx(0.5**0.5)
    assert mobile.labels["overall"].std is None  # one rating has no spread
    assert pc.media == mobile.media and pc.group == mobile.group == "p1203/TR04_SRC001" and pc.split == "train"


def test_trap_10_live_hfr_minus_one_is_not_a_rating(tmp_path, out):
    put(tmp_path, "subject_raw.csv", ",Subject1,Subject2,Subject3\n1Runner_crf_0_24fps,20,-1,30\n")
    records, _ = run("live_hfr", tmp_path, out)
    label = records["1Runner_crf_0_24fps"].labels["video"]
    assert (label.mean, label.scale) == (25.0, (0, 39)) and records["1Runner_crf_0_24fps"].group == "live_hfr/1Runner"


def test_trap_10_live_hfr_mos_is_a_row(tmp_path, out):
    put(tmp_path, "subject_MOS.csv", "File Names,1Runner_crf_0_24fps,1Runner_crf_0_30fps\nMOS,43,45.5\nstd,12,10\n")
    records, _ = run("live_hfr", tmp_path, out)
    assert {k: (r.labels["video"].mean, r.labels["video"].std) for k, r in records.items()} == {
        "1Runner_crf_0_24fps": (43, 12), "1Runner_crf_0_30fps": (45.5, 10)}  # fmt: skip


def test_trap_10_live_hfr_real_raw_scores_follow_the_mos(tmp_path):
    root = fixture("live_hfr")
    mos, report = run("live_hfr", root, tmp_path / "mos.jsonl")
    raw, _ = run("live_hfr", root, tmp_path / "raw.jsonl", layout="raw")
    dmos, _ = run("live_hfr", root, tmp_path / "dmos.jsonl", layout="dmos")
    both = [(mos[k].labels["video"].mean, raw[k].labels["video"].mean) for k in mos]
    assert len(both) == 480 and spearmanr(both).statistic > 0.98
    assert "464 clips shared, 16 only here" in report.copies[-1]
    assert not any(r.labels["video"].higher_is_better for r in dmos.values())


def test_trap_13_no_split_is_invented_where_none_is_published():
    for name in ("konvid_1k", "live_vqc", "sjtu_uav", "youtube_ugc"):
        card = load_card(name)
        assert card.split.startswith("none")
        assert not any(layout.split or any(f.split for f in layout.files) for layout in card.layouts)
    assert any("training set" in note for note in load_card("sjtu_uav").notes)


def test_trap_14_fastvqa_columns_two_and_three_are_no_scores(tmp_path, out):
    put(tmp_path, "labels.txt", "Video/A001.mp4, -1, -1, 80.2\nVideo/A002.mp4, 10.04, 29.97, 57.3\n")
    records, report = run("live_vqc", tmp_path, out)
    assert [r.labels["video"].mean for r in records.values()] == [80.2, 57.3] and not report.problems.errors
    assert all(r.end is None for r in records.values())


def test_trap_15_cvd2014_decimal_comma_and_letter_case(tmp_path, out):
    table = "File_name;Content;Realignment MOS\r\nTest03_Talking_Head_D10;Talking_head;67,3\r\n;;\r\n"
    put(tmp_path, "CVD2014_ratings/Realignment_MOS.csv", table)
    media(tmp_path, "Test3/Talking_head/Test03_Talking_head_D10.avi")
    records, report = run("cvd2014", tmp_path, out)
    record = records["Test03_Talking_Head_D10"]
    assert record.labels["video"].mean == 67.3  # dropping the comma and dividing by 100 gives 6.73
    assert (report.missing, report.other_case, record.group) == (0, 1, "cvd2014/talking_head")
    with pytest.raises(ConfigError, match="decimal comma"):
        number("67,3")


def test_trap_15_cvd2014_column_name_without_space(tmp_path, out):
    put(tmp_path, "Realignment_MOS.csv", 'File_name,Content,RealignmentMOS\nTest01_City_D01,City,"67,29"\n')
    assert run("cvd2014", tmp_path, out)[0]["Test01_City_D01"].labels["video"].mean == 67.29


def test_trap_16_konvid_joins_on_the_flickr_id(tmp_path, out):
    put(
        tmp_path,
        "KoNViD_1k_attributes.csv",
        "file_name,MOS\n111_original_centercrop_960x540_8s.mp4,3.2\n222_cut_centercrop_960x540_8s.mp4,4\n",
    )
    put(tmp_path, "labels.txt", "KoNViD_1k_videos/111.mp4, 8, 30, 3.2\nKoNViD_1k_videos/222.mp4, 8, 30, 4.5\n")
    media(tmp_path, "KoNViD_1k_videos/111.mp4", "KoNViD_1k_videos/222_cut_centercrop_960x540_8s.mp4")
    records, report = run("konvid_1k", tmp_path, out)
    assert list(records) == ["111", "222"] and report.missing == 0
    assert warned(report, "scores differently") == 1  # 222: 4 and 4.5


def test_trap_17_spaq_workbook_has_two_names(tmp_path, out):
    openpyxl = pytest.importorskip("openpyxl")
    for name in ("MOS and Image attribute scores.xlsx", "MOS Std and Image attribute scores.xlsx"):
        root = tmp_path / name[:8]
        (root / "Annotations").mkdir(parents=True)
        book = openpyxl.Workbook()
        book.active.append(["Image name", "MOS", "Brightness"])
        book.active.append(["00001.jpg", 57, 50.5])
        book.save(root / "Annotations" / name)
        assert run("spaq", root, out)[0]["00001.jpg"].labels["video"].mean == 57


def test_trap_17_spaq_saved_as_csv(tmp_path, out):
    put(tmp_path, "Annotations/MOS and Image attribute scores.csv", "Image name,MOS,Brightness\n00001.jpg,57,50.5\n")
    media(tmp_path, "TestImage/00001.jpg")
    assert run("spaq", tmp_path, out)[0]["00001.jpg"].media.endswith("TestImage/00001.jpg")


def test_trap_18_references_are_groups(tmp_path, out):
    put(tmp_path, "dmos.csv", "dist_img,ref_img,dmos,var\nI01_01_01.png,I01.png,4,0.5\nI02_01_01.png,I02.png,3,0.5\n")
    assert len({r.group for r in run("kadid_10k", tmp_path, out)[0].values()}) == 2
    names = np.array([["A_QP16.yuv", "A_128kbps.wav"], ["A_QP16.yuv", "A_32kbps.wav"]], dtype=object)
    contents = np.array([["A", "QP16", "128kbps"], ["A", "QP16", "32kbps"]], dtype=object)
    (tmp_path / "sjtu").mkdir()
    savemat(tmp_path / "sjtu" / "MOS.mat", {"MOS": [[77.8], [42.9]], "disNames": names, "allNames": contents})
    records, _ = run("live_sjtu", tmp_path / "sjtu", out)
    assert list(records) == ["A_QP16__A_128kbps", "A_QP16__A_32kbps"]
    assert {r.group for r in records.values()} == {"live_sjtu/A"}


@pytest.mark.parametrize(("name", "folder", "groups"), [
    ("live_sjtu", "live_sjtu", 14), ("live_qualcomm", "live_qualcomm", 54), ("live_hfr", "live_hfr", 16),
    ("live_vqa", "live_vqa", 10), ("cvd2014", "cvd2014", 5)])  # fmt: skip
def test_trap_18_real_groups(name, folder, groups):
    report = convert(ConversionJob(load_card(name), fixture(folder), missing="keep"), None)
    assert len(report.groups) == groups


def test_the_other_order_of_permutations_is_the_same_clips():
    with (fixture("vsfa_info") / "CVD2014.csv").open() as f:
        scores = {r["video_name"]: float(r["score"]) for r in csv.DictReader(f)}
    assert len(scores) == load_card("cvd2014").clips and min(scores.values()) == -6.5
