"""Weights of interpolators, with how frames are normalized and uncertainties calibrated."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models import weights
from models.interpolation.calibration import Calibration
from models.interpolation.interface import Interpolator
from models.interpolation.networks import build
from models.restoration.normalization import Normalization
from models.weights import not_weights_of, read, write

FOLDER = Path(__file__).with_name("weights")
"""Where the weights lie that come with the project."""

_KIND = "an interpolator"


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a weights file and its card hold.

    Parameters
    ----------
    network
        In evaluation mode, on the CPU.
    card
        The model card.
    normalization
        Percentiles by which pairs of frames are scaled before they go in.
    calibration
        Factors of the uncertainty, measured on the validation part.
    path
        The weights file.
    """

    network: Interpolator
    card: dict[str, Any]
    normalization: Normalization
    calibration: Calibration
    path: Path


def shipped() -> list[str]:
    """Names of the weights that come with the project.

    Examples
    --------
    >>> shipped()
    ['dain', 'flow', 'zs']
    """
    return weights.shipped(FOLDER)


def read_interpolator(model: str | Path) -> Loaded:
    """Network, card, normalization and calibration of a model.

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
    >>> read_interpolator("flow").card["architecture"]["network"]
    'flow'
    """
    path = weights.find(model, FOLDER)
    tensors, card = read(path, _KIND)
    try:
        network = weights.filled(build, card["architecture"], tensors).eval()
        normalization = Normalization(**card["normalization"])
        calibration = Calibration(**card["calibration"])
        factors = calibration.one_way, calibration.both_ways
        if not (
            all(math.isfinite(one) and one > 0 for one in factors) and 0 <= calibration.blend < 1
        ):
            raise ValueError(f"calibration {tuple(calibration)}")
    except KeyError as error:
        raise not_weights_of(path, _KIND, ValueError(f"its card has no {error}")) from None
    except (RuntimeError, TypeError, ValueError) as error:
        raise not_weights_of(path, _KIND, error) from None
    return Loaded(network, card, normalization, calibration, path)


def save(out: Path, network: Interpolator, card: dict[str, Any]) -> Path:
    """Write a network as `<out>.safetensors`, with its card as `<out>.json`.

    Parameters
    ----------
    out
        Where to, without ending.
    network
        Of the architecture that the card says.
    card
        With at least `architecture`, `normalization` (`low`, `high`) and `calibration`
        (`one_way`, `both_ways`); gets `weights_sha256`.

    Returns
    -------
    Path
        The weights file.

    Raises
    ------
    ValueError
        If a key is missing.
    """
    if missing := [
        key for key in ("architecture", "normalization", "calibration") if key not in card
    ]:
        raise ValueError(f"card without {', '.join(missing)}; nothing is written")
    return write(Path(out), network.state_dict(), card)
