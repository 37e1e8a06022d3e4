# MLCEngine: requests that the calling thread waits for.
"""The engine for threads."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any, Callable, Generic, Iterator, Literal, TypeVar, Unpack, overload

import _mlc_llm

from ..protocol import openai_api_protocol as protocol
from .config import EngineConfig
from .core import CHAT, COMPLETION, EMBEDDING, Core, Metrics, Reader, new_request_id, request_body
from ..errors import CommandError

T = TypeVar("T")


def on_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


class Stream(Generic[T]):
    """An iterator over the chunks of an answer. ``close()``, the end of a ``with`` block, and dropping it end the request."""

    def __init__(self, core: Core, path: str, body: str, request_id: str, make: Callable[[dict[str, Any]], T]):
        self._core, self._make, self._reader = core, make, Reader(request_id)
        self._answers: deque[Any] = deque()
        self._closed = False
        self._queue = _mlc_llm.ReplyQueue()
        self._call = core.submit(path, body, self._queue, 0, request_id)
        self._answers.extend(self._queue.take_now())
        if self._answers and self._answers[0][1] != 200:  # refused at once
            self._next()

    @property
    def request_id(self) -> str:
        return self._reader.request_id

    def _next(self) -> dict[str, Any] | None:
        while not self._reader.ended:
            if not self._answers:
                self._answers.extend(self._queue.take(on_main_thread()))
                continue
            try:
                body = self._reader.read(self._answers.popleft())
            except BaseException:
                self.close()
                raise
            if body is not None:
                return body
        self.close()
        return None

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        try:
            body = None if self._closed else self._next()
        except KeyboardInterrupt:
            self.close()
            raise
        if body is None:
            raise StopIteration
        return self._make(body)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if not self._reader.ended:
            self._core.cancel(self._call)
        self._core.done(self.request_id, self._call)

    def __enter__(self) -> Stream[T]:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_call"):
            self.close()


def _whole(stream: Stream[T]) -> T:
    with stream:
        return next(stream)


class ChatCompletions:
    """``engine.chat.completions``"""

    def __init__(self, core: Core):
        self._core = core

    @overload
    def create(self, *, messages: protocol.Messages, stream: Literal[False] = False, request_id: str | None = None,
               extra_body: dict[str, Any] | None = None,
               **fields: Unpack[protocol.ChatCompletionFields]) -> protocol.ChatCompletionResponse: ...

    @overload
    def create(self, *, messages: protocol.Messages, stream: Literal[True], request_id: str | None = None,
               extra_body: dict[str, Any] | None = None,
               **fields: Unpack[protocol.ChatCompletionFields]) -> Stream[protocol.ChatCompletionStreamResponse]: ...

    def create(self, *, messages: Any, stream: bool = False, request_id: str | None = None,
               extra_body: dict[str, Any] | None = None, **fields: Any) -> Any:
        """Answers a chat.

        Keyword arguments are the fields of ``POST /v1/chat/completions`` (ChatCompletionFields); ``extra_body`` holds further
        ones, such as ``{"debug_config": {"ignore_eos": True}}``. ``request_id`` is what ``abort`` takes, and the answer's id.
        With ``stream`` the result is an iterator over chunks. Raises RequestError and its kinds.
        """
        body = request_body(self._core, "chat.completions.create", protocol.ChatCompletionFields,
                            {"messages": messages, "stream": stream} | fields, extra_body)
        make = protocol.ChatCompletionStreamResponse if stream else protocol.ChatCompletionResponse
        answer = Stream(self._core, CHAT, body, request_id or new_request_id(CHAT), make.from_json)
        return answer if stream else _whole(answer)


class Chat:
    """``engine.chat``"""

    def __init__(self, core: Core):
        self.completions = ChatCompletions(core)


class Completions:
    """``engine.completions``"""

    def __init__(self, core: Core):
        self._core = core

    @overload
    def create(self, *, prompt: Any, stream: Literal[False] = False, request_id: str | None = None,
               extra_body: dict[str, Any] | None = None,
               **fields: Unpack[protocol.CompletionFields]) -> protocol.CompletionResponse: ...

    @overload
    def create(self, *, prompt: Any, stream: Literal[True], request_id: str | None = None,
               extra_body: dict[str, Any] | None = None,
               **fields: Unpack[protocol.CompletionFields]) -> Stream[protocol.CompletionResponse]: ...

    def create(self, *, prompt: Any, stream: bool = False, request_id: str | None = None,
               extra_body: dict[str, Any] | None = None, **fields: Any) -> Any:
        """Goes on with a prompt, a text or token ids, or with each of a list of them.

        Keyword arguments are the fields of ``POST /v1/completions`` (CompletionFields); the rest is as in
        ``chat.completions.create``.
        """
        body = request_body(self._core, "completions.create", protocol.CompletionFields,
                            {"prompt": prompt, "stream": stream} | fields, extra_body)
        answer = Stream(self._core, COMPLETION, body, request_id or new_request_id(COMPLETION),
                        protocol.CompletionResponse.from_json)
        return answer if stream else _whole(answer)


def embedding_body(core: Core, fields: dict[str, Any]) -> str:
    return request_body(core, "embeddings.create", protocol.EmbeddingFields, fields, None)


class Embeddings:
    """``engine.embeddings``"""

    def __init__(self, core: Core):
        self._core = core

    def create(self, *, input: Any, request_id: str | None = None,
               **fields: Unpack[protocol.EmbeddingFields]) -> protocol.EmbeddingResponse:
        """A vector for a text, for a list of token ids, or for each of a list of either.

        Keyword arguments are the fields of ``POST /v1/embeddings``: ``dimensions`` (the first so many numbers, scaled to length 1
        again), ``encoding_format`` ("float" or "base64", little-endian floats of 32 bits). Raises RequestError.
        """
        body = embedding_body(self._core, {"input": input} | fields)
        return _whole(Stream(self._core, EMBEDDING, body, request_id or new_request_id(EMBEDDING),
                             protocol.EmbeddingResponse.from_json))


class EngineBase:
    """What MLCEngine and AsyncMLCEngine share."""

    def __init__(self, model: Any, device: str = "auto", *, model_lib: Any = None, mode: str = "local",
                 engine_config: EngineConfig | dict[str, Any] | None = None, enable_tracing: bool = False):
        """Opens a model; what is missing is converted and compiled first and kept (docs/python.md).

        model: a converted folder, a Hugging Face folder or a GGUF file. device: auto, cpu, opencl, vulkan, or one of several as
        ``opencl:1``. model_lib: a compiled library; None: compiled and cached. mode: local (4 requests at once), interactive
        (1) or server (as many as memory and library hold). Raises CommandError.
        """
        if enable_tracing:
            raise CommandError("enable_tracing: event traces are not built yet; leave it out")
        self._core = Core(model, device, model_lib, mode, engine_config)
        self._ready()

    def _ready(self) -> None:
        """Makes the members of the kind of engine."""

    @property
    def engine_config(self) -> EngineConfig:
        """The settings, with the numbers that were inferred for the first model."""
        return self._core.engine_config

    @property
    def default_generation_config(self) -> Any:
        """What a request that says nothing gets."""
        return self._core.default_generation_config

    def terminate(self) -> None:
        """Ends what runs (finish_reason "abort") and frees the model; the engine cannot be used afterwards."""
        self._core.terminate()


class MLCEngine(EngineBase):
    """Runs a model in this process; its methods wait. Any number of threads may ask it at once.

    >>> with MLCEngine("dist/SmolLM2-135M-Instruct-q4f16_1-MLC") as engine:
    ...     answer = engine.chat.completions.create(messages=[{"role": "user", "content": "Hello"}])
    ...     print(answer.choices[0].message.content)
    """

    def _ready(self) -> None:
        self.chat = Chat(self._core)
        self.completions = Completions(self._core)
        self.embeddings = Embeddings(self._core)

    def abort(self, request_id: str) -> None:
        """Ends the request of this id, if it still runs; its answer ends with finish_reason "abort"."""
        self._core.abort(request_id)

    def metrics(self) -> Metrics:
        """Counters of the engine (of several models: by model)."""
        return Metrics(self._core)

    def reset(self) -> None:
        """Forgets the kept prompts (the prefix cache)."""
        self._core.ask("/debug/reset_engine")

    def load_lora_adapter(self, name: str, folder: Any, model: str | None = None) -> None:
        """Loads a PEFT adapter, for requests with ``model="MODEL:NAME"``; of several models `model` says for which.

        The library needs room for it (``engine_config={"max_loras": 4}``, or ``compile --lora-adapters``). Raises RequestError.
        """
        self._core.load_lora_adapter(name, folder, model)

    def unload_lora_adapter(self, name: str) -> None:
        """Frees an adapter that no request uses. Raises RequestError."""
        self._core.unload_lora_adapter(name)

    def lora_adapters(self) -> list[str]:
        """What is loaded, as requests name it: ``MODEL:NAME``."""
        return self._core.lora_adapters()

    def __enter__(self) -> MLCEngine:
        return self

    def __exit__(self, *_: Any) -> None:
        self.terminate()
