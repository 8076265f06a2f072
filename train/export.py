"""A checkpoint for other software: merged, in the Hugging Face format of its family, with ten lines that score a clip.

Of a Qwen-Omni the folder is laid out as the full model's (`thinker.*`), because serving engines refuse folders of the
thinker alone; stock transformers reads the thinker out of it, and so does this project (`--checkpoint OUT`).
transformers does not know VideoLLaMA2: its weights get their published names, for this project and its authors' code.

What stock code can give back: it runs rows in the plain causal layout. A question about the picture or about the sound
sees only its own segment when `isolate` is on, so a prompt of its own gives the very same score. The other aspects see
several segments that do not see each other; a plain prompt gives them only when the checkpoint was trained with
`isolate: false`.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import torch

from mllm_avqa.corridor import Corridor
from mllm_avqa.model.backbones import load_backbone
from mllm_avqa.model.backbones.base import Backbone
from mllm_avqa.model.prompting import ALL, SEES, aspect_branch
from mllm_avqa.model.rows import prompt_ids, stock_aspects
from mllm_avqa.model.weights import kept
from mllm_avqa.schema.card import Card
from mllm_avqa.schema.errors import CheckpointError, ConfigError
from mllm_avqa.schema.files import whole_file
from mllm_avqa.windows import Prepared
from train.parts import part_of
from train.start import reopened, write_merged

DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}
# How a stock processor makes the inputs of each view; frames come in their final size
VIDEO_CODE = """\
frames = [torch.from_numpy(window[k]).permute(0, 3, 1, 2) for k in ("whole", "fragments")]
inputs |= processor.video_processor(frames, do_resize=False, do_sample_frames=False, return_tensors="pt")
"""
SOUND_CODE = """\
how = dict(sampling_rate=16000, padding=False, truncation=False, return_tensors="pt")
inputs["input_features"] = processor.feature_extractor(window["sound"], **how)["input_features"]
"""
CODE = {"video": VIDEO_CODE, "audio": SOUND_CODE}
SMALL = {"video": "video_second_per_grid", "audio": "feature_attention_mask"}  # inputs that are no arrays of the window


def publish(stage: Path, directory: Path, earlier: Path | None = None, share: float = 0.0) -> None:
    """Write `stage` in bf16 into `directory` (existing weights there are replaced): full weights, its adapter merged.

    earlier: a checkpoint that the stage came from; `share` of its language model is mixed into the stage's.

    An adapter on a base that everybody can assemble (`mllm_avqa.bases`) stays one: adapter and card are all that is
    written. Raises CheckpointError when `stage` is not a checkpoint.
    """
    card = Card.load(stage)
    if kept(card):
        _publish_adapter(stage, card, directory)
        return
    backbone, card = reopened(stage)
    if earlier is not None:
        _averaged(backbone, earlier, share)
        card.training = card.training | {"averaged": {"earlier": share}}
    write_merged(backbone, card, directory, torch.bfloat16)


@torch.no_grad()
def _averaged(backbone: Backbone, earlier: Path, share: float) -> None:
    """Mean of two language models of one descent: less of what only the last clips taught (Wortsman et al. 2022)."""
    other = dict(reopened(earlier)[0].model.named_parameters())
    for name, p in backbone.model.named_parameters():
        if part_of(name, backbone) == "llm":
            if name not in other or other[name].shape != p.shape:
                raise CheckpointError(f"{earlier} is no earlier state of this checkpoint: {name} differs (--earlier)")
            p.lerp_(other[name], share)


def _publish_adapter(stage: Path, card: Card, directory: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = "adapter_model.safetensors"
    if not (stage / weights).is_file():
        raise CheckpointError(f"{stage} was trained on {card.base_model} but holds no adapter")
    directory.mkdir(parents=True, exist_ok=True)
    small = {name: t.to(torch.bfloat16).contiguous() for name, t in load_file(stage / weights).items()}
    with whole_file(directory / weights) as part:
        save_file(small, part, {"format": "pt"})
    told = json.loads((stage / "adapter_config.json").read_text(encoding="utf-8"))
    told["base_model_name_or_path"] = card.base_model  # no folder of this machine
    (directory / "adapter_config.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    card.save(directory)


def export(source: Path, out: Path, clip: str | None = None, dtype: str = "bfloat16") -> dict[str, Any]:
    """Write checkpoint `source`, adapter merged, into the new folder `out`; score `clip` with it as an example.

    Returns what was written, with the example's scores before and after. Raises CheckpointError for a folder that is
    no checkpoint, or an `out` that holds something.
    """
    if out.exists() and any(out.iterdir()):
        raise CheckpointError(f"{out} is not empty: export writes a new folder")
    if dtype not in DTYPES:
        raise ConfigError(f"dtype {dtype!r} is not one of {', '.join(DTYPES)} (--dtype)")
    card = Card.load(source)
    backbone: Any = load_backbone(source, card, torch.float32)
    full, processor = backbone.stock_classes() or (None, None)
    backbone.model.eval()
    window = _window(clip, card) if clip is not None else None
    before = _scores(backbone, card, window) if window is not None else {}
    if hasattr(backbone.model, "peft_config"):
        backbone.model = backbone.model.merge_and_unload()
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    model = backbone.model.to(DTYPES[dtype])
    if full is None:
        model.save_pretrained(part)
        backbone.tokenizer.save_pretrained(part)
    else:
        _write_model(model, full, part)
        _write_processor(backbone, processor, part)
    card = card.model_copy(update={"base_model": None, "revision": None})
    card.save(part)
    stock = stock_aspects(card.aspects, card.isolate) if full is not None else []
    report: dict[str, Any] = {"checkpoint": str(out), "dtype": dtype, "aspects_for_stock_code": stock}
    again = load_backbone(part, card, torch.float32)  # what was written, not what was meant
    again.model.eval()
    if window is not None:
        after = _scores(again, card, window)
        if full is not None:
            _write_example(again, card, window, after, part)
        report["example"] = {"clip": clip, "before": before, "after": after}
    after = report["example"]["after"] if window is not None else {}
    text = _readme(card, full, after) if full is not None else _fill("export_own.md", card)
    (part / "README.md").write_text(text, encoding="utf-8")
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.exists():
        out.rmdir()
    part.rename(out)
    return report


def _write_model(thinker: Any, full: Any, directory: Path) -> None:
    config = full.config_class(thinker_config=thinker.config.to_dict(), enable_audio_output=False)
    with torch.device("meta"):
        model = full._from_config(config)
    model.thinker = thinker
    model.config.architectures = [full.__name__]
    model.generation_config = thinker.generation_config
    model.save_pretrained(directory)
    torch.save({}, directory / "spk_dict.pt")  # voices of a talker that is not there: the full class asks for the file


def _write_processor(backbone: Any, kind: Any, directory: Path) -> None:
    from transformers import Qwen2VLImageProcessor

    video = backbone.video_processor
    image = Qwen2VLImageProcessor(
        patch_size=video.patch_size, image_mean=list(video.image_mean), image_std=list(video.image_std)
    )
    tokenizer = backbone.tokenizer
    m = backbone.marks
    names = {
        "image_token": backbone.control[6],
        "audio_token": m.sound,
        "video_token": m.video,
        "vision_bos_token": m.video_start,
        "vision_eos_token": m.video_end,
        "audio_bos_token": m.sound_start,
        "audio_eos_token": m.sound_end,
    }
    tokenizer._set_model_specific_special_tokens(special_tokens=names)
    template = (Path(__file__).parent / "export.jinja").read_text(encoding="utf-8")
    views = {"video": m.video_start + m.video + m.video_end, "sound": m.sound_start + m.sound + m.sound_end}
    template = Template(template).substitute(views)
    kind(image, video, backbone.feature_extractor, tokenizer, chat_template=template).save_pretrained(directory)


def _window(clip: str, card: Card) -> Prepared:
    from mllm_avqa.media import MediaReader
    from mllm_avqa.windows import file_windows

    reader = MediaReader()
    try:
        return next(file_windows(clip, reader, card.views))
    finally:
        reader.close()


def _scores(backbone: Backbone, card: Card, w: Prepared) -> dict[str, float]:
    (scores,) = Corridor(backbone, card).score_windows([w], card.languages[0])
    return {a: s.score for a, s in scores.items()}


def _seen(aspect: str, card: Card) -> tuple[str, ...]:
    return SEES[aspect] if card.isolate else ALL


def _write_example(backbone: Backbone, card: Card, w: Prepared, scores: dict[str, float], directory: Path) -> None:
    """The window as arrays; prompts and scores of the aspects that stock code can give."""
    language = card.languages[0]
    corridor = Corridor(backbone, card)
    segments, media, _ = corridor.encode(w, language)
    told = {}
    for a in [a for a in stock_aspects(card.aspects, card.isolate) if a in scores]:
        ids = prompt_ids(segments, backbone.encode_branch(aspect_branch(a, language)), card.isolate)
        tensors = {"input_ids": [ids], "attention_mask": [[1] * len(ids)]}
        tensors |= {k: media[k].tolist() for n, k in SMALL.items() if n in _seen(a, card) and k in media}
        told[a] = {"score": scores[a], "inputs": tensors}
    data = {"level_ids": corridor.level_ids, "aspects": told}
    (directory / "example.json").write_text(json.dumps(data), encoding="utf-8")
    arrays = {k: getattr(w.views, k) for k in ("whole", "fragments", "sound")}
    with (directory / "example.npz").open("wb") as f:
        np.savez(f, **{k: v for k, v in arrays.items() if v is not None})


def _readme(card: Card, full: Any, scores: dict[str, float]) -> str:
    stock = stock_aspects(card.aspects, card.isolate)
    aspect = next((a for a in stock if a in scores), stock[0])
    code = "".join(CODE[n] for n in CODE if n in _seen(aspect, card))
    return _fill(
        "export.md",
        card,
        thinker=full.__name__.replace("ForConditional", "ThinkerForConditional"),
        inputs=code.rstrip(),
        aspect=aspect,
        score=scores.get(aspect, "nothing yet: export again with --example CLIP"),
        stock=", ".join(stock),
        isolate=str(card.isolate).lower(),
    )


def _fill(template: str, card: Card, **more: object) -> str:
    text = Template((Path(__file__).parent / template).read_text(encoding="utf-8"))
    return text.substitute(name=card.name, licence=card.licence, limits=card.limits, **more)
