"""The one error of files of images."""

from __future__ import annotations


class ImageError(ValueError):
    """A file of images that cannot be used; the message names it, and says what is accepted."""
