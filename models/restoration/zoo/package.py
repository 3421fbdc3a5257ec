"""A model of the BioImage Model Zoo as it lies on disk: what it holds, and whether it may run here.

Nothing of it is executed here, and no extra is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.restoration.zoo.allowed import ALLOW, CUSTOM, check_file, choose_weights, has_custom
from models.restoration.zoo.files import FilesBeside, ZippedFiles

ENDINGS = (".zip", ".yaml", ".yml")


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
    files = ZippedFiles(path) if path.suffix.lower() == ".zip" else FilesBeside(path)
    content = _described(path, files.description())
    for tensor in content["inputs"]:
        if needed := tensor.get("output_of"):
            raise ValueError(
                f"{path}: its input is the output of another model, {needed}; accepted: models"
                " that need a frame and nothing else"
            )
    if not trust and has_custom(content):
        raise ValueError(
            f"{path}: its pre- or postprocessing is Python code of the package"
            f" (`id: {CUSTOM}`), which could do anything; look at it, then {ALLOW}"
        )
    weights = choose_weights(path, content["weights"], trust=trust)
    check_file(path, files, content["weights"][weights], weights)
    return Package(path, weights, files.sha256(content))


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
