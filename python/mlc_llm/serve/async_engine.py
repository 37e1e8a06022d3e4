# AsyncMLCEngine: requests that coroutines await.
"""The engine for asyncio."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, AsyncGenerator, Callable, Literal, TypeVar, Unpack, overload

import _mlc_llm

from ..protocol import openai_api_protocol as protocol
from .core import CHAT, COMPLETION, EMBEDDING, Answer, Core, Metrics, Reader, keys, new_request_id, request_body
from .sync_engine import EngineBase, embedding_body

T = TypeVar("T")
Inbox = tuple[asyncio.AbstractEventLoop, "asyncio.Queue[Answer]"]


class Pump:
    """A thread that takes the replies of all requests and hands each to the event loop that awaits it. Starts with the
    first request, and sleeps while there is nothing."""

    def __init__(self) -> None:
        self.queue = _mlc_llm.ReplyQueue()
        self._lock = threading.Lock()
        self._inboxes: dict[int, Inbox] = {}
        self._thread: threading.Thread | None = None

    def add(self, key: int) -> asyncio.Queue[Answer]:
        inbox: asyncio.Queue[Answer] = asyncio.Queue()
        with self._lock:
            self._inboxes[key] = (asyncio.get_running_loop(), inbox)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="mlc_llm replies", daemon=True)
                self._thread.start()
        return inbox

    def remove(self, key: int) -> None:
        with self._lock:
            self._inboxes.pop(key, None)

    def close(self) -> None:
        self.queue.close()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        while answers := self.queue.take(False):
            by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Queue[Answer], Answer]]] = {}
            with self._lock:
                for answer in answers:
                    if found := self._inboxes.get(answer[0]):
                        by_loop.setdefault(found[0], []).append((found[1], answer))
            for loop, deliveries in by_loop.items():
                try:
                    loop.call_soon_threadsafe(_deliver, deliveries)
                except RuntimeError:  # the loop is closed: nobody waits any more
                    pass


def _deliver(deliveries: list[tuple[asyncio.Queue[Answer], Answer]]) -> None:
    for inbox, answer in deliveries:
        inbox.put_nowait(answer)


class Asked:
    """A request at work. `close` ends it."""

    def __init__(self, core: Core, pump: Pump, path: str, body: str, request_id: str):
        self._core, self._pump, self._reader = core, pump, Reader(request_id)
        self._first: dict[str, Any] | None = None
        self._key = next(keys)
        self._inbox = pump.add(self._key)
        try:
            self._call = core.submit(path, body, pump.queue, self._key, request_id)
        except BaseException:
            pump.remove(self._key)
            raise

    async def begin(self) -> Asked:
        """Waits for the first object: what is refused raises here."""
        try:
            self._first = await self.next()
        except BaseException:
            self.close()
            raise
        return self

    async def next(self) -> dict[str, Any] | None:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        while not self._reader.ended:
            body = self._reader.read(await self._inbox.get())
            if body is not None:
                return body
        return None

    def close(self) -> None:
        self._pump.remove(self._key)
        if not self._reader.ended:
            self._core.cancel(self._call)
        self._core.done(self._reader.request_id, self._call)


async def _whole(asked: Asked, make: Callable[[dict[str, Any]], T]) -> T:
    try:
        body = await asked.next()
        assert body is not None
        return make(body)
    finally:
        asked.close()


async def _stream(asked: Asked, make: Callable[[dict[str, Any]], T]) -> AsyncGenerator[T, None]:
    try:
        while (body := await asked.next()) is not None:
            yield make(body)
    finally:
        asked.close()


class AsyncStream(AsyncGenerator[T, None]):
    """An asynchronous generator over the chunks of an answer; ``aclose()`` and dropping it end the request."""

    def __init__(self, asked: Asked, chunks: AsyncGenerator[T, None]):
        self._asked, self._chunks = asked, chunks

    async def asend(self, value: None) -> T:
        return await self._chunks.asend(value)

    async def athrow(self, *error: Any) -> T:
        return await self._chunks.athrow(*error)

    async def aclose(self) -> None:
        await self._chunks.aclose()
        self._asked.close()

    def __del__(self) -> None:
        self._asked.close()


class AsyncChatCompletions:
    """``engine.chat.completions``"""

    def __init__(self, core: Core, pump: Pump):
        self._core, self._pump = core, pump

    @overload
    async def create(self, *, messages: protocol.Messages, stream: Literal[False] = False, request_id: str | None = None,
                     extra_body: dict[str, Any] | None = None,
                     **fields: Unpack[protocol.ChatCompletionFields]) -> protocol.ChatCompletionResponse: ...

    @overload
    async def create(self, *, messages: protocol.Messages, stream: Literal[True], request_id: str | None = None,
                     extra_body: dict[str, Any] | None = None, **fields: Unpack[protocol.ChatCompletionFields]
                     ) -> AsyncStream[protocol.ChatCompletionStreamResponse]: ...

    async def create(self, *, messages: Any, stream: bool = False, request_id: str | None = None,
                     extra_body: dict[str, Any] | None = None, **fields: Any) -> Any:
        """As MLCEngine's; with ``stream``: ``async for chunk in await engine.chat.completions.create(...)``."""
        body = request_body(self._core, "chat.completions.create", protocol.ChatCompletionFields,
                            {"messages": messages, "stream": stream} | fields, extra_body)
        asked = Asked(self._core, self._pump, CHAT, body, request_id or new_request_id(CHAT))
        if stream:
            return AsyncStream(await asked.begin(), _stream(asked, protocol.ChatCompletionStreamResponse.from_json))
        return await _whole(asked, protocol.ChatCompletionResponse.from_json)


class AsyncChat:
    """``engine.chat``"""

    def __init__(self, core: Core, pump: Pump):
        self.completions = AsyncChatCompletions(core, pump)


class AsyncCompletions:
    """``engine.completions``"""

    def __init__(self, core: Core, pump: Pump):
        self._core, self._pump = core, pump

    @overload
    async def create(self, *, prompt: Any, stream: Literal[False] = False, request_id: str | None = None,
                     extra_body: dict[str, Any] | None = None,
                     **fields: Unpack[protocol.CompletionFields]) -> protocol.CompletionResponse: ...

    @overload
    async def create(self, *, prompt: Any, stream: Literal[True], request_id: str | None = None,
                     extra_body: dict[str, Any] | None = None,
                     **fields: Unpack[protocol.CompletionFields]) -> AsyncStream[protocol.CompletionResponse]: ...

    async def create(self, *, prompt: Any, stream: bool = False, request_id: str | None = None,
                     extra_body: dict[str, Any] | None = None, **fields: Any) -> Any:
        """As MLCEngine's; with ``stream``: ``async for chunk in await engine.completions.create(...)``."""
        body = request_body(self._core, "completions.create", protocol.CompletionFields,
                            {"prompt": prompt, "stream": stream} | fields, extra_body)
        asked = Asked(self._core, self._pump, COMPLETION, body, request_id or new_request_id(COMPLETION))
        if stream:
            return AsyncStream(await asked.begin(), _stream(asked, protocol.CompletionResponse.from_json))
        return await _whole(asked, protocol.CompletionResponse.from_json)


class AsyncEmbeddings:
    """``engine.embeddings``"""

    def __init__(self, core: Core, pump: Pump):
        self._core, self._pump = core, pump

    async def create(self, *, input: Any, request_id: str | None = None,
                     **fields: Unpack[protocol.EmbeddingFields]) -> protocol.EmbeddingResponse:
        """As MLCEngine's."""
        body = embedding_body(self._core, {"input": input} | fields)
        asked = Asked(self._core, self._pump, EMBEDDING, body, request_id or new_request_id(EMBEDDING))
        return await _whole(asked, protocol.EmbeddingResponse.from_json)


class AsyncMLCEngine(EngineBase):
    """Runs a model in this process; ``create``, ``abort``, ``metrics`` and ``reset`` are coroutines, of any event loop.

    >>> async with AsyncMLCEngine("dist/SmolLM2-135M-Instruct-q4f16_1-MLC") as engine:
    ...     ask = [{"role": "user", "content": "Hello"}]
    ...     async for chunk in await engine.chat.completions.create(messages=ask, stream=True):
    ...         print(chunk.choices[0].delta.content, end="", flush=True)
    """

    def _ready(self) -> None:
        pump = Pump()
        self._core.on_terminate(pump.close)
        self.chat = AsyncChat(self._core, pump)
        self.completions = AsyncCompletions(self._core, pump)
        self.embeddings = AsyncEmbeddings(self._core, pump)

    async def abort(self, request_id: str) -> None:
        """Ends the request of this id, if it still runs; its answer ends with finish_reason "abort"."""
        self._core.abort(request_id)

    async def metrics(self) -> Metrics:
        """Counters of the engine (of several models: by model)."""
        return Metrics(self._core)

    async def reset(self) -> None:
        """Forgets the kept prompts (the prefix cache)."""
        self._core.ask("/debug/reset_engine")

    async def load_lora_adapter(self, name: str, folder: Any, model: str | None = None) -> None:
        """As MLCEngine's."""
        await asyncio.to_thread(self._core.load_lora_adapter, name, folder, model)

    async def unload_lora_adapter(self, name: str) -> None:
        """Frees an adapter that no request uses. Raises RequestError."""
        await asyncio.to_thread(self._core.unload_lora_adapter, name)

    async def lora_adapters(self) -> list[str]:
        """What is loaded, as requests name it: ``MODEL:NAME``."""
        return self._core.lora_adapters()

    async def __aenter__(self) -> AsyncMLCEngine:
        return self

    async def __aexit__(self, *_: Any) -> None:
        self.terminate()
