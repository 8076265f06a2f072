"""Words of the reports in English and Chinese, and the rendering of single values. No colours, no layout."""

from __future__ import annotations

import unicodedata

ASPECT_LABELS = {
    "en": {"overall": "Overall", "video": "Video", "audio": "Audio", "sync": "Sync", "text": "Text"},
    "zh": {"overall": "整体", "video": "画面", "audio": "声音", "sync": "音画同步", "text": "文字"},
}
LEVEL_LABELS = {
    "en": {w: w for w in ("excellent", "good", "fair", "poor", "bad")},
    "zh": {"excellent": "优秀", "good": "良好", "fair": "一般", "poor": "较差", "bad": "很差"},
}
SEVERITY_LABELS = {
    "en": {w: w for w in ("none", "faint", "slight", "moderate", "strong", "severe")},
    "zh": {"none": "无", "faint": "极轻", "slight": "轻微", "moderate": "中等", "strong": "明显", "severe": "严重"},
}
SUPPORT_LABELS = {
    "en": {"supported": "supported", "contradicted": "contradicted", "unverified": "unverified"},
    "zh": {"supported": "有依据", "contradicted": "与测量矛盾", "unverified": "未核实"},
}
STATUS_LABELS = {
    "en": {"ok": "found", "absent": "none found", "unavailable": "unavailable", "skipped": "skipped"},
    "zh": {"ok": "已找到", "absent": "未发现", "unavailable": "不可用", "skipped": "已跳过"},
}
ORIGIN_LABELS = {
    "en": {
        "metadata": "metadata",
        "subtitle": "subtitle stream",
        "sidecar": "sidecar file",
        "user": "given by the user",
        "ocr": "on-screen text (OCR)",
        "asr": "speech (ASR)",
    },
    "zh": {
        "metadata": "元数据",
        "subtitle": "字幕流",
        "sidecar": "外挂字幕",
        "user": "用户提供",
        "ocr": "画面文字（OCR）",
        "asr": "语音（ASR）",
    },
}
INPUT_LABELS = {  # of `attribution.INPUTS`; texts are called by their origin
    "en": {
        "picture": "pixels",
        "sound": "samples",
        "video_facts": "facts about the picture",
        "audio_facts": "facts about the sound",
        "sync_facts": "facts about timing",
        "text_facts": "facts about captions",
        **ORIGIN_LABELS["en"],
    },
    "zh": {
        "picture": "像素",
        "sound": "声音样本",
        "video_facts": "画面测量",
        "audio_facts": "声音测量",
        "sync_facts": "同步测量",
        "text_facts": "字幕测量",
        **ORIGIN_LABELS["zh"],
    },
}
WORDS = {
    "en": {
        "title": "Quality report",
        "scale": "scores 1–5, higher is better",
        "explanation": "Explanation",
        "timeline": "Over time",
        "evidence": "Evidence",
        "quiet": "without a fault: {n}",
        "unmeasured": "not measurable: {n}",
        "clean": "No measurement shows a fault.",
        "measure": "measurement",
        "value": "value",
        "severity": "severity",
        "where": "where in the clip",
        "whole": "whole clip",
        "note": "note",
        "context": "Text that comes with the clip",
        "quoted": "Quoted as found. It is data: nothing in it was followed.",
        "media": "Media",
        "input": "What the model was given",
        "identity": "Fingerprint",
        "warnings": "Warnings",
        "limits": "Limits of this checkpoint",
        "no_score": "not scored",
        "frames": "Frames the model saw",
        "seconds": "Time spent",
        "no_explanation": "No explanation was asked for.",
        "container": "container",
        "duration": "duration",
        "size": "size",
        "video": "video",
        "audio": "audio",
        "absent": "absent",
        "hash": "sha256 of the file",
        "spread": "spread ±",
        "attribution": "What the scores rest on",
        "nothing_given": "nothing given",
        "everything_given": "everything given",
        "shares": "Shapley shares in points: those of the modalities add up to the way from nothing given to "
        "everything given, and so do those of the inputs below them.",
        "estimated": "Shares of the inputs are estimated from {n} orders; standard error at most {error:.3f}.",
    },
    "zh": {
        "title": "质量报告",
        "scale": "1–5 分，越高越好",
        "explanation": "说明",
        "timeline": "随时间变化",
        "evidence": "测量依据",
        "quiet": "未见问题：{n} 项",
        "unmeasured": "无法测量：{n} 项",
        "clean": "所有测量均未发现问题。",
        "measure": "测量项",
        "value": "数值",
        "severity": "程度",
        "where": "出现位置",
        "whole": "整段",
        "note": "备注",
        "context": "片段附带的文字",
        "quoted": "原样引用，仅作为数据，不作为指令。",
        "media": "媒体信息",
        "input": "模型的输入",
        "identity": "指纹",
        "warnings": "警告",
        "limits": "此模型的局限",
        "no_score": "未评分",
        "frames": "模型所见的帧",
        "seconds": "耗时",
        "no_explanation": "未要求生成说明。",
        "container": "容器",
        "duration": "时长",
        "size": "大小",
        "video": "视频",
        "audio": "音频",
        "absent": "无",
        "hash": "文件 sha256",
        "spread": "离散 ±",
        "attribution": "评分依据",
        "nothing_given": "无任何输入",
        "everything_given": "全部输入",
        "shares": "Shapley 贡献值（分）：各模态之和与其下各输入之和，均等于“全部输入”与“无任何输入”的分差。",
        "estimated": "各输入的贡献值由 {n} 个随机顺序估计，标准误不超过 {error:.3f}。",
    },
}


def visible(text: object) -> str:
    """Text of strangers as it may be shown: control, bidi-override and surrogate characters become a visible mark.

    Line ends and tabs stay. Without this a title could move the cursor of a terminal or reverse the line around it.
    """
    return "".join(c if c in "\n\t" or not _unsafe(c) else "\N{REPLACEMENT CHARACTER}" for c in str(text))


def _unsafe(c: str) -> bool:
    # Cf covers bidi overrides and invisible characters; the zero-width joiners are part of ordinary writing.
    return unicodedata.category(c) in ("Cc", "Cs", "Cf") and c not in "\u200c\u200d\u00ad"


def clock(seconds: float | None) -> str:
    """Seconds as m:ss.s (h:mm:ss from an hour on), "?" when unknown."""
    if seconds is None:
        return "?"
    if seconds >= 3600:
        whole = round(seconds)
        return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
    tenths = round(seconds * 10)
    return f"{tenths // 600}:{tenths // 10 % 60:02d}.{tenths % 10}"


def amount(value: float | None, unit: str) -> str:
    """A measured value with its unit, four significant digits; a dash when it could not be measured."""
    if value is None:
        return "–"
    number = f"{value:.4g}"
    if "e" in number:
        number = f"{value:,.0f}" if abs(value) >= 1 else f"{value:.2g}"
    return number if unit in ("", "ratio", "index") else f"{number} {unit}"


def signed(share: float) -> str:
    """A share in points with its sign; one that rounds to nothing is 0."""
    text = f"{share:+.2f}"
    return "0" if text in ("+0.00", "-0.00") else text.replace("-", "−")


def size(n: int) -> str:
    """Bytes for people: 1.2 MB."""
    value = float(n)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError("unreachable: GB returns")
