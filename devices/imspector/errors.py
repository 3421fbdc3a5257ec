"""Errors that are told apart."""

from __future__ import annotations


class NotOpen(RuntimeError):
    """The measurement is not open in Imspector, so that nothing of it can be scanned."""


class NotTaken(RuntimeError):
    """A value was set, and something else was read back."""
