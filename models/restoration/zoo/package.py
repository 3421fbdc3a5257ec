"""A model of the BioImage Model Zoo as it lies on disk: what it holds, and whether it may run here.

Nothing of it is executed here, and no extra is needed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from zipfile import BadZipFile, ZipFile

ENDINGS = (".zip", ".yaml", ".yml")
_DESCRIPTIONS = ("rdf.yaml", "bioimageio.yaml", "model.yaml")
"""Names of the description in a package (BioImage.IO specification)."""
_SAFE = ("torchscript", "onnx")
"""Weights that are run unasked, the first first: they hold a computation and no Python."""
_PYTHON = "pytorch_state_dict"
"""Weights that need the package's Python code, which says what the network is."""
_CUSTOM = "custom"
"""Pre- or postprocessing by the package's Python code."""
_ALLOW = "allow it by `trust: true` or --trust"
_LONGEST = 255
"""Characters of a file's name; chosen, as most file systems have it."""


@dataclass(frozen=True, slots=True)
class Package:
    """What is known of a model without loading it.

    Parameters
    ----------
    path
        The .zip, or the description (YAML) beside its files.
    weights
        Which of its weights are run: `torchscript`, `onnx` or `pytorch_state_dict`.
    sha256
        Of the .zip, or of the description and all files that it names.
    """

    path: Path
    weights: str
    sha256: str


def is_zoo(model: str | Path) -> bool:
    """Whether a filter's model is one of the BioImage Model Zoo, by the ending of its file.

    Examples
    --------
    >>> is_zoo("affable-shark.zip"), is_zoo("actin"), is_zoo("actin.safetensors")
    (True, False, False)
    """
    return Path(model).suffix.lower() in ENDINGS


def read_package(path: Path, *, trust: bool = False) -> Package:
    """Read a package's description, and choose the weights to run.

    Parameters
    ----------
    path
        A .zip, or a description (`rdf.yaml`) beside its files.
    trust
        Whether Python code of the package may be run.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It is no model, is damaged, needs something from the network, or would run Python code.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such file; accepted: a model of the BioImage Model Zoo that was"
            " downloaded, as a .zip or as its rdf.yaml beside its files"
        )
    files = _Zipped(path) if path.suffix.lower() == ".zip" else _Beside(path)
    content = _described(path, files.description())
    for tensor in content["inputs"]:
        if needed := tensor.get("output_of"):
            raise ValueError(
                f"{path}: its input is the output of another model, {needed}; accepted: models"
                " that need a frame and nothing else"
            )
    if not trust and _has_custom(content):
        raise ValueError(
            f"{path}: its pre- or postprocessing is Python code of the package"
            f" (`id: {_CUSTOM}`), which could do anything; look at it, then {_ALLOW}"
        )
    weights = _chosen(path, content["weights"], trust=trust)
    _check_file(path, files, content["weights"][weights], weights)
    return Package(path, weights, files.sha256(content))


class _Zipped:
    """The files of a .zip."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with ZipFile(path) as opened:
                self._names = sorted(opened.namelist())
        except (BadZipFile, OSError) as error:
            raise ValueError(f"{path}: not a readable .zip ({error})") from None

    def description(self) -> bytes:
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
        with self._path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def _read(self, name: str) -> bytes:
        try:
            with ZipFile(self._path) as opened:
                return opened.read(name)
        except (BadZipFile, OSError, RuntimeError, NotImplementedError) as error:
            raise ValueError(f"{self._path}: {name} cannot be read ({error})") from None


class _Beside:
    """The files beside a description."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def description(self) -> bytes:
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
        whole = hashlib.sha256(self.description())
        for name in sorted(set(_names(content))):
            if found := self.digest(name):
                whole.update(f"{name}\0{found}".encode())
        return whole.hexdigest()


_Files = _Zipped | _Beside


def _described(path: Path, data: bytes) -> dict[str, Any]:
    import yaml

    try:
        content = yaml.safe_load(data)
    except (yaml.YAMLError, ValueError) as error:
        said = str(error).splitlines()[0]
        raise ValueError(f"{path}: its description is not readable YAML ({said})") from None
    kind = content.get("type") if isinstance(content, dict) else None
    if kind != "model":
        found = f"type {kind!r}" if kind else "no type"
        raise ValueError(
            f"{path}: found {found}; accepted: a model of the BioImage Model Zoo (`type: model`)"
        )
    for key, form in (("inputs", list), ("outputs", list), ("weights", dict)):
        entries = content.get(key)
        inner = entries.values() if isinstance(entries, dict) else entries or ()
        if not (isinstance(entries, form) and entries and all(isinstance(e, dict) for e in inner)):
            raise ValueError(f"{path}: {key}: found {entries!r:.40}; accepted: what the zoo has")
    return dict(content)


def _has_custom(content: Mapping[str, Any]) -> bool:
    steps = [
        step
        for key, processing in (("inputs", "preprocessing"), ("outputs", "postprocessing"))
        for tensor in content[key]
        for step in tensor.get(processing) or ()
    ]
    return any(_CUSTOM in (step.get("id"), step.get("name")) for step in steps)


def _chosen(path: Path, weights: Mapping[str, Any], *, trust: bool) -> str:
    accepted = (*_SAFE, _PYTHON) if trust else _SAFE
    if found := next((name for name in accepted if name in weights), None):
        return found
    has = ", ".join(weights)
    if _PYTHON in weights:
        raise ValueError(
            f"{path}: has weights as {has}; {_PYTHON} runs Python code of the package, which could"
            f" do anything; accepted: {', '.join(_SAFE)}; or look at that code, then {_ALLOW}"
        )
    raise ValueError(f"{path}: has weights as {has}; accepted: {', '.join((*_SAFE, _PYTHON))}")


def _check_file(path: Path, files: _Files, entry: Mapping[str, Any], weights: str) -> None:
    """Make sure that weights are there, and those that are described."""
    for about in (entry, entry.get("external_data"), entry.get("architecture")):
        if not isinstance(about, dict) or not isinstance(source := about.get("source"), str):
            continue
        if "://" in source:
            raise ValueError(
                f"{path}: its {weights} weights are at {source}, and nothing is loaded from the"
                " network; accepted: the whole model, downloaded as a .zip"
            )
        if (found := files.digest(source)) is None:
            raise ValueError(f"{path}: has no {source}, of which its {weights} weights are made")
        if (told := about.get("sha256")) and found != told:
            raise ValueError(
                f"{path}: {source} has sha256 {found[:12]}…, its description says"
                f" {str(told)[:12]}…; accepted: the weights that are described"
            )


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
