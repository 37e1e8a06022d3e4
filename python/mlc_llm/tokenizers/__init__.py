# Tokenizers of models, and text from tokens as they come.
"""Text to tokens and back."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Sequence

import _mlc_llm

from ..errors import CommandError

__all__ = ["StopStrHandler", "TextStreamer", "Tokenizer"]


class Tokenizer:
    """The tokenizer of a model folder, in whatever form its files have. Any thread may use it."""

    def __init__(self, tokenizer_path: Any):
        """Raises CommandError, naming the file at fault."""
        try:
            self._native = _mlc_llm.Tokenizer(os.fspath(tokenizer_path))
        except _mlc_llm.UserError as error:
            raise CommandError(str(error)) from None

    def encode(self, text: str) -> list[int]:
        """The ids of a text. Special tokens in it are recognised; nothing is put in front."""
        return self._native.encode(text)

    def encode_batch(self, texts: Sequence[str], num_threads: int = -1) -> list[list[int]]:
        """The ids of each text, by `num_threads` threads; -1: one for each core."""
        with ThreadPoolExecutor(num_threads if num_threads > 0 else os.cpu_count()) as pool:
            return list(pool.map(self.encode, texts))

    def decode(self, token_ids: Sequence[int], *, skip_special: bool = False) -> str:
        """The text of ids. Ids outside the vocabulary give nothing, bytes that are not UTF-8 U+FFFD."""
        return self._native.decode(list(token_ids), skip_special)

    @property
    def vocab_size(self) -> int:
        """The largest id + 1."""
        return self._native.vocab_size()


class TextStreamer:
    """Text from tokens as they come: whole characters only."""

    def __init__(self, tokenizer: Tokenizer):
        self._native = _mlc_llm.StreamDecoder(tokenizer._native)

    def put(self, delta_tokens: Sequence[int]) -> str:
        """The text that these tokens complete, often ""."""
        return self._native.put(list(delta_tokens))

    def finish(self) -> str:
        """What is left; the streamer is then ready for another text."""
        return self._native.finish()


class StopStrHandler:
    """Finds stop strings in tokens, however they cut them."""

    def __init__(self, stop_strs: Sequence[str], tokenizer: Tokenizer):
        self._native = _mlc_llm.StopMatcher(list(stop_strs), tokenizer._native)

    def put(self, token_id: int) -> list[int]:
        """The ids that can no longer be part of a stop string; after a match, those that end before it."""
        return self._native.put(token_id)

    def finish(self) -> list[int]:
        """Without a match: the ids still held back."""
        return self._native.finish()

    @property
    def stop_triggered(self) -> bool:
        """Whether a stop string was found."""
        return self._native.stopped()
