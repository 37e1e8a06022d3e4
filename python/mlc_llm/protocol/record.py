# Objects made of JSON: attributes as the classes state them, and whatever else the JSON has.
"""The base of the protocol's classes."""

from __future__ import annotations

import functools
import json
import types
import typing
from dataclasses import dataclass, fields
from typing import Any, Self


@dataclass(repr=False)
class Record:
    """A JSON object with attributes. Keys that the class does not state become attributes too."""

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        hints: dict[str, Any] = _hints(cls)  # type: ignore[arg-type]  # a class is hashable
        record = cls(**{name: _value(hints[name], data[name]) for name in hints if name in data})
        for name, value in data.items():
            if name not in hints:
                setattr(record, name, value)
        return record

    def model_dump(self, *, exclude_none: bool = False) -> dict[str, Any]:
        """The object as dictionaries and lists."""
        return {name: _plain(value, exclude_none) for name, value in vars(self).items()
                if value is not None or not exclude_none}

    def model_dump_json(self, *, indent: int | None = None, exclude_none: bool = False) -> str:
        return json.dumps(self.model_dump(exclude_none=exclude_none), indent=indent, ensure_ascii=False)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"

    def __getitem__(self, name: str) -> Any:
        try:
            return vars(self)[name]
        except KeyError:
            raise KeyError(name) from None

    def get(self, name: str, default: Any = None) -> Any:
        return vars(self).get(name, default)


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in fields(cls)}


def _value(hint: Any, value: Any) -> Any:
    """`value` as records where the hint says so: Record, list[Record] or either with `| None`."""
    if isinstance(hint, types.UnionType):
        hint = next(part for part in typing.get_args(hint) if part is not types.NoneType)
    if typing.get_origin(hint) is list and isinstance(value, list):
        return [_value(typing.get_args(hint)[0], item) for item in value]
    if isinstance(hint, type) and issubclass(hint, Record) and isinstance(value, dict):
        return hint.from_json(value)
    return value


def _plain(value: Any, exclude_none: bool) -> Any:
    if isinstance(value, Record):
        return value.model_dump(exclude_none=exclude_none)
    if isinstance(value, list):
        return [_plain(item, exclude_none) for item in value]
    return value
