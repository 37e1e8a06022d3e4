# The engines, their settings and the server.
"""Engines and the server."""

from .async_engine import AsyncMLCEngine
from .config import EngineConfig
from .embedding_engine import AsyncEmbeddingEngine
from .server import PopenServer
from .sync_engine import MLCEngine

__all__ = ["AsyncEmbeddingEngine", "AsyncMLCEngine", "EngineConfig", "MLCEngine", "PopenServer"]
