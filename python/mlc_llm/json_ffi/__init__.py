# The engine in JSON.
"""JSON in, JSON chunks out."""

from .engine import JSONFFIEngine

__all__ = ["JSONFFIEngine"]
