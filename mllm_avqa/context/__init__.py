"""The text that comes with a clip: metadata, subtitles, on-screen text, speech, and what the user says of it."""

from mllm_avqa.context.asr import AsrEngine, load_asr, resample_16k
from mllm_avqa.context.collect import gather
from mllm_avqa.context.ocr import OcrEngine, RapidOcr, default_ocr
from mllm_avqa.schema.text import SourceStatus, TextContext, TextItem

__all__ = [
    "AsrEngine",
    "OcrEngine",
    "RapidOcr",
    "SourceStatus",
    "TextContext",
    "TextItem",
    "default_ocr",
    "gather",
    "load_asr",
    "resample_16k",
]
