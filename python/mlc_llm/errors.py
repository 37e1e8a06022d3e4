# What the package raises; each error's text is the sentence that the command or the server would give.
"""Exceptions of mlc_llm."""

from __future__ import annotations

from typing import Any


class MLCError(Exception):
    """Base of all errors of this package."""


class CommandError(MLCError, ValueError):
    """A model could not be opened, converted or compiled; the text starts with the argument, flag or file at fault."""


class EngineTerminatedError(MLCError, RuntimeError):
    """The engine was used after ``terminate()``."""


class RequestError(MLCError):
    """A request was refused, or could not be finished.

    Attributes
    ----------
    status: the HTTP status that the server gives for it; param: the field at fault or None; code: OpenAI's code or None.
    """

    def __init__(self, message: str, status: int = 400, param: str | None = None, code: str | None = None):
        super().__init__(message)
        self.message, self.status, self.param, self.code = message, status, param, code


class BadRequestError(RequestError, ValueError):
    """A field of the request is wrong (400, 422)."""


class NotFoundError(RequestError, LookupError):
    """No such model or adapter (404)."""


class EngineError(RequestError, RuntimeError):
    """The engine could not go on with the request (500, 503)."""


def request_error(status: int, body: dict[str, Any]) -> RequestError:
    """The exception for an answer ``{"error": {...}}`` with this HTTP status (200 within a stream)."""
    error = body["error"]
    kind = EngineError if status == 200 or status >= 500 else NotFoundError if status == 404 else BadRequestError
    return kind(error["message"], status if status != 200 else 503, error.get("param"), error.get("code"))
