# What requests take and give, by the names of OpenAI's API (docs/serve.md says which fields do what).
"""Fields of requests, and the classes of their answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Sequence, TypedDict

from .record import Record


class _Fields(TypedDict, total=False):
    model: str
    frequency_penalty: float | None
    presence_penalty: float | None
    repetition_penalty: float | None
    logit_bias: dict[Any, float] | None
    max_tokens: int | None
    n: int
    seed: int | None
    stop: str | list[str] | None
    stop_token_ids: list[int] | None
    stream_options: dict[str, Any] | None
    temperature: float | None
    top_p: float | None
    top_k: int | None
    min_p: float | None
    user: str | None
    ignore_eos: bool
    response_format: dict[str, Any] | None
    debug_config: dict[str, Any] | None


class ChatCompletionFields(_Fields, total=False):
    """Further keyword arguments of ``chat.completions.create``."""

    logprobs: bool
    top_logprobs: int
    max_completion_tokens: int | None
    tools: list[dict[str, Any]] | None
    tool_choice: str | dict[str, Any] | None
    parallel_tool_calls: bool
    chat_template_kwargs: dict[str, Any] | None
    add_generation_prompt: bool


class CompletionFields(_Fields, total=False):
    """Further keyword arguments of ``completions.create``."""

    best_of: int
    echo: bool
    logprobs: int | None
    suffix: str | None


Messages = Sequence["dict[str, Any] | ChatCompletionMessage"]
Prompt = "str | Sequence[int] | Sequence[str] | Sequence[Sequence[int]]"


@dataclass(repr=False)
class UsageInfo(Record):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0


@dataclass(repr=False)
class TopLogProb(Record):
    token: str = ""
    logprob: float = 0.0
    bytes: list[int] | None = None


@dataclass(repr=False)
class LogProbsContent(TopLogProb):
    top_logprobs: list[TopLogProb] = field(default_factory=list)


@dataclass(repr=False)
class LogProbs(Record):
    content: list[LogProbsContent] | None = None


@dataclass(repr=False)
class ChatFunctionCall(Record):
    name: str = ""
    arguments: str = ""


@dataclass(repr=False)
class ChatToolCall(Record):
    id: str = ""
    type: str = "function"
    function: ChatFunctionCall = field(default_factory=ChatFunctionCall)


@dataclass(repr=False)
class ChatCompletionMessage(Record):
    """A message of an answer, or what a chunk adds to it (``delta``)."""

    role: str | None = None
    content: str | None = None
    tool_calls: list[ChatToolCall] | None = None


@dataclass(repr=False)
class _Choice(Record):
    """What choices of all kinds have."""

    index: int = 0
    finish_reason: str | None = None


@dataclass(repr=False)
class ChatCompletionResponseChoice(_Choice):
    message: ChatCompletionMessage = field(default_factory=ChatCompletionMessage)
    logprobs: LogProbs | None = None


@dataclass(repr=False)
class ChatCompletionStreamResponseChoice(_Choice):
    delta: ChatCompletionMessage = field(default_factory=ChatCompletionMessage)
    logprobs: LogProbs | None = None


@dataclass(repr=False)
class CompletionLogProbs(Record):
    text_offset: list[int] = field(default_factory=list)
    token_logprobs: list[float | None] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    top_logprobs: list[dict[str, float] | None] = field(default_factory=list)


@dataclass(repr=False)
class CompletionResponseChoice(_Choice):
    text: str = ""
    logprobs: CompletionLogProbs | None = None


@dataclass(repr=False)
class _Answer(Record):
    """What answers and chunks of all kinds have."""

    id: str = ""
    created: int = 0
    model: str = ""
    usage: UsageInfo | None = None


@dataclass(repr=False)
class ChatCompletionResponse(_Answer):
    object: str = "chat.completion"
    choices: list[ChatCompletionResponseChoice] = field(default_factory=list)


@dataclass(repr=False)
class ChatCompletionStreamResponse(_Answer):
    """A chunk of a stream; the last one, where ``stream_options={"include_usage": True}``, has no choices but usage."""

    object: str = "chat.completion.chunk"
    choices: list[ChatCompletionStreamResponseChoice] = field(default_factory=list)


@dataclass(repr=False)
class CompletionResponse(_Answer):
    """An answer of ``completions.create``; chunks of a stream have the same form."""

    object: str = "text_completion"
    choices: list[CompletionResponseChoice] = field(default_factory=list)


class EmbeddingFields(TypedDict, total=False):
    """Further keyword arguments of ``embeddings.create``."""

    model: str
    dimensions: int | None
    encoding_format: Literal["float", "base64"]
    user: str | None


@dataclass(repr=False)
class Embedding(Record):
    index: int = 0
    embedding: list[float] | str = field(default_factory=list)
    object: str = "embedding"


@dataclass(repr=False)
class EmbeddingResponse(Record):
    """An answer of ``embeddings.create``: one embedding for each input, in their order."""

    data: list[Embedding] = field(default_factory=list)
    model: str = ""
    object: str = "list"
    usage: UsageInfo | None = None
