# What all engines of the package share: the native engine, the bodies of requests, and the calls at work.
"""The native engine and its requests."""

from __future__ import annotations

import atexit
import difflib
import itertools
import json
import os
import threading
import uuid
import weakref
from typing import Any

import _mlc_llm

from ..errors import BadRequestError, CommandError, EngineTerminatedError, request_error
from ..protocol.record import Record
from .config import EngineConfig, in_python, settings, with_inferred

CHAT, COMPLETION, EMBEDDING = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"
Answer = tuple[int, int, str, bool, bool]  # key, HTTP status, text, part of a stream, last

_alive: weakref.WeakSet[Core] = weakref.WeakSet()


@atexit.register
def _terminate_all() -> None:
    for core in list(_alive):
        core.terminate()


class Core:
    """A native engine. Any thread. Ended when nothing refers to it any more, not even a stream."""

    _terminated = True  # until it is open

    def __init__(self, model: Any, device: str, model_lib: Any, mode: str, config: Any, pooling: str | None = None):
        self._lock = threading.Lock()
        self._calls: dict[str, set[int]] = {}
        self._on_terminate: list[Any] = []
        self.engine_config = EngineConfig.of(config)
        text = settings(model, device, model_lib, mode, self.engine_config, pooling)
        try:
            self._native = _mlc_llm.Engine(text)
        except _mlc_llm.UserError as error:
            raise CommandError(in_python(str(error))) from None
        self._terminated = False
        first = json.loads(self._native.description())["models"][0]
        self.engine_config = with_inferred(self.engine_config, first)
        self.default_generation_config = Record.from_json(first["generation"])
        self.models = [model["id"] for model in json.loads(self._native.get("/v1/models"))["data"]]
        _alive.add(self)

    def submit(self, path: str, body: str, queue: Any, key: int, request_id: str) -> int:
        """Queues a request; its replies come to `queue` under `key`. The caller calls done() after the last."""
        try:
            call = self._native.submit(path, body, queue, key)
        except _mlc_llm.UserError as error:
            raise EngineTerminatedError(str(error)) from None
        with self._lock:
            self._calls.setdefault(request_id, set()).add(call)
        return call

    def done(self, request_id: str, call: int) -> None:
        with self._lock:
            calls = self._calls.get(request_id, set())
            calls.discard(call)
            if not calls:
                self._calls.pop(request_id, None)

    def cancel(self, call: int) -> None:
        self._native.cancel(call)

    def abort(self, request_id: str) -> None:
        with self._lock:
            calls = list(self._calls.get(request_id, ()))
        for call in calls:
            self._native.cancel(call)

    def ask(self, path: str, body: str = "{}") -> Any:
        """The answer of a path that answers at once."""
        queue = _mlc_llm.ReplyQueue()
        call = self.submit(path, body, queue, 0, "")
        self.done("", call)
        [(_, status, text, _, _)] = queue.take(False)
        result = json.loads(text)
        if status != 200:
            raise request_error(status, result)
        return result

    def load_lora_adapter(self, name: str, folder: Any, model: str | None) -> None:
        body = {"lora_name": name, "lora_path": os.fspath(folder), "model": model or self.models[0]}
        self.ask("/v1/load_lora_adapter", json.dumps(body))

    def unload_lora_adapter(self, name: str) -> None:
        self.ask("/v1/unload_lora_adapter", json.dumps({"lora_name": name}))

    def lora_adapters(self) -> list[str]:
        """The names, model:adapter, under which requests reach what is loaded."""
        return [model["id"] for model in json.loads(self._native.get("/v1/models"))["data"] if "parent" in model]

    def prometheus_text(self) -> str:
        try:
            return self._native.get("/metrics")
        except _mlc_llm.UserError as error:
            raise EngineTerminatedError(str(error)) from None

    def on_terminate(self, callback: Any) -> None:
        self._on_terminate.append(callback)

    def terminate(self) -> None:
        with self._lock:
            if self._terminated:
                return
            self._terminated = True
        self._native.terminate()
        for callback in self._on_terminate:
            callback()

    def __del__(self) -> None:
        if not self._terminated:
            self.terminate()


def new_request_id(path: str) -> str:
    return f"{'chatcmpl' if path == CHAT else 'cmpl'}-{uuid.uuid4().hex}"


def _jsonable(value: Any) -> Any:
    if isinstance(value, Record):
        return value.model_dump(exclude_none=True)
    if hasattr(value, "model_dump"):  # of pydantic, as OpenAI's package gives them
        return value.model_dump(exclude_none=True)
    if isinstance(value, (set, frozenset, tuple)):
        return list(value)
    raise TypeError(f"found {type(value).__name__}, expected what JSON can say")


def request_body(core: Core, create: str, kind: Any, fields: dict[str, Any], extra_body: dict[str, Any] | None) -> str:
    """The JSON of a request. Raises TypeError for an unknown argument, BadRequestError for what JSON cannot say."""
    known = set(kind.__annotations__) | {"input", "messages", "prompt", "stream"}
    for name in fields.keys() - known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f"; did you mean {near[0]}?" if near else "; fields that this version does not know go into extra_body"
        raise TypeError(f"{create}: unexpected argument '{name}'{hint}")
    if "stream" in (extra_body or {}):
        raise TypeError(f"{create}: found stream in extra_body, expected it as an argument")
    body = {name: value for name, value in fields.items() if value is not None} | (extra_body or {})
    body.setdefault("model", core.models[0])
    parts = []
    for name, value in body.items():
        try:
            text = json.dumps(value, default=_jsonable, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise BadRequestError(f"{name}: {error}", param=name) from None
        parts.append(f"{json.dumps(name)}: {text}")
    return "{" + ", ".join(parts) + "}"


class Metrics(dict):
    """The engine's counters, as /debug/dump_engine_metrics gives them."""

    def __init__(self, core: Core):
        super().__init__(core.ask("/debug/dump_engine_metrics"))
        self._text = core.prometheus_text()

    @property
    def metrics(self) -> dict[str, Any]:
        return dict(self)

    def prometheus_text(self) -> str:
        """The counters as Prometheus reads them."""
        return self._text


class Reader:
    """Reads the replies of one request: the objects of its JSON, under the caller's id."""

    def __init__(self, request_id: str):
        self.request_id = request_id
        self.ended = False

    def read(self, answer: Answer) -> dict[str, Any] | None:
        """The next object; None where the answer only ends the stream. Raises RequestError."""
        _, status, text, _, last = answer
        self.ended = last
        if not text:
            return None
        body = json.loads(text)
        if status != 200 or "error" in body:
            self.ended = True
            raise request_error(status, body)
        body["id"] = self.request_id
        return body


keys = itertools.count()
