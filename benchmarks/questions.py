"""All questions of a clip behind one encoded prefix, against encoding the clip for every question. Model time only."""

from __future__ import annotations

import torch

from benchmarks.aspects import encoded_window
from benchmarks.base import Measured, Options, Ratio, medians
from eval.questions.readout import option_values
from eval.questions.task import AskedItem, Aspect, Task, TaskItem, ask, load_task
from mllm_avqa.model.prompting import load_prompts
from mllm_avqa.model.scoring import EncodedClip

QUESTIONS, OPTIONS = 8, 4


def run(settings: Options) -> Measured:
    rater, encoded = encoded_window(settings)
    asked = questions(load_task("av_questions").form)

    def encode() -> EncodedClip:
        return rater.corridor.hold(encoded._replace(aspects=[]))[1]

    def together() -> list[list[float]]:
        return option_values(encode(), asked)

    def one_by_one() -> list[list[float]]:
        return [option_values(encode(), [a])[0] for a in asked]

    def per_option() -> None:
        for a in asked:
            for k in range(len(a.answers)):
                alone = AskedItem(a.aspect, a.text, a.answers[k : k + 1], a.options[k : k + 1], (0,), a.lettered)
                option_values(encode(), [alone])

    apart = max(abs(x - y) for v, w in zip(together(), one_by_one(), strict=True) for x, y in zip(v, w, strict=True))
    cost = medians({"together": together, "one": one_by_one, "option": per_option}, settings.repeats)
    ours, one, option = cost["together"], cost["one"], cost["option"]
    speed = {name: f"{1 / c.wall:.2f} clips/s, {c}" for name, c in cost.items()}
    return Measured(
        "Questions",
        [
            Ratio(f"{QUESTIONS} questions: clips/s, one prefix / question by question", speed["together"], speed["one"],
                one.wall / ours.wall, ">= 3"),
            Ratio("the same, CPU", f"{ours}", f"{one}", one.cpu / ours.cpu),
            Ratio("clips/s, one prefix / option by option", speed["together"], speed["option"],
                option.wall / ours.wall),
        ],
        [
            f"{QUESTIONS} questions with {OPTIONS} options each on one prepared window "
            f"({sum(len(s.ids) for s in encoded.segments)} prefix tokens); model time only, decoding excluded; "
            f"medians of {settings.repeats} interleaved runs, {torch.get_num_threads()} threads.",
            f"Largest difference of an option's log-probability between the two ways: {apart:.1e}.",
        ],
    )  # fmt: skip


def questions(form: str) -> list[AskedItem]:
    """Questions about the faults of picture and sound, in the words of the recipes."""
    words = load_prompts("questions", "en")
    names = list(words["names"].values())
    task = Task(name="made", version="1", about="", source="", licence="", form=form)
    out = []
    for n in range(QUESTIONS):
        options = tuple(names[(n * OPTIONS + k) % len(names)] for k in range(OPTIONS))
        aspect: Aspect = ("video", "audio")[n % 2]
        side = {"aspect": words["aspects"][aspect], "options": ""} | words["verbs"][aspect]
        text = words["stage1"]["kind"][n % len(words["stage1"]["kind"])].format(**side).strip()
        out += ask(TaskItem(str(n), ("clip",), text, options, 0, aspect=aspect), task, 1)
    return out
