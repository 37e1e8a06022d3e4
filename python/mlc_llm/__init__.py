# The package mlc_llm: engines, commands, errors (docs/python.md).
"""Compiles and runs language models: an independent implementation of MLC LLM."""

from .commands import compile, convert_weight, gen_config
from .errors import (BadRequestError, CommandError, EngineError, EngineTerminatedError, MLCError, NotFoundError,
                     RequestError)
from .serve import AsyncEmbeddingEngine, AsyncMLCEngine, EngineConfig, MLCEngine, PopenServer

__all__ = ["AsyncEmbeddingEngine", "AsyncMLCEngine", "BadRequestError", "CommandError", "EngineConfig", "EngineError", "EngineTerminatedError",
           "MLCEngine", "MLCError", "NotFoundError", "PopenServer", "RequestError", "compile", "convert_weight", "gen_config"]
