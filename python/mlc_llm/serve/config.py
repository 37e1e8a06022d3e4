# The engine's settings by MLC LLM's names, turned into what the native engine and the command read.
"""EngineConfig."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from ..errors import CommandError

MODES = ("local", "interactive", "server")
SPECULATIVE_MODES = ("disable", "ngram", "small_draft", "medusa")

# Keys of EngineConfig that are keys of `serve --overrides`, and their names there.
_OVERRIDES = {
    "attention_sink_size": "attention_sink_size",
    "gpu_memory_utilization": "gpu_memory_utilization",
    "max_history_size": "max_history_size",
    "max_num_sequence": "max_num_sequence",
    "max_single_sequence_length": "context_window_size",
    "max_total_sequence_length": "max_total_seq_length",
    "pipeline_parallel_stages": "pipeline_parallel_stages",
    "prefill_chunk_size": "prefill_chunk_size",
    "prefill_mode": "prefill_mode",
    "prefix_cache_max_num_recycling_seqs": "prefix_cache_max_num_recycling_seqs",
    "prefix_cache_mode": "prefix_cache_mode",
    "sliding_window_size": "sliding_window_size",
    "spec_draft_length": "spec_draft_length",
    "spec_tree_width": "spec_tree_width",
    "tensor_parallel_shards": "tensor_parallel_shards",
}
# Keys with one value that is possible, and why.
_FIXED = {
    "kv_cache_page_size": (16, "pages hold 16 tokens"),
    "kv_state_kind": (None, "the model's library states it"),
}


@dataclass
class EngineConfig:
    """What the engine is opened with beside the model; None: inferred from the mode, the model and the memory.

    ``additional_models``: further models, each a name or [name, library]; with the ``speculative_mode`` small_draft or medusa the one
    that drafts. ``verbose``: prints a line on each model's memory
    to standard error. ``lora_adapters``: PEFT folders by name, for ``model="...:NAME"``; ``max_loras`` and ``max_lora_rank``: what
    else the library has room for, for ``load_lora_adapter``. The other names are those of ``mlc_llm serve --overrides``.
    """

    additional_models: list[Any] = field(default_factory=list)
    opt: str | None = None
    tensor_parallel_shards: int | None = None
    pipeline_parallel_stages: int | None = None
    gpu_memory_utilization: float | None = None
    kv_cache_page_size: int = 16
    max_num_sequence: int | None = None
    max_total_sequence_length: int | None = None
    max_single_sequence_length: int | None = None
    prefill_chunk_size: int | None = None
    sliding_window_size: int | None = None
    attention_sink_size: int | None = None
    max_history_size: int | None = None
    kv_state_kind: str | None = None
    speculative_mode: str = "disable"
    spec_draft_length: int | None = None
    spec_tree_width: int | None = None
    prefix_cache_mode: str | None = None
    prefix_cache_max_num_recycling_seqs: int | None = None
    prefill_mode: str | None = None
    lora_adapters: dict[str, Any] = field(default_factory=dict)
    max_loras: int | None = None
    max_lora_rank: int | None = None
    verbose: bool = True

    @classmethod
    def of(cls, config: EngineConfig | dict[str, Any] | None) -> EngineConfig:
        """A config from what ``engine_config`` may be. Raises CommandError for an unknown key."""
        if config is None:
            return cls()
        if isinstance(config, EngineConfig):
            return config
        if not isinstance(config, dict):
            raise CommandError(f"engine_config: found {type(config).__name__}, expected EngineConfig or a dictionary")
        known = [f.name for f in fields(cls)]
        for key in config:
            if key not in known:
                raise CommandError(f"engine_config: unknown key '{key}'; expected one of {', '.join(known)}")
        return cls(**config)

    def overrides(self) -> str:
        """The value of ``--overrides``. Raises CommandError for a key whose function is not built."""
        for key, (only, why) in _FIXED.items():
            if getattr(self, key) != only:
                raise CommandError(f"engine_config: {key} is {getattr(self, key)!r}, expected {only!r}: {why}")
        if self.speculative_mode not in SPECULATIVE_MODES:
            raise CommandError(f"engine_config: speculative_mode is {self.speculative_mode!r}, expected one of "
                               f"{', '.join(map(repr, SPECULATIVE_MODES))}: the others are not built yet")
        pairs = []
        for key, name in _OVERRIDES.items():
            value = getattr(self, key)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float, str)) or ";" in str(value):
                raise CommandError(f"engine_config: {key} is {value!r}, expected a number or a word")
            pairs.append(f"{name}={value}")
        return ";".join(pairs)

    def models(self) -> list[str]:
        """The values of ``--additional-models``."""
        return [os.fspath(model) if isinstance(model, (str, os.PathLike)) else ",".join(os.fspath(part) for part in model)
                for model in self.additional_models]


def settings(model: Any, device: str, model_lib: Any, mode: str, config: EngineConfig, pooling: str | None) -> str:
    """What the native engine reads."""
    if mode not in MODES:
        raise CommandError(f"mode: found {mode!r}, expected local, interactive or server")
    values = {"model": os.fspath(model), "device": str(device), "mode": mode, "overrides": config.overrides(),
              "additional_models": config.models(), "speculative_mode": config.speculative_mode, "verbose": bool(config.verbose)}
    if pooling not in (None, "cls", "mean", "last"):
        raise CommandError(f"pooling_strategy: found {pooling!r}, expected cls, mean, last or None")
    values["pooling"] = pooling
    values["lora_adapters"] = {name: os.fspath(folder) for name, folder in config.lora_adapters.items()}
    for key in ("max_loras", "max_lora_rank"):
        number = getattr(config, key)
        if number is not None and (isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= 1024):
            raise CommandError(f"engine_config: {key} is {number!r}, expected a whole number from 1 to 1024")
        values[key] = number
    if model_lib is not None:
        values["model_lib"] = os.fspath(model_lib)
    if config.opt is not None:
        values["opt"] = config.opt
    return json.dumps(values)


_NAMES = {"--additional-models": "engine_config: additional_models", "--device": "device",
          "--lora-adapter": "engine_config: lora_adapters", "--max-loras": "engine_config: max_loras", "--model-lib": "model_lib",
          "--opt": "engine_config: opt", "--overrides": "engine_config", "--speculative-mode": "engine_config: speculative_mode"}


def in_python(sentence: str) -> str:
    """A sentence about flags as one about arguments."""
    sentence = re.sub(r"--overrides: key '(\w+)'", r"--overrides: \1", sentence)
    sentence = re.sub(r"--[a-z-]+", lambda flag: _NAMES.get(flag.group(), flag.group()), sentence)
    return sentence.replace("max_total_seq_length", "max_total_sequence_length")


def with_inferred(config: EngineConfig, model: dict[str, Any]) -> EngineConfig:
    """The config with the numbers that the engine inferred."""
    numbers = {key: model[key] for key in ("max_num_sequence", "max_total_sequence_length", "max_single_sequence_length",
                                           "prefill_chunk_size")}
    return EngineConfig(**(asdict(config) | numbers))
