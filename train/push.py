"""A checkpoint to a hub, with its card as the page people read; `from_pretrained("ORG/NAME@REVISION")` loads it."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import yaml

from mllm_avqa.model import hub
from mllm_avqa.schema.card import CARD_FILE, Card
from mllm_avqa.schema.errors import CheckpointError, ConfigError
from train.export import publish

PAGE = "README.md"
CARD_PAGE = "MODEL_CARD.md"
TAGS = ["video-quality-assessment", "audio-quality-assessment", "mllm-avqa"]


def push(source: Path, name: str, *, private: bool = False, adapter: bool = False, message: str = "") -> dict[str, Any]:
    """Upload `source` as `name` (ORG/NAME, or ORG/NAME@BRANCH): one commit, made whole or not at all.

    An adapter goes up merged into its weights, or alone (`adapter`) where those are on the hub themselves. Raises
    CheckpointError for a folder that is no checkpoint and for a hub that refuses, ConfigError for a name.
    """
    from huggingface_hub import HfApi

    found = hub.NAME.match(name)
    if found is None:
        raise ConfigError(f"{name!r}: give ORG/NAME, or ORG/NAME@BRANCH")
    card = Card.load(source)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "checkpoint"
        _written(source, card, folder, adapter)
        (folder / PAGE).write_text(page(card, source, name), encoding="utf-8")
        api = HfApi(endpoint=hub.endpoint())
        try:
            api.create_repo(found["repo"], private=private, exist_ok=True)
            if found["revision"]:
                api.create_branch(found["repo"], branch=found["revision"], exist_ok=True)
            commit = api.upload_folder(
                repo_id=found["repo"], folder_path=folder, revision=found["revision"],
                commit_message=message or f"{card.name}",
            )  # fmt: skip
        except Exception as e:  # whatever a hub, or the line to it, has to say
            said = str(e).strip().splitlines()[0] if str(e).strip() else type(e).__name__
            advice = "a token that may write belongs into HF_TOKEN; HF_ENDPOINT names another hub"
            raise CheckpointError(f"{name} was not pushed: {said} ({advice})") from e
        files = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    return {"pushed": f"{found['repo']}@{commit.oid}", "url": commit.commit_url, "files": files}


def _written(source: Path, card: Card, folder: Path, adapter: bool) -> None:
    """What goes up: full weights, or the adapter as it is."""
    is_adapter = (source / "adapter_config.json").is_file()
    if adapter and not (is_adapter and card.revision):
        what = "lies on local weights" if is_adapter else "is no adapter"
        raise ConfigError(f"{source} {what}: it goes up whole, leave --adapter out")
    if is_adapter and not adapter:
        publish(source, folder)
        return
    folder.mkdir(parents=True)
    for p in source.iterdir():
        if p.is_file() and any(p.match(pattern) for pattern in hub.FILES):
            shutil.copy2(p, folder / p.name)


def page(card: Card, source: Path, name: str) -> str:
    """The hub's page: what its search reads, how the checkpoint is used, and the model card."""
    known = card.licence.split(" ")[0].lower()
    front: dict[str, Any] = {"library_name": "mllm-avqa", "tags": TAGS, "language": list(card.languages)}
    front |= {"license": known} if known in ("apache-2.0", "mit", "cc-by-4.0") else {
        "license": "other", "license_name": card.licence,
    }  # fmt: skip
    if card.base_model and card.revision:
        front["base_model"] = card.base_model
    told = source / CARD_PAGE
    rest = told.read_text(encoding="utf-8") if told.is_file() else _short(card)
    use = f'```python\nfrom mllm_avqa import Rater\n\nprint(Rater.from_pretrained("{name}").rate("clip.mp4"))\n```'
    return f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---\n\n{use}\n\n{rest.strip()}\n"


def _short(card: Card) -> str:
    stages = "\n".join(f"- {stage}: {told}" for stage, told in card.training.items())
    return (
        f"# {card.name}\n\nLicence: {card.licence}.\n\n{card.limits}\n\n{stages}\n\n"
        f"Nothing was measured yet: `python -m eval card RECORDS --checkpoint DIR --write-card` fills this page "
        f"({CARD_FILE} beside it holds what decides a score).\n"
    )
