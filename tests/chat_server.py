"""A chat-completions server on localhost, as strict about requests as servers of the OpenAI protocol are."""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FIELDS = {"model": str, "messages": list, "temperature": (int, float), "seed": int}


class Server(ThreadingHTTPServer):
    """Answers with `reply(text)`: a string, (status, headers) of a failure, raw bytes, or seconds of a slow answer."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.reply = str.upper
        self.model = "served-1"
        self.seen: list[dict] = []
        self.headers: list[dict] = []
        self.url = f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.headers.append(dict(self.headers))
        self.server.seen.append(body | {"path": self.path, "key": self.headers.get("Authorization")})
        wrong = [k for k, v in body.items() if k not in FIELDS or not isinstance(v, FIELDS[k])]
        roles = [m["role"] for m in body["messages"]]
        if self.path != "/v1/chat/completions" or wrong or roles != ["system", "user"]:
            self._send(400, {"error": {"message": f"bad request: {wrong}", "type": "invalid_request_error"}})
            return
        reply = self.server.reply(body["messages"][-1]["content"])
        if isinstance(reply, tuple):
            self._send(reply[0], {"error": {"message": "no", "type": "server_error"}}, reply[1])
        elif isinstance(reply, bytes):
            self._send(200, reply)
        elif isinstance(reply, float):
            self._drip(reply)
        else:
            self._send(200, self.completion(reply))

    def completion(self, text):
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        return {
            "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": self.server.model,
            "system_fingerprint": "fp_1", "choices": [choice],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        }  # fmt: skip

    def _send(self, status, body, headers=None):
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for k, v in {"Content-Type": "application/json", "Content-Length": str(len(raw)), **(headers or {})}.items():
            self.send_header(k, v)
        self.end_headers()
        self.wfile.write(raw)

    def _drip(self, seconds):
        """A good answer whose bytes come so slowly that no single read times out."""
        raw = json.dumps(self.completion("late")).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        try:
            for k in range(20):
                self.wfile.write(raw[k * len(raw) // 20 : (k + 1) * len(raw) // 20])
                self.wfile.flush()
                time.sleep(seconds / 20)
        except OSError:
            return  # the client went away, as it should

    def log_message(self, *_):
        pass


@contextmanager
def serving():
    """A running server. Set no_proxy=127.0.0.1 around it."""
    s = Server()
    threading.Thread(target=s.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield s
    finally:
        s.shutdown()
        s.server_close()
