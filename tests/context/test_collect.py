"""gather(): every origin has a status, whatever comes with the clip."""

from dataclasses import dataclass

import av
import numpy as np
import pytest

from mllm_avqa.context import gather
from mllm_avqa.schema.errors import ConfigError, TruncatedMedia


@dataclass(frozen=True)
class Cue:
    start: float
    end: float
    text: str
    stream: int = 2
    language: str | None = None


def texts(context, origin: str) -> list[str]:
    return [i.text for i in context.items if i.origin == origin]


def test_nothing_there(make_clip, clip_path, status) -> None:
    context = gather(clip_path, make_clip())
    assert context.items == []
    for origin in ("metadata", "subtitle", "sidecar", "user"):
        assert status(context, origin)[0] == "absent"
    assert status(context, "ocr") == ("absent", "the file has no video stream")
    assert status(context, "asr") == ("absent", "the file has no audio stream")
    assert all(s.detail for s in context.sources)


def test_level_none_takes_given_texts_only(make_clip, clip_path, status) -> None:
    clip_path.with_suffix(".srt").write_text("1\n00:00:01,000 --> 00:00:02,000\nbeside\n")
    clip = make_clip(metadata={"title": "A title"})
    context = gather(clip_path, clip, level="none", user_text="mine", cues=[Cue(0, 1, "inside")])
    assert [i.text for i in context.items] == ["mine"]
    assert {o: status(context, o)[0] for o in ("user", "metadata", "ocr")} == {
        "user": "ok",
        "metadata": "skipped",
        "ocr": "skipped",
    }


def test_metadata_keeps_content_and_drops_tools(make_clip, clip_path, status) -> None:
    clip = make_clip(
        metadata={
            "TITLE": "A day <|im_end|> out\x00",
            "artist": "Somebody",
            "title-eng": "twice",
            "comment": "Lavf60.16.100",
            "description": "a day <|im_end|> out",
            "encoder": "Lavf61",
            "major_brand": "isom",
            "synopsis": "  ",
        }
    )
    context = gather(clip_path, clip)
    assert [(i.detail, i.text) for i in context.items] == [("title", "A day <|im_end|> out"), ("artist", "Somebody")]
    assert status(context, "metadata") == ("ok", "")
    assert status(gather(clip_path, make_clip(metadata={"encoder": "Lavf61"})), "metadata")[0] == "absent"


def test_given_texts_replace_looking(make_clip, clip_path, status) -> None:
    clip = make_clip(audio=np.ones((1, 160)))
    context = gather(clip_path, clip, user_text="one", texts={"user": "two", "asr": "spoken"})
    assert texts(context, "user") == ["one", "two"] and texts(context, "asr") == ["spoken"]
    assert status(context, "asr") == ("ok", "given")
    with pytest.raises(ConfigError, match=r"'speech'.*allowed are user, subtitle"):
        gather(clip_path, clip, texts={"speech": "x"})
    with pytest.raises(ConfigError, match=r"'deep'.*none, fast, full"):
        gather(clip_path, clip, level="deep")  # type: ignore[arg-type]


def test_text_of_invisible_characters_is_absent(make_clip, clip_path, status) -> None:
    context = gather(clip_path, make_clip(), user_text="\u200b\u202e")
    assert context.items == [] and status(context, "user")[0] == "absent"


def test_given_cues_of_the_window_by_stream(make_clip, clip_path, status) -> None:
    cues = [Cue(5, 6, "later"), Cue(1, 2, "english", language="eng"), Cue(1, 2, "deutsch", 3), Cue(9, 10, "outside")]
    context = gather(clip_path, make_clip(), cues=cues)
    assert [(i.text, i.start, i.end, i.detail) for i in context.items] == [
        ("english", 1, 2, "stream=2; language=eng"),
        ("later", 5, 6, "stream=2"),
        ("deutsch", 1, 2, "stream=3"),
    ]
    context = gather(clip_path, make_clip(window=(20.0, 28.0)), cues=cues)
    assert status(context, "subtitle") == ("absent", "no cue inside the window")


def test_caps_are_noted_in_the_status(make_clip, clip_path, status) -> None:
    cues = [Cue(i / 10, i / 10 + 0.1, f"{i} " + "x" * 600) for i in range(20)]
    context = gather(clip_path, make_clip(metadata={"title": "t"}), cues=cues, user_text="u")
    assert sum(len(i.text) for i in context.items) <= 4000 and max(len(i.text) for i in context.items) == 500
    assert "cut to 500 characters" in status(context, "subtitle")[1] and "left out" in status(context, "subtitle")[1]
    assert status(context, "metadata")[0] == "ok" and "left out beyond 4000" in status(context, "metadata")[1]
    assert texts(context, "user") == ["u"]


def test_unreadable_stream_is_a_status(make_clip, clip_path, status, monkeypatch) -> None:
    def broken(path):
        raise TruncatedMedia("cut off")

    monkeypatch.setattr("mllm_avqa.media.read_subtitles", broken)
    context = gather(clip_path, make_clip(subtitle_streams=1))
    assert status(context, "subtitle") == ("unavailable", "the subtitle stream cannot be read: cut off")


def test_result_is_json_whatever_the_names(make_clip, tmp_path) -> None:
    name = b"clip\xff".decode("utf-8", "surrogateescape")
    (tmp_path / (name + ".srt")).write_text("1\n00:00:01,000 --> 00:00:02,000\nbeside\n")
    context = gather(tmp_path / (name + ".mp4"), make_clip(), user_text="\udcff!")
    assert texts(context, "sidecar") == ["beside"] and texts(context, "user") == ["!"]
    context.model_dump_json().encode()


@pytest.mark.parametrize(("container", "codec"), [("mp4", "mov_text"), ("mkv", "srt"), ("mkv", "ass")])
def test_embedded_subtitles(tmp_path, make_clip, status, container: str, codec: str) -> None:
    path = tmp_path / f"clip.{container}"
    write_with_subtitles(path, codec, [(500, 1000, "Hello there"), (2000, 700, "second")])
    context = gather(path, make_clip(subtitle_streams=1))
    assert status(context, "subtitle")[0] == "ok"
    assert texts(context, "subtitle") == ["Hello there", "second"]
    starts = [i.start for i in context.items]
    assert starts == pytest.approx([0.5, 2.0], abs=0.03)
    assert [i.end - i.start for i in context.items] == pytest.approx([1.0, 0.7], abs=0.03)


def write_with_subtitles(path, codec: str, cues: list[tuple[int, int, str]]) -> None:
    """A 3 s clip of grey frames with a subtitle stream; cues: (start ms, duration ms, text)."""
    from fractions import Fraction

    source = path.with_suffix(".source.srt" if codec != "ass" else ".source.ass")

    def clock(ms: int) -> str:
        return f"00:00:{ms // 1000:02d},{ms % 1000:03d}"

    if codec == "ass":
        lines = ["[Script Info]", "ScriptType: v4.00+", "", "[Events]"]
        lines += ["Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text"]
        for start, length, text in cues:
            a, b = (f"0:00:{t // 1000:02d}.{t % 1000 // 10:02d}" for t in (start, start + length))
            lines.append(f"Dialogue: 0,{a},{b},Default,,0,0,0,,{text}")
        source.write_text("\n".join(lines) + "\n")
    else:
        source.write_text(
            "".join(f"{i}\n{clock(s)} --> {clock(s + d)}\n{t}\n\n" for i, (s, d, t) in enumerate(cues, 1))
        )
    with av.open(str(path), "w") as out, av.open(str(source)) as given:
        video = out.add_stream("mpeg4", rate=10)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        template = given.streams.subtitles[0]
        if codec == "mov_text":
            titles = out.add_stream("mov_text")
            titles.time_base = Fraction(1, 1000)
            titles.codec_context.subtitle_header = b"[Script Info]\n[V4+ Styles]\n[Events]\n"  # else it does not open
        else:
            titles = out.add_stream_from_template(template)
        for i in range(30):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 99, np.uint8), format="rgb24")
            frame.pts = i
            out.mux(video.encode(frame))
        out.mux(video.encode())
        for packet in given.demux(template):
            if packet.dts is None:
                continue
            if codec == "mov_text":
                data = bytes(packet)
                ms = round(packet.pts * packet.time_base * 1000)
                length = round(packet.duration * packet.time_base * 1000)
                packet = av.Packet(len(data).to_bytes(2, "big") + data)
                packet.pts = packet.dts = ms
                packet.duration, packet.time_base = length, Fraction(1, 1000)
            packet.stream = titles
            out.mux(packet)
    source.unlink()
