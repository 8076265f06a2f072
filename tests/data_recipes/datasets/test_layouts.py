"""Every card loads, and every layout that no trap covers reads its official tree in miniature."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dataset_trees import media, put, run, warned
from scipy.io import savemat

from data_recipes.datasets.card import CARDS, DatasetCard, NativeScale, card_names, load_card, parse
from data_recipes.datasets.convert import ConversionJob, convert
from data_recipes.datasets.labels import FIELD
from data_recipes.datasets.locate import needed
from data_recipes.datasets.tables import LIVE_FOLDERS
from mllm_avqa.schema.errors import ConfigError


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out" / "records.jsonl"


@pytest.mark.parametrize("name", card_names())
def test_card_is_whole(name):
    card = load_card(name)
    assert card.title and card.homepage and card.licence and card.split and card.group_by
    for layout in card.layouts:
        for file in layout.files:
            if isinstance(layout.columns, list):  # templates may only name columns that the file has
                beside = file.beside.columns if file.beside and isinstance(file.beside.columns, list) else []
                assert needed(layout, file) <= {*layout.columns, *beside}, (name, layout.name)
        fields = {f for t in layout.media for f in FIELD.findall(t)}
        assert fields, f"{name} {layout.name}: all clips would be one file"


def test_card_with_an_unknown_key_is_refused():
    with pytest.raises(ConfigError, match=r"x\.yaml: licenze"):
        parse(DatasetCard, {"name": "x", "licenze": "?"}, "x.yaml")
    with pytest.raises(ConfigError, match="no dataset 'konvid'"):
        load_card("konvid")
    assert len(card_names()) == len(list(CARDS.glob("*.yaml"))) >= 46


@pytest.mark.parametrize(("name", "file", "text", "clip", "key", "mean", "std"), [
    ("spaq", "Annotations/MOS Std and Image attribute scores.csv", "Image name,MOS\n00001.jpg,57\n",
     "TestImage/00001.jpg", "00001.jpg", 57, None),
    ("unb_av_2018", "UnB-AVQ-2018-Experiment1.csv", "refFile;testFile;Mqs;Mcs\nref1;v01_hrc1;3.5;2\n",
     "v01_hrc1.avi", "v01_hrc1", 3.5, None),
    ("unb_avc_2013", "UnB-AVQ-2013-Experiment3.csv", "Source,Video,Audio,MOS\nav1,vb800,ab96,44.5\n",
     "av1_1280x720_vb800_ab96.avi", "av1_1280x720_vb800_ab96", 44.5, None),
    ("kvq", "train_data.csv", "filename,score\n0001.mp4,2.5\n", "0001.mp4", "0001.mp4", 2.5, None),
    ("yt_ntu_avq", "meta_info_YT-NTU-AVQ.csv",
     "seq_name,score_all,score_v,score_a,std_all,std_v,std_a\nDance_1.mp4,3,2,4,.5,.5,.5\n",
     "Dance_1.mp4", "Dance_1", 3, 0.5),
    ("ava", "AVA.txt", "1 953619 0 1 5 17 38 36 15 6 5 1 1 22 1396\n", "images/953619.jpg", "953619", 699 / 124, 1.43),
    ("bvcc", "DATA/sets/train_mos_list.txt", "sys1-utt2.wav,3.5\n", "DATA/wav/sys1-utt2.wav", "sys1-utt2", 3.5, None),
    ("bvcc", "DATA/sets/TRAINSET", "s,s-u.wav,4,x,a_b\ns,s-u.wav,2,x,a_c\n", "wav/s-u.wav", "s-u", 3, 2**0.5),
    ("odaq", "ODAQ_listening_test/ODAQ_results.csv",
     "subject,item,method,condition,process,score\n1,glock,TM,Q1,lp35,40\n2,glock,TM,Q1,lp35,60\n",
     "ODAQ_listening_test/TM_glock/lp35.wav", "TM/glock/Q1/lp35", 50, 200**0.5),
    ("p1203", "subjective_scores/mos.csv", "pvs_id,context,mos,n,sd,ci\nVL04_SRC001_HRC01,pc,4,24,.7,.1\n",
     "VL04_SRC001_HRC01.mp4", "VL04_SRC001_HRC01-pc", 4, 0.7),
    ("audiobox_aes", "AES_PAM.jsonl", '{"data_path": "/your_path/PAM/a.wav", "Production_Quality": [8, 6]}\n',
     "PAM/a.wav", "PAM/a.wav", 7, 2**0.5),
    ("csiq", "csiq.DMOS.csv", "image,dst_idx,dst_type,dst_lev,dmos_std,dmos\n1600,1,jpeg 2000,2,.1,.25\n",
     "dst_imgs/jpeg2000/1600.jpeg2000.2.png", "1600.jpeg2000.2", 0.25, 0.1),
    ("biq2021", "Train (Images and MOS).csv", "Image Name,MOS,,\nss01 (9).jpg,0.2874,,\n",
     "Images/ss01 (9).jpg", "ss01 (9).jpg", 0.2874, None),
    ("neural_codecs", "ratings_formated_filtered.csv",
     'signal,condition,ratings,participant_ids,file\np229,Lyra 3,"[40.0, 60.0]","[2, 3]",stim_01/l.wav\n'
     'p229,Anchor,"[0.0]","[2]",\n',
     "audio/stim_01/l.wav", "stim_01/l.wav", 50, 200**0.5),
    ("h265_stills", "test_1/per_user.csv", "image_name,user1,user2,mos,ci\na.mkv_1frame_crf_3,4,2,3,1\n",
     "test_1/images/a.mkv_1frame_crf_3.png", "a.mkv_1frame_crf_3", 3, 2**0.5),
    ("fetv", "generated_video_examples/README.md",
     "| Prompt | CogVideo |\n| --- | --- |\n| a cat | ![](assets/x/cogvideo/2.gif) |\n| | SQ=3.33, TQ=2 |\n"
     "| a dog | ![](assets/y/cogvideo/3.gif) |\n| | Alignment=4 |\n",
     "generated_video_examples/assets/x/cogvideo/2.gif", "assets/x/cogvideo/2.gif", 3.33, None),
    ("live_challenge", "meta_info_LIVEChallengeDataset.csv", "img_name,mos,std\n100.bmp,32.5,19.1\n",
     "Images/100.bmp", "100.bmp", 32.5, 19.1),
    ("flive", "labels_image.csv", "name,mos\nvoc/a.jpg,71.2\n", "database/voc/a.jpg", "voc/a.jpg", 71.2, None),
    ("uhd_iqa", "uhd-iqa-metadata.csv", "image_name,quality_mos,set\n1.jpg,.5,training\n",
     "training/1.jpg", "1.jpg", 0.5, None),
    ("para", "annotation/PARA-GiaaTest.csv", "sessionId,imageName,qualityScore_mean\nsession1,a.jpg,3.4\n",
     "imgs/session1/a.jpg", "a.jpg", 3.4, None),
    ("tid2008", "meta_info_TID2008Dataset.csv", "ref_name,dist_name,mos,std\nI01.BMP,I01_01_1.bmp,5.97,.1\n",
     "distorted_images/i01_01_1.bmp", "i01_01_1.bmp", 5.97, None),
    ("konvid_150k", "k150kb_scores.csv", "video_name,mos,video_score\norig_17_540_5s.mp4,3,3.2\n",
     "k150kb_extracted/orig_17_540_5s.mp4", "orig_17_540_5s.mp4", 3.2, None),
    ("netflix_public", "NFLX_dataset_public.py",
     "ref_videos = [{'content_id': 0, 'content_name': 'Bird', 'path': '/x/Bird_30fps.yuv'}]\n"
     "dis_videos = [{'asset_id': 0, 'content_id': 0, 'dmos': 100.0, 'path': '/x/Bird_30fps.yuv'},\n"
     " {'asset_id': 1, 'content_id': 0, 'dmos': 109.2, 'path': '/y/Bird_40_288_375.yuv'}]\n",
     "Bird_40_288_375.mkv", "Bird_40_288_375", 109.2, None),
    ("av_syncbench", "global_offset.jsonl",
     '{"sample_id": "a-050", "video_id": "a", "original_video": "v/a.mp4", "edited_audio": "b.wav", "offset_ms": 50}\n',
     "muxed/a-050.mkv", "a-050", 50, None),
])  # fmt: skip
def test_layout(name, file, text, clip, key, mean, std, tmp_path, out):
    put(tmp_path, file, text)
    media(tmp_path, clip)
    records, report = run(name, tmp_path, out)
    assert list(records) == [key] and report.missing == 0 and not report.problems.errors
    label = next(iter(records[key].labels.values()))
    assert label.mean == pytest.approx(mean)
    assert label.std == (None if std is None else pytest.approx(std, abs=0.01))
    assert (out.parent / records[key].media).resolve() == tmp_path / clip


def test_p835_has_a_sheet_per_band_and_groups_talkers(tmp_path, out):
    from openpyxl import Workbook

    book = Workbook()
    for sheet, score in (("Fullband-results per file", 1.9), ("16KHzWB-results per file", 2.4)):
        page = book.create_sheet(sheet)
        page.append(["short_file_name", "MOS_OVRL", "std_ovrl"])
        page.append(["c1_f2.wav", score, 0.5])
    book.save(tmp_path / "CSP835_Ref_Conditions.xlsx")
    media(tmp_path, "degraded_fullband_48KHz/c1_f2.wav", "degraded_WB_16KHz/c1_f2.wav")
    records, report = run("p835_reference", tmp_path, out)
    assert {k: r.labels["audio"].mean for k, r in records.items()} == {
        "fullband/c1_f2.wav": 1.9, "wideband/c1_f2.wav": 2.4,
    }  # fmt: skip
    assert report.missing == 0 and {r.group for r in records.values()} == {"p835_reference/f2"}
    assert {Path(r.media).parent.name for r in records.values()} == {"degraded_fullband_48KHz", "degraded_WB_16KHz"}


def test_elo_scores_need_a_scale(tmp_path, out):
    put(tmp_path, "meta_info_PIPALDataset.csv", "hq_name,dist_name,elo_score\nA0001.bmp,A0001_00_00.bmp,1520.1\n")
    with pytest.raises(ConfigError, match="--scale LOW:HIGH"):
        run("pipal", tmp_path, out)
    scale = NativeScale(low=800, high=2000, higher_is_better=True)
    assert run("pipal", tmp_path, out, scale=scale)[0]["A0001_00_00.bmp"].group == "pipal/A0001"


def test_a_list_of_vmaf_is_read_and_never_run(tmp_path, out):
    put(tmp_path, "NFLX_dataset_public.py", "ref_videos = [__import__('os').getcwd()]\ndis_videos = []\n")
    with pytest.raises(ConfigError, match="no data set file of VMAF"):
        run("netflix_public", tmp_path, out)


def test_ratings_become_votes(tmp_path, out):
    put(tmp_path, "sets/TRAINSET", "s,s-u.wav,4,x,a\ns,s-u.wav,2,x,b\ns,s-u.wav,4,x,c\n")
    record = run("bvcc", tmp_path, out)[0]["s-u"]
    assert record.labels["audio"].votes == [0, 1, 0, 2, 0] and record.split == "train"


def test_nisqa_subsets_group_by_reference(tmp_path, out):
    header = "db,con,filename_deg,filename_ref,mos,noi,mos_std,filepath_deg\n"
    put(tmp_path, "NISQA_VAL_SIM/NISQA_VAL_SIM_file.csv",
        header + "NISQA_VAL_SIM,1,c1.wav,r1.wav,3.1,2,.7,NISQA_VAL_SIM/deg/c1.wav\n")  # fmt: skip
    put(tmp_path, "NISQA_TEST_LIVETALK/NISQA_TEST_LIVETALK_file.csv",
        header + "NISQA_TEST_LIVETALK,1,l1.wav,,4.1,2,.7,NISQA_TEST_LIVETALK/deg/l1.wav\n")  # fmt: skip
    records, report = run("nisqa", tmp_path, out)
    assert {r.group: r.split for r in records.values()} == {"nisqa/r1.wav": "val", "nisqa/l1.wav": "test"}
    assert warned(report, "is not here") == 6


def test_tid2013_reads_the_std_beside_it_in_any_letter_case(tmp_path, out):
    put(tmp_path, "mos_with_names.txt", "5.51429 I01_01_1.bmp\n5.56757 i25_24_5.bmp\n")
    put(tmp_path, "mos_std.txt", "0.13\n0.16\n")
    media(tmp_path, "distorted_images/i01_01_1.bmp", "distorted_images/I25_24_5.BMP")
    records, report = run("tid2013", tmp_path, out)
    assert {k: r.labels["video"].std for k, r in records.items()} == {"i01_01_1.bmp": 0.13, "i25_24_5.bmp": 0.16}
    assert report.missing == 0 and report.other_case == 2
    put(tmp_path, "mos_std.txt", "0.13\n0.16\n0.2\n")
    with pytest.raises(ConfigError, match="1 rows more"):
        run("tid2013", tmp_path, out)


def test_live_image_leaves_references_out(tmp_path, out):
    n = sum(count for _, count in LIVE_FOLDERS)
    is_reference = np.arange(n) % 5 == 0
    names = np.array([f"ref{i % 29}.bmp" for i in range(n)], dtype=object)
    savemat(tmp_path / "dmos_realigned.mat", {"dmos_new": np.full((1, n), 40.0), "dmos_std": np.ones((1, n)),
                                              "orgs": is_reference[None].astype(float)})  # fmt: skip
    savemat(tmp_path / "refnames_all.mat", {"refnames_all": names[None]})
    records, report = run("live_image", tmp_path, out)
    assert len(records) == n - is_reference.sum() and len(report.groups) == 29
    assert not records["jp2k/img2.bmp"].labels["video"].higher_is_better
    assert "fastfading/img174.bmp" in records and "jp2k/img1.bmp" not in records


def test_qualcomm_folder_comes_from_an_index(tmp_path, out):
    names = np.array([["1006_ParkBus_GS6_1.yuv"], ["1006_ParkBus_LGG2_2.yuv"]], dtype=object)
    folders = np.array([["Artifacts"], ["Color"]], dtype=object)
    video = {"vidNames": names, "distortionType": [[2], [1]], "distortionNames": folders}
    scores = {"unBiasedMOS": [[40.5], [50.5]], "biasedMOS": [[1.0], [2.0]]}
    savemat(tmp_path / "qualcommSubjectiveData.mat", {"qualcommVideoData": video, "qualcommSubjectiveData": scores})
    media(tmp_path, "Color/1006_ParkBus_GS6_1.mkv", "Artifacts/1006_ParkBus_LGG2_2.yuv")
    records, report = run("live_qualcomm", tmp_path, out)
    assert records["1006_ParkBus_GS6_1"].media.endswith("Color/1006_ParkBus_GS6_1.mkv")
    assert report.missing == 1  # raw video has no header, nothing can open it
    assert report.groups == {"1006_parkbus"}


def test_a_set_without_a_published_scale_asks_for_it(tmp_path, out):
    savemat(tmp_path / "MOS.mat", {"videoName": np.array(["a.mp4"], dtype=object), "MOSz": [55.0]})
    with pytest.raises(ConfigError, match="--scale LOW:HIGH"):
        run("sjtu_uav", tmp_path, out)
    scale = load_card("live_vqc").aspects["video"]
    assert run("sjtu_uav", tmp_path, out, scale=scale)[0]["a"].labels["overall"].scale == (0, 100)


def test_blank_scores_are_counted_and_left_out(tmp_path, out):
    put(tmp_path, "test_data.csv", "filename,score\na.mp4,\nb.mp4,3\n")
    records, report = run("kvq", tmp_path, out)
    assert list(records) == ["b.mp4"] and warned(report, "has no score") == 1


def test_csiq_workbook_header_is_below_the_top(tmp_path, out):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.title = "all_by_image"
    rows = [["CSIQ"], [], [], [None, "image", "dst_idx", "dst_type", "dst_lev", "dmos_std", "dmos"],
            [None, 1600, 1, "noise", 1, 0.01, 0.06], [None, None, None, None, None, None, " "]]  # fmt: skip
    for row in rows:
        book.active.append(row)
    book.save(tmp_path / "csiq.DMOS.xlsx")
    assert list(run("csiq", tmp_path, out)[0]) == ["1600.AWGN.1"]


def test_unknown_tree_says_what_was_expected_and_found(tmp_path):
    put(tmp_path, "scores.csv", "a\n")
    with pytest.raises(ConfigError, match=r"Expected .*KoNViD_1k_attributes\.csv.*Found scores\.csv"):
        convert(ConversionJob(load_card("konvid_1k"), tmp_path), None)
    with pytest.raises(ConfigError, match="is no folder"):
        convert(ConversionJob(load_card("konvid_1k"), tmp_path / "nothing"), None)
    with pytest.raises(ConfigError, match="--layout"):
        convert(ConversionJob(load_card("konvid_1k"), tmp_path, layout="x"), None)
    put(tmp_path, "dmos.csv", "dist_img,mos\na.png,3\n")
    with pytest.raises(ConfigError, match=r"no column 'dmos', 'ref_img', 'var'; it has: 'dist_img', 'mos'"):
        convert(ConversionJob(load_card("kadid_10k"), tmp_path), None)
    put(tmp_path, "MOS.mat", "no matlab file")
    with pytest.raises(ConfigError, match="not a MATLAB file"):
        convert(ConversionJob(load_card("live_sjtu"), tmp_path), None)


def test_two_files_of_one_name_are_ambiguous(tmp_path):
    put(tmp_path, "a/dmos.csv", "x\n")
    put(tmp_path, "b/dmos.csv", "x\n")
    with pytest.raises(ConfigError, match="2 files match"):
        convert(ConversionJob(load_card("kadid_10k"), tmp_path), None)
