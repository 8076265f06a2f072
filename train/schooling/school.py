"""Schools the towers of a checkpoint one after the other; run again, it goes on where it was."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mllm_avqa.model.backbones import load_backbone
from mllm_avqa.model.backbones.base import Backbone
from mllm_avqa.schema.card import Card
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.files import whole_file
from train import saving
from train.nano.tiny import see_bands
from train.schooling import lessons, towers
from train.schooling.config import Lesson, Schooling
from train.schooling.heads import LessonHeads, loss
from train.schooling.lessons import Lessons, TargetScale

log = logging.getLogger(__name__)
DONE = "school.json"
WARM = 0.03  # share of the time in which the rates rise
DECAY = 0.6  # from here on they fall to nothing: most of the held-out gain comes then
AVERAGE = 0.99  # of the weights, per step
MODALITIES = {"sight": "video", "hearing": "audio"}


def school(config: Schooling) -> Path:
    """Returns the folder of the schooled checkpoint. Raises ConfigError without lessons that fit its towers."""
    torch.set_num_threads(config.threads)
    if (config.output / DONE).is_file():
        return config.output
    card = Card.load(config.init)
    if config.sight is not None and card.views.patch != towers.SPEC.patch:
        raise ConfigError(
            f"{config.init}: a visual token is {card.views.patch} pixels wide, in lessons {towers.SPEC.patch} (`sight`)"
        )
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device: cuda, but torch sees no GPU; cpu is allowed everywhere (`device`)")
    backbone = load_backbone(config.init, card, torch.float32)
    backbone.model.to(config.device)
    fresh = config.sight is not None and config.sight.start == "fresh"  # a pretrained tower keeps its channels
    energies = config.sight is not None and config.sight.energies
    if fresh:
        if card.pixels is None:
            raise ConfigError(f"{config.init}: its card says nothing of `pixels`, which a fresh tower needs (`init`)")
        card = card.model_copy(update={"pixels": card.pixels.model_copy(update={"energies": energies})})
    report: dict[str, Any] = {}
    for sense, modality in MODALITIES.items():
        lesson: Lesson | None = getattr(config, sense)
        if lesson is None:
            continue
        torch.manual_seed(config.seed)
        adapter = None
        if lesson.start == "pretrained":
            tower, adapter = towers.adapted(backbone, modality, lesson.rank, lesson.projector == "full")
        else:
            tower = towers.fresh(backbone, modality, energies)
            if modality == "video" and not energies:
                see_bands(backbone.model)
        term = Term(config, lesson, modality, backbone, card, tower)
        report[sense] = term.run()
        if adapter is not None:
            _merge(adapter, config.output / f"{sense}.low_rank.safetensors")
    card.name, card.base_model, card.revision = config.name, None, None  # saved whole, towers and all
    terms = {s: {"minutes": getattr(config, s).minutes, **r["held_out"]} for s, r in report.items()}
    before: Any = card.training.get("schooling", {})
    card.training = card.training | {"schooling": before | terms}
    saving.save(backbone.model, backbone.tokenizer, card, config.output)
    (config.output / DONE).write_text(json.dumps(report, indent=1))
    return config.output


def _merge(adapter: Any, file: Path) -> None:
    """The adapter becomes part of the tower; its factors are kept beside the checkpoint."""
    from safetensors.torch import save_file

    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({n: t.bfloat16().contiguous() for n, t in towers.low_rank(adapter).items()}, file)
    adapter.merge_and_unload()


class Term:
    """One tower at school."""

    def __init__(
        self, config: Schooling, lesson: Lesson, modality: str, backbone: Backbone, card: Card, tower: nn.Module
    ) -> None:
        self.config, self.lesson, self.modality = config, lesson, modality
        self.backbone, self.card, self.tower = backbone, card, tower
        self.train = lessons.read(config.lessons, modality, "train", lesson.limit)
        self.val = lessons.read(config.lessons, modality, "val")
        self.statistics, self.distances = TargetScale(self.train.statistics), TargetScale(self.train.distances)
        width = backbone.model.config.text_config.hidden_size
        told = (self.train.statistics[0].shape[1], self.train.distances[0].shape[1])
        self.device = torch.device(config.device)
        self.heads = LessonHeads(width, *told, len(self.train.names)).to(self.device)
        taught = [p for p in tower.parameters() if p.requires_grad]
        matrices = [p for p in taught if p.dim() == 2 and lesson.start == "fresh"]
        rest = [p for p in taught if p.dim() != 2 or lesson.start != "fresh"]
        self.optimizers: list[torch.optim.Optimizer] = [
            torch.optim.AdamW([*rest, *self.heads.parameters()], lr=lesson.rest, weight_decay=0.01, fused=True)
        ]
        self.rates = [lesson.rest]
        if matrices:
            self.optimizers.insert(0, torch.optim.Muon(matrices, lr=lesson.matrices, weight_decay=0.01))
            self.rates.insert(0, lesson.matrices)
        if modality == "video" and lesson.start == "fresh":  # the same parameters under the same names
            tower.patch_embed = towers.Flat(tower.patch_embed.proj)  # type: ignore[arg-type, union-attr]
        self.whole = nn.ModuleDict({"tower": tower, "heads": self.heads})
        fixed = {n for n, p in self.whole.named_parameters() if not p.requires_grad}
        self.taught = [n for n in self.whole.state_dict() if n not in fixed]
        self.average = self._copy()
        self.steps, self.spent = 0, 0.0  # seconds, of the processor where it is the CPU that works
        self.curve: list[dict[str, Any]] = []
        self.state = config.output / f"{modality}.state.pt"

    def run(self) -> dict[str, Any]:
        """Trains to the end of the time, leaves the averaged weights in the tower and settles its projector."""
        self._resume()
        clock = time.process_time if self.device.type == "cpu" else time.perf_counter
        budget, saved, last = self.lesson.minutes * 60, self.spent, clock()
        while self.spent < budget:
            parts = self._step(self.spent / budget)
            now = clock()
            self.spent, last = self.spent + now - last, now
            if self.spent - saved > self.config.save_minutes * 60 or self.spent >= budget:
                saved = self.spent
                self.curve.append(
                    {"minutes": round(self.spent / 60, 2), "step": self.steps, **parts, **self.held_out()}
                )
                log.info("%s %s", self.modality, self.curve[-1])
                self._save()
                last = clock()
        self.whole.load_state_dict(self.average, strict=False)
        settled = self._settle() if self.lesson.projector == "full" else None
        return {"held_out": self.held_out(averaged=False), "settled": settled, "curve": self.curve}

    def _now(self) -> dict[str, torch.Tensor]:
        """What is taught, by name: a fresh tower, or adapter and projector of a pretrained one; the heads."""
        state = self.whole.state_dict()
        return {n: state[n] for n in self.taught}

    def _copy(self) -> dict[str, torch.Tensor]:
        return {n: t.detach().clone() for n, t in self._now().items()}

    def _batch(self, of: Lessons, index: list[int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        told = [
            torch.cat(
                [
                    torch.from_numpy(self.statistics(of.statistics[i])),
                    torch.from_numpy(self.distances(of.distances[i])),
                ],
                1,
            )
            for i in index
        ]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bf16):
            found = towers.outputs(self.backbone, self.modality, [of.shown[i] for i in index], self.card)
        dense, dose, score = (t.to(self.device) for t in (torch.stack(told), of.dose[index], of.score[index]))
        return found.float(), dense, dose, score

    def _step(self, progress: float) -> dict[str, float]:
        draw = torch.Generator().manual_seed(self.config.seed * 1_000_003 + self.steps)
        picked = torch.randint(len(self.train), (self.lesson.batch,), generator=draw).tolist()
        total, parts = loss(self.heads, *self._batch(self.train, picked))
        rise, fall = min(1.0, progress / WARM + 1e-3), min(1.0, (1 - progress) / (1 - DECAY))
        for optimizer, rate in zip(self.optimizers, self.rates, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate * rise * max(fall, 0.0)
            optimizer.zero_grad()
        total.backward()
        nn.utils.clip_grad_norm_(self.whole.parameters(), 5.0)
        for optimizer in self.optimizers:
            optimizer.step()
        with torch.no_grad():
            for name, value in self._now().items():
                if value.is_floating_point():
                    self.average[name].lerp_(value, 1 - AVERAGE)
                else:
                    self.average[name].copy_(value)
        self.steps += 1
        return {k: round(v, 4) for k, v in parts.items()}

    @torch.no_grad()
    def held_out(self, averaged: bool = True) -> dict[str, float]:
        """On the lessons of `val`: what the tokens explain of the statistics, and order of the scores."""
        from scipy.stats import spearmanr

        kept = self._copy()
        if averaged:
            self.whole.load_state_dict(self.average, strict=False)
        self.whole.eval()
        off = clear = count = 0.0
        guess: list[float] = []
        truth: list[float] = []
        doses: list[torch.Tensor] = []
        for k in range(0, len(self.val), 16):
            found, dense, dose, score = self._batch(self.val, list(range(k, min(k + 16, len(self.val)))))
            token, _, clip_dose, clip_score = self.heads(found)
            off += float(((token - dense) ** 2).sum())
            clear += float((dense**2).sum())
            count += dense.numel()
            guess += clip_score.tolist()
            truth += score.tolist()
            doses.append(torch.stack([clip_dose, dose]).cpu())
        self.whole.load_state_dict(kept, strict=False)
        self.whole.train()
        both = torch.cat(doses, 1)
        named = (both[1] > 0).sum(1) == 1
        right = (both[0].argmax(1) == both[1].argmax(1))[named].float().mean()
        return {
            "mse": round(off / count, 4),
            "explained": round(1 - off / clear, 4),
            "srcc": round(float(spearmanr(guess, truth).statistic), 4),
            "kind": round(float(right), 4),
        }

    @torch.no_grad()
    def _settle(self) -> dict[str, float]:
        self.whole.eval()
        some = self.val.shown[:: max(1, len(self.val) // 64)]
        found = [towers.outputs(self.backbone, self.modality, [s], self.card) for s in some]
        settled = towers.settle(self.backbone, self.modality, torch.cat(found).flatten(0, 1))
        return {k: round(v, 4) for k, v in settled.items()}

    def _save(self) -> None:
        self.state.parent.mkdir(parents=True, exist_ok=True)
        state = {
            "whole": self._now(),
            "average": self.average,
            "optimizers": [o.state_dict() for o in self.optimizers],
            "rest": (self.steps, self.spent, self.curve),
        }
        with whole_file(self.state) as part:
            torch.save(state, part)

    def _resume(self) -> None:
        if not self.state.is_file():
            return
        state = torch.load(self.state, weights_only=True, map_location=self.device)
        own, its = (
            {n: t.shape for n, t in s.items() if n.startswith("tower.")} for s in (self.average, state["average"])
        )
        if own != its:
            raise ConfigError(f"{self.state} is of another tower: `start`, `rank`, `init` or `output` has changed")
        known = {n: t.shape for n, t in self.average.items()} == {n: t.shape for n, t in state["average"].items()}
        for to, of in ((self._now(), state["whole"]), (self.average, state["average"])):
            for name, value in of.items():
                if known or name.startswith(
                    "tower."
                ):  # lessons of more faults: the tower goes on, its heads begin anew
                    to[name].copy_(value)
        both = list(zip(self.optimizers, state["optimizers"], strict=True))
        for optimizer, saved in both if known else both[:-1]:  # the last one holds the heads
            optimizer.load_state_dict(saved)
        self.steps, self.spent, self.curve = state["rest"]
