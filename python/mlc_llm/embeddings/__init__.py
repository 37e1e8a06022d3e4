# mlc_llm.embeddings: engines of models that give vectors.
"""Embeddings of texts."""

from ..serve.embedding_engine import AsyncEmbeddingEngine

__all__ = ["AsyncEmbeddingEngine"]
