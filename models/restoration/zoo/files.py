"""The files of a zoo's model: in a .zip, or beside its description."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any
from zipfile import BadZipFile, ZipFile

_DESCRIPTIONS = ("rdf.yaml", "bioimageio.yaml", "model.yaml")
"""Names of the description in a package (BioImage.IO specification)."""
_LONGEST = 255
"""Characters of a file's name; chosen, as most file systems have it."""


class ZippedFiles:
    """The files of a .zip."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with ZipFile(path) as opened:
                self._names = sorted(opened.namelist())
        except (BadZipFile, OSError) as error:
            raise ValueError(f"{path}: not a readable .zip ({error})") from None

    def description(self) -> bytes:
        """The text that says what the model is."""
        for wanted in _DESCRIPTIONS:
            for name in self._names:
                if name == wanted or name.endswith(f".{wanted}"):
                    return self._read(name)
        raise ValueError(f"{self._path}: has no rdf.yaml; accepted: a model of the zoo")

    def digest(self, name: str) -> str | None:
        """SHA-256 of a file; None where it is not there."""
        asked = str(PurePosixPath(name))
        return hashlib.sha256(self._read(asked)).hexdigest() if asked in self._names else None

    def sha256(self, content: Mapping[str, Any]) -> str:
        """Of all that belongs to the model; `content` is its description."""
        with self._path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def _read(self, name: str) -> bytes:
        try:
            with ZipFile(self._path) as opened:
                return opened.read(name)
        except (BadZipFile, OSError, RuntimeError, NotImplementedError) as error:
            raise ValueError(f"{self._path}: {name} cannot be read ({error})") from None


class FilesBeside:
    """The files beside a description."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def description(self) -> bytes:
        """The text that says what the model is."""
        return self._path.read_bytes()

    def digest(self, name: str) -> str | None:
        """SHA-256 of a file; None where it is not there."""
        file = self._path.parent / name
        with suppress(OSError, ValueError):
            if file.is_file():
                with file.open("rb") as opened:
                    return hashlib.file_digest(opened, "sha256").hexdigest()
        return None

    def sha256(self, content: Mapping[str, Any]) -> str:
        """Of all that belongs to the model; `content` is its description."""
        whole = hashlib.sha256(self.description())
        for name in sorted(set(_names(content))):
            if found := self.digest(name):
                whole.update(f"{name}\0{found}".encode())
        return whole.hexdigest()


Files = ZippedFiles | FilesBeside


def _names(content: Any) -> Iterator[str]:
    """All texts of a description, which may be names of files."""
    if isinstance(content, Mapping):
        content = list(content.values())
    if isinstance(content, list):
        for inner in content:
            yield from _names(inner)
    elif isinstance(content, str) and content.strip() and len(content) <= _LONGEST:
        # Older descriptions name a network as FILE:CLASS.
        yield from {content, content.partition(":")[0]} - {""}
