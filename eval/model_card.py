"""Measured results -> the `results` of avqa.yaml and MODEL_CARD.md beside it. Every number comes from the results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from eval.held_out import CONDITIONS
from eval.stats import Agreement, Number, wilson
from eval.writing import signed, table
from mllm_avqa.rater import resolve_checkpoint
from mllm_avqa.schema.calibration import Calibration
from mllm_avqa.schema.card import Card
from mllm_avqa.schema.files import whole_file

FILE = "MODEL_CARD.md"
CALIBRATION = "## Calibration"
CONDITION_WORDS = {
    "full": "everything a rating uses",
    "no_evidence": "measured facts taken away",
    "evidence_only": "facts and texts only, neither picture nor sound shown",
    "no_pixels": "picture not shown, its facts kept",
    "no_sound": "sound not played, its facts kept",
    "no_context": "no quoted text",
}


def compact(results: dict[str, Any]) -> dict[str, Any]:
    """The few numbers that belong into the checkpoint's card."""
    language = next(iter(results["aspects"]))
    aspects: dict[str, Any] = {}
    for aspect, raw in results["aspects"][language]["full"].items():
        a = Agreement.model_validate(raw)
        aspects[aspect] = {
            "srcc": a.srcc.value,
            "srcc_95": [a.srcc.low, a.srcc.high] if a.srcc.low is not None else None,
            "krcc": a.krcc.value,
            "plcc": a.plcc_mapped.value,
            "rmse": a.rmse.value,
            "n": a.n,
            "m": a.m,
        }
    talk = results["crosstalk"][language]
    injected = results["injection"][language].get("attacks", {}).get("change", {})
    told = results["explanations"][language]
    return {
        "date": results["date"],
        "commit": results["commit"],
        "weights": results["fingerprint"]["weights"],
        "records": {
            k: results["records"][k] for k in ("file", "sha256", "split", "clips", "contents", "pseudo_labels")
        },
        "language": language,
        "aspects": aspects,
        "evidence_only_srcc": {
            a: raw["srcc"].get("value") for a, raw in results["aspects"][language]["evidence_only"].items()
        },
        "no_evidence_srcc": {
            a: raw["srcc"].get("value") for a, raw in results["aspects"][language]["no_evidence"].items()
        },
        "residual_srcc": results["independence"][language].get("residual", {}).get("value"),
        "crosstalk_max": {
            "video_when_sound_replaced": talk["audio_replaced"].get("video_change", {}).get("max"),
            "audio_when_picture_replaced": talk["video_replaced"].get("audio_change", {}).get("max"),
        },
        "injection_max": {a: c["max"] for a, c in injected.items()},
        "stage1_accuracy": {
            t: s["accuracy"] for t, s in results["stage1"][language].items() if t != "unread" and "/" not in t
        },
        "claims": {k: told[k] for k in ("supported", "contradicted", "unverified", "withdrawn", "ended", "record")},
    }


def write(checkpoint: str, results: dict[str, Any]) -> str:
    """Update avqa.yaml and write MODEL_CARD.md; returns the name of what was written."""
    directory = resolve_checkpoint(checkpoint)
    card = Card.load(directory)
    card.results = compact(results)
    card.save(directory)
    (directory / FILE).write_text(render(card, results, size(directory)), encoding="utf-8")
    return f"{directory.name}/{FILE}"


def size(directory: Path) -> int:
    """Bytes of the weight files."""
    return sum(p.stat().st_size for p in directory.glob("*.safetensors"))


def render(card: Card, results: dict[str, Any], weight_bytes: int) -> str:
    origin = results["records"]
    parts = [
        f"# {card.name}",
        f"Audio-visual quality rater, family `{card.family}`"
        + (f", adapter on `{card.base_model}`" if card.base_model else "")
        + f", {weight_bytes / 1e6:.1f} MB of weights, licence {card.licence}. Aspects: {', '.join(card.aspects)}."
        f" Languages: {', '.join(card.languages)}. Scores are 1-5, higher is better.",
        "## Limits",
        card.limits.strip() or "None are stated in avqa.yaml.",
        "## How this was measured",
        f"{results['date']}, {results['hardware']}"
        + (f", {results['gpu']}" if results["gpu"] else "")
        + f", {results['threads']} threads; commit {results['commit'] or 'unknown'}; "
        + ", ".join(f"{k} {v}" for k, v in results["versions"].items())
        + ".",
        f"```\n{results['command']}\n```" if "command" in results else "",
        _origin(origin),
        *_aspects(results),
        *_independence(results),
        *_injection(results),
        *_stage1(results),
        *_explanations(results),
        calibration_section(card.calibration, results["fingerprint"]["weights"]) if card.calibration else "",
        "## Sources and licences",
        "Clips of the record file by licence (a clip made of several sources counts for each):",
        table(["licence", "clips"], [[k, str(v)] for k, v in origin["licences"].items()]),
    ]
    if card.training:
        parts += ["## Training", table(["stage", "settings"], [[k, str(v)] for k, v in card.training.items()])]
    return "\n\n".join(p for p in parts if p) + "\n"


def _origin(origin: dict[str, Any]) -> str:
    shared = origin["shared_with_training"]
    text = (
        f"{origin['clips']} clips of split `{origin['split']}` of `{origin['file']}` (sha256 {origin['sha256']}), made "
        f"of {origin['contents']} contents; "
        + (
            "none of them is in the training split. "
            if not shared
            else f"**{shared} of them are also in the training split.** "
        )
        + (
            "Labels are computed from the known faults (pseudo-MOS), not voted by people. "
            if origin["pseudo_labels"]
            else ""
        )
        + "Intervals are 95 %, bootstrapped over contents. PLCC and RMSE are after a 4-parameter logistic mapping "
        "unless the mapping column says otherwise."
    )
    if origin["failed"]:
        names = "; ".join(f"{k}: {v}" for k, v in list(origin["failed"].items())[:5])
        text += f" {len(origin['failed'])} clips could not be prepared and count as missing ({names})."
    return text


def _aspects(results: dict[str, Any]) -> list[str]:
    parts = ["## Agreement with the labels"]
    for language, by_condition in results["aspects"].items():
        rows = []
        for aspect, raw in by_condition["full"].items():
            a = Agreement.model_validate(raw)
            numbers = [signed(a.srcc, interval=True), *(signed(x) for x in (a.krcc, a.plcc, a.plcc_mapped, a.rmse))]
            rows.append([aspect, *numbers, f"{a.n} of {a.m}", str(a.groups), a.mapping.split(" ")[0]])
        head = ["aspect", "SRCC", "KRCC", "PLCC raw", "PLCC", "RMSE", "n", "contents", "mapping"]
        notes = {
            f"{aspect}: {raw['srcc']['note']}"
            for aspect, raw in by_condition["full"].items()
            if raw["srcc"].get("note")
        }
        parts += [f"Prompts in `{language}`:", table(head, rows), "\n".join(f"- {n}" for n in sorted(notes))]
    parts += [
        "### What the scores rest on",
        "SRCC with a part of the input taken away, and of regressions that learnt from these clips alone, "
        "cross-validated by content.",
    ]
    for language, by_condition in results["aspects"].items():
        aspects = list(by_condition["full"])
        rows = [
            [f"{c}: {CONDITION_WORDS[c]}"]
            + [signed(Number.model_validate(by_condition[c][a]["srcc"]), interval=True) for a in aspects]
            for c in CONDITIONS
        ]
        rows += [
            [name] + [signed(Number.model_validate(b[a]["srcc"]), interval=True) if a in b else "–" for a in aspects]
            for name, b in results["baselines"].items()
        ]
        parts += [f"Prompts in `{language}`:", table(["condition", *aspects], rows)]
    return parts


def _independence(results: dict[str, Any]) -> list[str]:
    parts = ["## Independence of picture and sound"]
    for language, i in results["independence"].items():
        if "residual" not in i:
            parts.append(f"`{language}`: {i.get('note', 'not measured')}.")
            continue
        named = {
            "SRCC(audio label, video label)": i["labels"],
            "SRCC(audio score, video score)": i["scores"],
            "residual: SRCC(audio - video score, audio - video label)": i["residual"],
            **{f"partial {k}: own score and label, other label held constant": v for k, v in i["partial"].items()},
            **{f"leak {k}: score with the other label, own label held constant": v for k, v in i["leak"].items()},
        }
        rows = [[k, signed(Number.model_validate(v), interval=True)] for k, v in named.items()]
        parts += [f"`{language}`, {i['n']} clips with picture and sound:", table(["statistic", "value"], rows)]
        labels = sorted({y for row in i["cross"].values() for y in row})
        cross = [
            [x] + [signed(Number(value=row[y]["srcc"])) if y in row else "–" for y in labels]
            for x, row in i["cross"].items()
        ]
        parts += ["SRCC of every score (rows) with every label (columns):", table(["score", *labels], cross)]
        talk = results["crosstalk"][language]
        rows = []
        for touched, kept in (("audio", "video"), ("video", "audio")):
            t = talk[f"{touched}_replaced"]
            if t["n"]:
                own, other = t[f"{touched}_change"], t[f"{kept}_change"]
                share = t["untouched_over_touched"]
                ratio = "–" if share is None else f"{share:.5f}"
                changes = [f"{own['mean']:.3f}", f"{other['mean']:.5f}", f"{other['max']:.5f}"]
                rows.append([f"{touched} replaced, {kept} kept", *changes, ratio, str(t["n"])])
        head = [
            "same clip with another clip's part",
            "change of touched, mean",
            "of untouched, mean",
            "max",
            "ratio",
            "n",
        ]
        if rows:
            parts.append(table(head, rows))
    return parts


def _injection(results: dict[str, Any]) -> list[str]:
    rows = []
    for language, i in results["injection"].items():
        for name in ("attacks", "harmless"):
            for aspect, c in i.get(name, {}).get("change", {}).items():
                share = f"{100 * c['above_0.05']:.1f} %"
                rows.append(
                    [f"{name}, {language}, {aspect}", f"{c['mean']:.4f}", f"{c['max']:.4f}", share, str(c["n"])]
                )
    if not rows:
        return []
    text = "Change of scores when a text is given with the clip, against the same clip without it (a few of "
    head = ["text", "mean", "max", "above 0.05", "n"]
    return ["## Texts that want a score", text + "`eval/robustness/texts`).", table(head, rows)]


def _stage1(results: dict[str, Any]) -> list[str]:
    rows = []
    for language, tasks in results["stage1"].items():
        for task, s in tasks.items():
            if task == "unread":
                continue
            accuracy = f"{100 * s['accuracy']:.1f} % [{100 * s['low']:.1f}, {100 * s['high']:.1f}]"
            common = "–" if s["commonest"] is None else f"{100 * s['commonest']:.1f} %"
            name = task.replace("kind", "distortion type (kind)")
            rows.append([f"{name}, {language}", accuracy, f"{100 * s['chance']:.1f} %", common, str(s["n"])])
    if not rows:
        return []
    text = (
        "Read from log-probabilities, of the letter or of a whole answer, never by parsing generated text. Intervals "
        'are Wilson\'s and take clips as independent. "Commonest" always gives the most frequent right answer.'
    )
    return ["## Questions about faults", text, table(["task", "accuracy", "chance", "commonest", "n"], rows)]


def _explanations(results: dict[str, Any]) -> list[str]:
    rows, known = [], []
    for language, e in results["explanations"].items():
        if e["clips"]:
            shares = [
                "–" if e[k] is None else f"{100 * e[k]:.1f} %"
                for k in ("supported", "contradicted", "unverified", "withdrawn", "ended")
            ]
            rows.append([language, *shares, str(e["claims"]), str(e["clips"])])
            if e["record"].get("statements"):
                r = e["record"]
                wrong, named = (_wilson(r[k], r[of]) for k, of in (("contradicted", "statements"), ("named", "faults")))
                known.append([language, wrong, str(r["statements"]), named, str(r["faults"])])
    if not rows:
        return []
    head = ["language", "claims supported", "contradicted", "unverified", "withdrawn", "texts that end properly"]
    text = "What a measured fact refutes is withdrawn before the text is shown; the share is of all claims made."
    against = (
        "By the record: statements (faults, clean sides, levels) against the faults that the clip was made with, and "
        "the share of its faults of moderate severity and more (level 3 of 5) that are named. Intervals are Wilson's."
    )
    parts = ["## Explanations", text, table([*head, "claims", "clips"], rows)]
    if known:
        parts.append(against)
        parts.append(table(["language", "contradicted by the record", "statements", "faults named", "faults"], known))
    return parts


def _wilson(part: int, of: int) -> str:
    if not of:
        return "–"
    low, high = wilson(part, of)
    return f"{100 * part / of:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


# ---- the section about intervals -----------------------------------------------------------------------------------


def calibration_section(found: Calibration, weights: str) -> str:
    """Markdown, title and all. weights: hash of the checkpoint's own (`Rater.weights`)."""
    measured: Any = found.measured
    origin, tested = measured.get("records", {}), measured.get("test", {})
    rows = []
    for language, by_aspect in found.quantiles.items():
        for aspect, quantile in by_aspect.items():
            t = tested.get(language, {}).get(aspect, {})
            low, high = t.get("coverage_95") or (None, None)
            coverage = Number(value=t.get("coverage"), low=low, high=high)
            numbers = (signed(Number(value=t.get(k))) for k in ("width", "ece", "ece_levels"))
            clips = f"{t.get('calibrated', '?')} / {t.get('n', '?')}"
            rows.append([f"{aspect}, {language}", f"{quantile:.3f}", signed(coverage, interval=True), *numbers, clips])
    text = [
        f"Ratings tell an interval for {100 * found.coverage:g} % of labels of clips like those it was made on: score "
        f"± quantile x predicted std (at least {found.least_std:g}), cut at 1 and 5 (split-conformal)."
    ]
    if {"file", "sha256", "split", "test"} <= origin.keys():
        text.append(
            f"Quantiles are from split `{origin['split']}` of `{origin['file']}` (sha256 {origin['sha256']}); "
            f"coverage, mean width and calibration error from its split `{origin['test']}`."
        )
    if "context" in origin:
        text.append(f"Text was looked for as `--context {origin['context']}` does.")
    if origin.get("pseudo_labels"):
        text.append("The labels are computed, not voted by people.")
    text.append(
        "ECE: expected calibration error of the likeliest level, and mean over all five, against shares of votes."
    )
    parts = [CALIBRATION, " ".join(text)]
    if found.weights != weights:
        parts.append(f"**It was made with other weights ({found.weights}): ratings leave it out.**")
    head = ["aspect", "quantile", "coverage", "width", "ECE", "ECE of all levels", "clips: calibrated / tested"]
    return "\n\n".join([*parts, table(head, rows)])


def put(path: Path, text: str) -> None:
    """Replace the section in a MODEL_CARD.md, or put it before "Sources and licences"; a missing file stays missing."""
    if not path.is_file():
        return
    heading = text.splitlines()[0]
    kept = [p for p in path.read_text(encoding="utf-8").split("\n## ") if f"## {p.splitlines()[0]}" != heading]
    at = next((n for n, p in enumerate(kept) if p.startswith("Sources and licences\n")), len(kept))
    kept.insert(at, text.removeprefix("## ") + "\n")
    with whole_file(path) as part:
        part.write_text("\n## ".join(kept), encoding="utf-8")
