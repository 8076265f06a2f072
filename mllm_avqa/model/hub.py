"""Checkpoints of a hub, named ORG/NAME or ORG/NAME@REVISION: fetched once, then read from the cache.

The token comes from HF_TOKEN (or `hf auth login`), another hub from HF_ENDPOINT; HF_HUB_OFFLINE=1 asks nobody.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from mllm_avqa.schema.errors import CheckpointError

NAME = re.compile(r"^(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?$")
FILES = ["*.yaml", "*.json", "*.safetensors", "*.txt", "*.jinja", "*.model", "*.md", "base/*"]  # nothing that runs


def named(name: str) -> bool:
    """Whether this is a name on a hub and no path: two words, and no folder of that name."""
    return NAME.match(name) is not None and not Path(name).exists() and not name.startswith((".", "/", "~"))


def endpoint() -> str | None:
    """Address of the hub; None for the usual one."""
    return os.environ.get("HF_ENDPOINT") or None


def fetched(name: str, flag: str = "--checkpoint") -> Path:
    """Folder of the cache with the checkpoint `name`. Raises CheckpointError that says what to do."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    found = NAME.match(name)
    assert found is not None
    repo, revision = found["repo"], found["revision"]
    try:
        return Path(snapshot_download(repo, revision=revision, allow_patterns=FILES, endpoint=endpoint()))
    except GatedRepoError as e:
        why = "asks for its terms to be accepted on its page, then for a token in HF_TOKEN"
        raise CheckpointError(f"checkpoint {name!r} {why} ({flag})") from e
    except RevisionNotFoundError as e:
        raise CheckpointError(f"checkpoint {name!r}: {repo} has no revision {revision!r} ({flag} ORG/NAME@REV)") from e
    except RepositoryNotFoundError as e:
        why = "is not on the hub, or private: put a token into HF_TOKEN"
        raise CheckpointError(f"checkpoint {name!r} {why}, or give a directory ({flag})") from e
    except LocalEntryNotFoundError as e:
        why = "is not in the cache, and the hub cannot be reached (or HF_HUB_OFFLINE is set)"
        raise CheckpointError(f"checkpoint {name!r} {why} ({flag})") from e
    except (HfHubHTTPError, OSError, ValueError) as e:
        raise CheckpointError(f"checkpoint {name!r} could not be fetched: {type(e).__name__}: {e} ({flag})") from e
