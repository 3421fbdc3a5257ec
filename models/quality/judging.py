"""Predictions of whole frames, their calibration, and figures of a rated set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.quality.data import RatedSet, Split, load
from models.quality.figures import calibrate, figures, whitening
from models.quality.network import Judgements, Prediction, RatingNet
from models.quality.recipe import Recipe
from models.quality.table import Reader

_FAMILIAR = 0.97
"""A frame is familiar if no further from the training data than this share of the validation;
chosen."""
_AT_ONCE = 32
"""Tiles that go through the network at once; chosen."""


def predict(
    network: RatingNet,
    rated: RatedSet,
    frames: Tensor,
    device: str,
    features: Tensor | None = None,
) -> Prediction:
    """Predictions of `frames`, averaged over their tiles as `QualityScorer` does.

    `features` are those of their tiles, where they are known already (`features_of`).
    """
    network.eval()
    part = rated.part(frames)
    with torch.inference_mode():
        if features is None:
            found = [
                network(rated.tiles[i].float().to(device)) for i in torch.split(part, _AT_ONCE)
            ]
        else:
            seen = features.to(device)
            found = [network.together(Judgements(*network.said(seen), seen))]
    columns = (torch.cat(values).cpu() for values in zip(*found, strict=True))
    return Prediction(*(rated.average(part, values)[frames] for values in columns))


def features_of(network: RatingNet, rated: RatedSet, frames: Tensor, device: str) -> Tensor:
    """What the heads look at, of every tile of `frames`."""
    with torch.inference_mode():
        chunks = [
            network.seen(rated.tiles[i].float().to(device)).cpu()
            for i in torch.split(rated.part(frames), _AT_ONCE)
        ]
    return torch.cat(chunks)


def calibrate_on(network: RatingNet, rated: RatedSet, parts: Split, device: str) -> None:
    """Set the scale of the standard deviation, and the limit of familiar frames."""
    network.eval()
    features = features_of(network, rated, parts.training, device)
    known = features_of(network, rated, parts.validation, device)
    at = 0
    for size in network.groups:
        group = slice(at, at + size)
        mean, matrix = whitening(features[:, group])
        away = ((known[:, group] - mean) @ matrix).square().mean(1).sqrt()
        limit = max(float(torch.quantile(away, _FAMILIAR)), 1e-6)
        network.familiar_mean[group] = mean.to(device)
        network.familiar_whitening[group, group] = (matrix / limit).to(device)
        at += size
    network.calibration.fill_(1.0)
    judged = predict(network, rated, parts.validation, device)
    network.calibration.fill_(calibrate(judged.value, judged.sd, rated.score[parts.validation]))


def evaluate(
    network: RatingNet,
    rated: RatedSet,
    parts: Split,
    tests: Mapping[str, Path],
    recipe: Recipe,
    device: str,
    read: Reader,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Every validation and test frame's score, and the figures of each part."""
    known = rated.score[parts.training]
    sets = [("validation", rated, parts.validation), ("test", rated, parts.test)]
    for name, folder in tests.items():
        other = load(Path(folder), recipe.column, read)
        sets.append((name, other, torch.arange(len(other.score))))
    rows, metrics = [], {}
    for name, own, frames in sets:
        if not len(frames):
            continue
        value, sd, distance = predict(network, own, frames, device)
        metrics[name] = figures(value, sd, own.score[frames], known)
        metrics[name]["unfamiliar"] = float((distance > 1).float().mean())
        rows += [
            {
                "set": name,
                "file": own.ratings[i].path.name,
                "structure": own.ratings[i].structure,
                "label": f"{own.score[i]:.4f}",
                "score": f"{v:.4f}",
                "sd": f"{s:.4f}",
            }
            for i, v, s in zip(frames.tolist(), value.tolist(), sd.tolist(), strict=True)
        ]
    return rows, metrics
