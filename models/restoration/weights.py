"""Weights of restoration networks: one file holds all members of an ensemble."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from models import weights
from models.restoration.network import RestorationNet, build
from models.restoration.normalization import Normalization
from models.weights import not_weights_of, read, write

FOLDER = Path(__file__).with_name("weights")
"""Where the weights lie that come with the project."""

_KIND = "a restoration network"


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a weights file and its card hold.

    Parameters
    ----------
    members
        The networks of the ensemble, of one architecture; in evaluation mode, on the CPU.
    card
        The model card.
    normalization
        Percentiles by which a frame is scaled before it goes in.
    calibration
        Factor of the Laplace scale, measured on the validation part.
    path
        The weights file.
    pixel_nm
        Side of the pixels that it was trained on (nm); None where its card does not say.
    """

    members: list[RestorationNet]
    card: dict[str, Any]
    normalization: Normalization
    calibration: float
    path: Path
    pixel_nm: float | None = None


def shipped() -> list[str]:
    """Names of the weights that come with the project.

    Examples
    --------
    >>> shipped()
    ['actin', 'actin-small', 'tubulin', 'tubulin-small']
    """
    return weights.shipped(FOLDER)


def read_restoration(model: str | Path) -> Loaded:
    """Networks, card, normalization and calibration of a model.

    Parameters
    ----------
    model
        A ``.safetensors`` file with its model card (``.json``) beside it, or the name of bundled
        weights.

    Raises
    ------
    FileNotFoundError
        If weights or card are missing.
    ValueError
        For an unknown name, a pickle, damaged weights, and weights of another network.

    Examples
    --------
    >>> len(read_restoration("actin").members)
    1
    """
    path = weights.find(model, FOLDER, "a .zip of the BioImage Model Zoo")
    tensors, card = read(path, _KIND)
    try:
        parts = _split(tensors, _count(card))
        members = [weights.filled(build, card["architecture"], part).eval() for part in parts]
        normalization = Normalization(**card["normalization"])
        calibration = float(card["calibration"])
        if not (math.isfinite(calibration) and calibration > 0):
            raise ValueError(f"calibration {calibration:g}")
        pixel_nm = None if card.get("pixel_nm") is None else float(card["pixel_nm"])
        if pixel_nm is not None and not (math.isfinite(pixel_nm) and pixel_nm > 0):
            raise ValueError(f"pixel_nm {pixel_nm:g}")
    except KeyError as error:
        raise not_weights_of(path, _KIND, ValueError(f"its card has no {error}")) from None
    except (RuntimeError, TypeError, ValueError) as error:
        raise not_weights_of(path, _KIND, error) from None
    return Loaded(members, card, normalization, calibration, path, pixel_nm)


def save(out: Path, members: Sequence[RestorationNet], card: dict[str, Any]) -> Path:
    """Write an ensemble as `<out>.safetensors`, with its card as `<out>.json`.

    Parameters
    ----------
    out
        Where to, without ending.
    members
        One network or more, of the architecture that the card says.
    card
        With at least `architecture`, `normalization` (`low`, `high`) and `calibration`; gets
        `members` and `weights_sha256`.

    Returns
    -------
    Path
        The weights file.

    Raises
    ------
    ValueError
        If there is no member, or a key is missing.
    """
    if not members:
        raise ValueError("members: found none; accepted: one or more networks")
    if missing := [
        key for key in ("architecture", "normalization", "calibration") if key not in card
    ]:
        raise ValueError(f"card without {', '.join(missing)}; nothing is written")
    card["members"] = len(members)
    tensors = {
        f"members.{number}.{name}": tensor
        for number, member in enumerate(members)
        for name, tensor in member.state_dict().items()
    }
    return write(Path(out), tensors, card)


def _count(card: dict[str, Any]) -> int:
    """How many members the card says there are."""
    count = card["members"]
    if not (isinstance(count, int) and count >= 1):
        raise ValueError(f"its card says {count!r} members")
    return count


def _split(tensors: dict[str, Tensor], members: int) -> list[dict[str, Tensor]]:
    """Each member's tensors, by the names that they have in the network."""
    if members > len(tensors):
        raise ValueError(f"its card says {members} members, the file has {len(tensors)} tensors")
    parts: list[dict[str, Tensor]] = [{} for _ in range(members)]
    for key, tensor in tensors.items():
        head, number, name = (*key.split(".", 2), "", "")[:3]
        if head != "members" or not number.isdecimal() or int(number) >= members:
            raise ValueError(f"{key} is of no member; accepted: members.0 to .{members - 1}")
        parts[int(number)][name] = tensor
    return parts
