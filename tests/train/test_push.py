"""Push and load again, over a server on this machine that speaks the part of the hub's protocol that is needed."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import pytest

from mllm_avqa.model import hub
from mllm_avqa.model.checkpoint import resolve_checkpoint
from mllm_avqa.schema.card import Card
from mllm_avqa.schema.errors import CheckpointError, ConfigError
from train.push import page, push

TOKEN = "secret"


class Hub(BaseHTTPRequestHandler):
    """Repositories in memory: create, preupload, commit; info, tree, files."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, code: int, body: object = None, **headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(code)
        for key, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(key.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def do_POST(self) -> None:
        repos = self.server.repos  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(urlsplit(self.path).path)
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._answer(401, {"error": "no"})
        if path == "/api/validate-yaml":
            return self._answer(200, {"errors": [], "warnings": []})
        if path == "/api/repos/create":
            wish = json.loads(body)
            name = f"{wish['organization']}/{wish['name']}" if wish.get("organization") else wish["name"]
            repos.setdefault(name, {})
            return self._answer(200, {"url": f"http://{self.headers['Host']}/{name}"})
        name = "/".join(path.split("/")[3:5])
        if "/preupload/" in path:
            asked = json.loads(body)["files"]
            files = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None} for f in asked]
            return self._answer(200, {"files": files})
        files = {}
        for line in body.decode().splitlines():
            row = json.loads(line)
            if row["key"] == "file":
                files[row["value"]["path"]] = base64.b64decode(row["value"]["content"])
        sha = hashlib.sha1(body).hexdigest()
        repos[name][sha] = repos[name]["main"] = files
        return self._answer(200, {"commitUrl": f"http://{self.headers['Host']}/{name}/commit/{sha}", "commitOid": sha})

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        repos = self.server.repos  # type: ignore[attr-defined]
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        api = parts[:2] == ["api", "models"]
        name = "/".join(parts[2:4] if api else parts[:2])
        if name not in repos:
            return self._answer(404, {"error": "no"}, X_Error_Code="RepoNotFound")
        wanted = (parts[5] if len(parts) > 5 else "main") if api else parts[3]
        files = repos[name].get(wanted)
        if files is None:
            return self._answer(404, {"error": "no"}, X_Error_Code="RevisionNotFound")
        sha = next(k for k, v in repos[name].items() if v is files and k != "main")
        if api and parts[4:5] == ["tree"]:
            rows = [
                {"type": "file", "path": p, "size": len(d), "oid": hashlib.sha1(d).hexdigest()}
                for p, d in files.items()
            ]
            return self._answer(200, rows)
        if api:
            return self._answer(200, {"id": name, "sha": sha, "siblings": [{"rfilename": f} for f in files]})
        data = files.get("/".join(parts[4:]))
        if data is None:
            return self._answer(404, {"error": "no"}, X_Error_Code="EntryNotFound")
        return self._answer(200, data, ETag=f'"{hashlib.sha1(data).hexdigest()}"', X_Repo_Commit=sha)


@pytest.fixture
def server(monkeypatch, tmp_path) -> Iterator[ThreadingHTTPServer]:
    made = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    made.repos = {}  # type: ignore[attr-defined]
    threading.Thread(target=made.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{made.server_address[1]}")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture
def checkpoint(tmp_path):
    folder = tmp_path / "stage"
    folder.mkdir()
    Card(name="mine", family="qwen2_5_omni", licence="CC-BY-4.0", limits="Few clips.").save(folder)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "optimizer.pt").write_bytes(b"not for others")
    return folder


def test_what_is_pushed_is_loaded_by_its_name(server, checkpoint, monkeypatch):
    told = push(checkpoint, "lab/mine")
    repo, _, sha = told["pushed"].partition("@")
    assert repo == "lab/mine" and len(sha) == 40
    assert told["files"] == ["README.md", "avqa.yaml", "config.json", "model.safetensors"]
    for name in ("lab/mine", told["pushed"]):
        folder = resolve_checkpoint(name)
        assert Card.load(folder).name == "mine" and (folder / "model.safetensors").read_bytes() == b"weights"
    # what is in the cache needs no hub
    server.repos.clear()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert resolve_checkpoint(told["pushed"]) == folder


def test_what_a_hub_refuses_is_said(server, checkpoint, monkeypatch):
    with pytest.raises(CheckpointError, match=r"'lab/none' is not on the hub, or private.*--checkpoint"):
        resolve_checkpoint("lab/none")
    push(checkpoint, "lab/mine")
    with pytest.raises(CheckpointError, match="no revision 'v9'"):
        resolve_checkpoint("lab/mine@v9")
    monkeypatch.setenv("HF_TOKEN", "wrong")
    with pytest.raises(CheckpointError, match=r"lab/mine was not pushed: .*HF_TOKEN"):
        push(checkpoint, "lab/mine")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match="not in the cache"):
        resolve_checkpoint("lab/other")


def test_the_page_has_what_the_hub_searches_and_the_card(checkpoint):
    text = page(Card.load(checkpoint), checkpoint, "lab/mine")
    assert text.startswith("---\n") and "license: cc-by-4.0" in text and 'from_pretrained("lab/mine")' in text
    assert "Few clips." in text and "--write-card" in text
    (checkpoint / "MODEL_CARD.md").write_text("# Measured\n", encoding="utf-8")
    assert page(Card.load(checkpoint), checkpoint, "lab/mine").endswith("# Measured\n")


def test_names_and_folders_are_told_apart(checkpoint, monkeypatch):
    monkeypatch.chdir(checkpoint.parent.parent)
    relative = f"{checkpoint.parent.name}/{checkpoint.name}"
    assert (
        not hub.named(relative) and hub.named("lab/mine@main") and not hub.named("runs/a/b") and not hub.named("nano")
    )
    with pytest.raises(ConfigError, match="ORG/NAME"):
        push(checkpoint, "mine")
    with pytest.raises(ConfigError, match="is no adapter"):
        push(checkpoint, "lab/mine", adapter=True)
