# AsyncEmbeddingEngine: a model that gives embeddings, by itself.
"""The engine for embeddings."""

from __future__ import annotations

from typing import Any, Literal, Sequence

from .async_engine import AsyncEmbeddings, Pump
from .config import EngineConfig
from .core import Core


class AsyncEmbeddingEngine:
    """Runs a model that gives embeddings in this process; its methods are coroutines, of any event loop.

    >>> async with AsyncEmbeddingEngine("dist/Qwen3-Embedding-0.6B-q4f16_1-MLC") as engine:
    ...     vectors = await engine.embed(["a text", "another"])
    """

    def __init__(self, model: Any, model_lib: Any = None, device: str = "auto",
                 pooling_strategy: Literal["cls", "mean", "last"] | None = None, *,
                 engine_config: EngineConfig | dict[str, Any] | None = None):
        """Opens a model as MLCEngine does. pooling_strategy: which tokens stand for a text; None: as the model's config says.

        Raises CommandError.
        """
        self._core = Core(model, device, model_lib, "local", engine_config, pooling_strategy)
        pump = Pump()
        self._core.on_terminate(pump.close)
        self.embeddings = AsyncEmbeddings(self._core, pump)

    async def embed(self, inputs: Sequence[str] | Sequence[Sequence[int]], dimensions: int | None = None) -> list[list[float]]:
        """The vectors of texts, or of lists of token ids, in their order. Raises RequestError."""
        answer = await self.embeddings.create(input=list(inputs), dimensions=dimensions)
        return [item.embedding for item in answer.data]  # type: ignore[misc]  # numbers, as nothing else was asked for

    def terminate(self) -> None:
        """Ends what runs and frees the model; the engine cannot be used afterwards."""
        self._core.terminate()

    async def __aenter__(self) -> AsyncEmbeddingEngine:
        return self

    async def __aexit__(self, *_: Any) -> None:
        self.terminate()
