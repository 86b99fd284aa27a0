"""A small HTTP server that speaks OpenAI's chat protocol, well or badly, with a scripted model."""

from __future__ import annotations

import base64
import functools
import io
import json
import math
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from unittest import mock

import numpy as np
from PIL import Image

# what the scripted model makes of a prompt: log-odds of A against B
Mind = Callable[[list[dict[str, Any]]], float]


def pictures(message: dict[str, Any]) -> list[np.ndarray[Any, Any]]:
    """Images of a user's turn."""
    found = []
    for part in message["content"]:
        if part["type"] == "image_url":
            data = base64.b64decode(part["image_url"]["url"].partition(",")[2])
            found.append(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))
    return found


def brightness_mind(*, slope: float = 0.05, bias: float = 1.5, per_shot: float = 0.0) -> Mind:
    """Prefers the query as bright as the right sheet, with a bias for A; learns from shots."""

    def mind(messages: list[dict[str, Any]]) -> float:
        shots = sum(m["role"] == "assistant" for m in messages)
        shown = pictures(messages[-1])
        if not shown:
            return bias
        left, right, a, b = (float(image.mean()) for image in shown)
        evidence = (abs(b - right) - abs(a - right)) + (abs(a - left) - abs(b - left))
        return bias + slope * (1 + per_shot * shots) * evidence

    return mind


class Server:
    """Counts requests; `behave` may answer a request in place of the model."""

    def __init__(self, mind: Mind, *, served: str = "scripted") -> None:
        self.mind, self.served = mind, served
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.behave: Callable[[Server, dict[str, Any], BaseHTTPRequestHandler], bool] | None = None
        self.in_flight = self.most_in_flight = 0
        self.lock = threading.Lock()
        self.url = ""
        self.style = "logprobs"
        self.tokens: Callable[[float, float], list[tuple[str, float]]] = lambda a, b: [
            ("A", a),
            (" B", b),
            ("The", -9.0),
        ]

    def reply(self, body: dict[str, Any]) -> dict[str, Any]:
        odds = self.mind(body["messages"])
        pa = 1 / (1 + math.exp(-odds))
        a, b = math.log(0.9 * pa + 1e-12), math.log(0.9 * (1 - pa) + 1e-12)
        listed = [{"token": t, "logprob": lp, "bytes": None} for t, lp in self.tokens(a, b)]
        best = max(listed, key=lambda each: each["logprob"])
        count = body.get("n", 1)
        rng = np.random.default_rng(len(self.requests))
        choices = []
        for place in range(count):
            said = best["token"] if not body.get("n") else "AB"[int(rng.random() > pa)]
            choice: dict[str, Any] = {
                "index": place,
                "message": {"role": "assistant", "content": said, "refusal": None},
                "finish_reason": "stop",
                "logprobs": None,
            }
            if self.style == "logprobs" and body.get("logprobs"):
                content = {**best, "top_logprobs": listed}
                choice["logprobs"] = {"content": [content], "refusal": None}
            choices.append(choice)
        return {
            "id": "x",
            "object": "chat.completion",
            "created": 0,
            "model": self.served,
            "choices": choices,
            "usage": usage(body["messages"]),
        }


def usage(messages: list[dict[str, Any]]) -> dict[str, int]:
    """A thousand tokens a trial of the prompt."""
    asked = 1000 * sum(m["role"] == "user" for m in messages)
    return {"prompt_tokens": asked, "completion_tokens": 1, "total_tokens": asked + 1}


def send(handler: BaseHTTPRequestHandler, status: int, value: Any, **headers: str) -> None:
    data = json.dumps(value).encode()
    handler.send_response(status)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(data)))
    for name, text in headers.items():
        handler.send_header(name.replace("_", "-"), text)
    handler.end_headers()
    handler.wfile.write(data)


def error(handler: BaseHTTPRequestHandler, status: int, message: str, **headers: str) -> None:
    send(handler, status, {"error": {"message": message, "type": "x", "code": None}}, **headers)


# A client reads the authorities it trusts each time it is made: milliseconds for nothing here.
_trusted = functools.cache(ssl.create_default_context)


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    """Run it on a free port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with server.lock:
                server.requests.append(body)
                server.headers.append(dict(self.headers))
                server.in_flight += 1
                server.most_in_flight = max(server.most_in_flight, server.in_flight)
            try:
                if server.behave is not None and server.behave(server, body, self):
                    return
                time.sleep(0.002)
                send(self, 200, server.reply(body))
            finally:
                with server.lock:
                    server.in_flight -= 1

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

        def handle_error(self, *_: Any) -> None:
            pass

    http = Quiet(("127.0.0.1", 0), Handler)
    server.url = f"http://127.0.0.1:{http.server_address[1]}/v1"
    thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        with mock.patch("ssl.create_default_context", _trusted):
            yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
