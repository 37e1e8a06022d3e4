# JSONFFIEngine: the interface of phones and browsers, JSON in and JSON chunks out.
"""The engine in JSON."""

from __future__ import annotations

import json
from typing import Any, Unpack

from ..errors import BadRequestError
from ..protocol import openai_api_protocol as protocol
from ..serve.config import EngineConfig
from ..serve.core import CHAT, Core, Metrics, new_request_id, request_body
from ..serve.sync_engine import Stream


class JSONChatCompletions:
    """``engine.chat.completions``"""

    def __init__(self, engine: JSONFFIEngine):
        self._engine = engine

    def create(self, *, messages: protocol.Messages, request_id: str | None = None, extra_body: dict[str, Any] | None = None,
               **fields: Unpack[protocol.ChatCompletionFields]) -> Stream[protocol.ChatCompletionStreamResponse]:
        """Answers a chat; always a stream. Keyword arguments as in MLCEngine."""
        core = self._engine._opened()
        body = request_body(core, "chat.completions.create", protocol.ChatCompletionFields,
                            {"messages": messages, "stream": True} | fields, extra_body)
        return Stream(core, CHAT, body, request_id or new_request_id(CHAT), protocol.ChatCompletionStreamResponse.from_json)


class JSONChat:
    """``engine.chat``"""

    def __init__(self, engine: JSONFFIEngine):
        self.completions = JSONChatCompletions(engine)


class JSONFFIEngine:
    """Runs a model in this process; requests and chunks are JSON texts (``chat_completion``), or as in MLCEngine.

    Arguments as MLCEngine's.
    """

    def __init__(self, model: Any, device: str = "auto", *, model_lib: Any = None, mode: str = "local",
                 engine_config: EngineConfig | dict[str, Any] | None = None):
        self._core: Core | None = None
        self._mode, self._config, self._device = mode, engine_config, device
        self.chat = JSONChat(self)
        self.reload(model, model_lib=model_lib)

    def _opened(self) -> Core:
        if self._core is None:
            raise BadRequestError("the engine holds no model; call reload")
        return self._core

    def chat_completion(self, request: str, request_id: str | None = None) -> Stream[str]:
        """Answers a request of ``/v1/chat/completions``, a JSON text; the chunks are JSON texts. Raises RequestError."""
        try:
            body = json.loads(request)
        except ValueError as error:
            raise BadRequestError(f"body: {error}") from None
        if not isinstance(body, dict):
            raise BadRequestError(f"body: found {type(body).__name__}, expected a JSON object")
        if body.get("stream", True) is not True:
            raise BadRequestError("stream: found false, expected true: this engine gives streams only", param="stream")
        core = self._opened()
        text = json.dumps({"model": core.models[0]} | body | {"stream": True})
        return Stream(core, CHAT, text, request_id or new_request_id(CHAT), lambda chunk: json.dumps(chunk, ensure_ascii=False))

    def abort(self, request_id: str) -> None:
        """Ends the request of this id, if it still runs."""
        self._opened().abort(request_id)

    def metrics(self) -> Metrics:
        """Counters of the engine."""
        return Metrics(self._opened())

    def reset(self) -> None:
        """Ends nothing; forgets the kept prompts (the prefix cache)."""
        self._opened().ask("/debug/reset_engine")

    def reload(self, model: Any, *, model_lib: Any = None) -> None:
        """Opens another model in place of the present one."""
        self.unload()
        self._core = Core(model, self._device, model_lib, self._mode, self._config)

    def unload(self) -> None:
        """Ends what runs and frees the model."""
        core, self._core = self._core, None
        if core is not None:
            core.terminate()

    terminate = unload

    def __enter__(self) -> JSONFFIEngine:
        return self

    def __exit__(self, *_: Any) -> None:
        self.unload()
