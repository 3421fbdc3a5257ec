"""Training of the quality network on rated frames."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor
from torchmetrics.functional.regression import spearman_corrcoef

from models.quality.augmentation import BLURRED, EMPTY, augment
from models.quality.network import CHANNELS, HIDDEN, INPUT_SIZE, QualityNet
from models.quality.preparing import PIXEL_SIZE_NM, prepare
from models.quality.table import Rating, read_frame, read_ratings

Progress = Callable[[int, int, dict[str, float]], None]
"""Called after each epoch with its number, how many there are at most, and figures."""

_BATCH = 32
_LEARNING_RATE = 2e-3
_WEIGHT_DECAY = 1e-2
_PATIENCE = 20
# What a blur takes away is learned much better by a network that knows what it is.
_SHARP_ONLY = 0.5
_FEWEST = 10
_GOOD = 0.5
_LIMITS = [
    (
        "What it learned is what the data named here show; where they are simulated, its scores"
        " are of simulated frames first, and of other microscopes' frames by analogy."
    ),
    (
        "Random split over frames: frames of the same structure, though never the same frame,"
        " are in the training and in the test part."
    ),
    "Gives a number for anything that is not constant; it does not say how sure it is.",
]


@dataclass(frozen=True, slots=True)
class _Set:
    """Prepared frames: every tile with the index of its frame and its share in the score."""

    tiles: Tensor  # tiles × 1 × 224 × 224
    frame: Tensor  # tiles
    weight: Tensor  # tiles
    score: Tensor  # frames
    structure: tuple[str, ...]  # frames

    def part(self, frames: Tensor) -> Tensor:
        """Which tiles belong to `frames`."""
        return torch.isin(self.frame, frames).nonzero().squeeze(1)


def _load(ratings: list[Rating]) -> _Set:
    tiles, weights, frame = [], [], []
    for index, rating in enumerate(ratings):
        try:
            cut, share = prepare(read_frame(rating.path), rating.pixel_size_nm, INPUT_SIZE)
        except ValueError as error:
            reason = str(error).removeprefix(f"{rating.path}: ")
            raise ValueError(f"{rating.path}: {reason}") from None
        tiles.append(cut)
        weights.append(share)
        frame += [index] * len(cut)
    return _Set(
        torch.from_numpy(np.concatenate(tiles)[:, None]),
        torch.tensor(frame),
        torch.from_numpy(np.concatenate(weights)).float(),
        torch.tensor([rating.score for rating in ratings]),
        tuple(rating.structure for rating in ratings),
    )


def _split(count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Frames at random into 80% to train, 10% to validate, 10% to test, as in the paper."""
    order = torch.from_numpy(rng.permutation(count))
    tenth = max(1, count // 10)
    return order[2 * tenth :], order[:tenth], order[tenth : 2 * tenth]


def _batches(tiles: Tensor, rng: np.random.Generator) -> list[Tensor]:
    """Split the tiles, in random order, into batches of up to 32 and nearly the same size."""
    order = tiles[torch.from_numpy(rng.permutation(len(tiles)))]
    # Small sets get smaller batches, so that they too take some steps an epoch; never one
    # frame alone, from which batch normalization cannot learn.
    count = max(-(-len(tiles) // _BATCH), min(8, len(tiles) // 8), 1)
    return list(order.tensor_split(count))


def _shown(
    data: _Set, batch: Tensor, rng: np.random.Generator, blurred: float
) -> tuple[Tensor, Tensor]:
    """One batch of tiles (n, 1, 224, 224) as they are shown this time, with their scores (n)."""
    shown = [
        augment(data.tiles[i, 0].numpy(), float(data.score[data.frame[i]]), rng, blurred)
        for i in batch.tolist()
    ]
    tiles = np.stack([tile for tile, _ in shown])[:, None]
    return torch.from_numpy(tiles), torch.tensor([score for _, score in shown])


def _predict(network: QualityNet, data: _Set, frames: Tensor, device: str) -> Tensor:
    """Scores of `frames`, averaged over their tiles as `QualityScorer` does."""
    network.eval()
    part = data.part(frames)
    with torch.inference_mode():
        chunks = [part[at : at + _BATCH] for at in range(0, len(part), _BATCH)]
        values = torch.cat([network(data.tiles[i].to(device)).cpu() for i in chunks])
    total = torch.zeros(len(data.score))
    total.index_add_(0, data.frame[part], values * data.weight[part])
    return total[frames]


def _rmse(a: Tensor, b: Tensor) -> float:
    return float(((a - b) ** 2).mean().sqrt())


def _spearman(a: Tensor, b: Tensor) -> float:
    """Spearman's rank correlation; 0 where there is nothing to rank."""
    if len(a) < 3 or float(a.std()) == 0 or float(b.std()) == 0:
        return 0.0
    return float(spearman_corrcoef(a, b))


def _figures(predicted: Tensor, target: Tensor, trained_on: Tensor) -> dict[str, float]:
    """Agreement of scores with labels, beside what knows nothing about the frame.

    `spearman_good` is the rank correlation among frames with a label of 0.5 or more, which
    is what tuning a microscope needs; `rmse_random` the expected error of the paper's random
    system, which draws its score from the training labels; `rmse_mean` that of always
    answering their mean.
    """
    good = target >= _GOOD
    return {
        "frames": len(target),
        "rmse": _rmse(predicted, target),
        "spearman": _spearman(predicted, target),
        "spearman_good": _spearman(predicted[good], target[good]),
        "rmse_random": _rmse(trained_on[None, :], target[:, None]),
        "rmse_mean": _rmse(trained_on.mean(), target),
    }


def train(
    data: Path,
    out: Path,
    *,
    seed: int = 1,
    epochs: int = 60,
    command: str = "",
    commit: str = "",
    progress: Progress | None = None,
    device: str = "cpu",
) -> dict[str, Any]:
    """Train a `QualityNet` on rated frames and write weights and model card.

    Mean squared error, AdamW with a one-cycle learning rate, frames as `augmentation` shows
    them, the blurred ones in the second half. Of that half the weights of the epoch with the
    least error on the validation part are kept, and training ends early when there was none
    better for 20 epochs.

    Parameters
    ----------
    data
        Folder with `frames.csv` and TIFFs, or a CSV (see `table.read_ratings`).
    out
        Where to write, without suffix: `<out>.safetensors` and `<out>.json`.
    seed
        Of split, initial weights and augmentation. The same seed gives the same weights on
        the same machine with the same number of threads.
    epochs
        At most.
    command, commit
        What the model card says about how to make these weights again.
    progress
        Called after each epoch.
    device
        What torch computes on.

    Returns
    -------
    dict
        The model card; `card["metrics"]["test"]` has the figures on the held-out tenth,
        `card["metrics"]["test_by_structure"]` those of each structure.

    Raises
    ------
    ValueError
        For wrong or too few data; names file, line and value.
    """
    ratings = read_ratings(Path(data))
    if len(ratings) < _FEWEST:
        raise ValueError(f"{data}: {len(ratings)} frames; accepted are {_FEWEST} or more")
    if epochs < 1:
        raise ValueError(f"epochs: {epochs}; accepted is 1 or more")
    loaded = _load(ratings)
    rng = np.random.default_rng(seed)
    parts = _split(len(ratings), rng)
    # The caller's random numbers stay the caller's.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        # torch declares no overload of `to` with device and memory format, though it takes both.
        network = QualityNet().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    history = _fit(network, loaded, parts, epochs, rng, device, progress)
    weights = {name: value.contiguous().cpu() for name, value in network.state_dict().items()}
    card: dict[str, Any] = {
        "model": "QualityNet (Robitaille et al., AAAI 2018)",
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "commit": commit,
        "torch": torch.__version__,
        "seed": seed,
        "data": _describe(Path(data), ratings, parts),
        "architecture": {"channels": list(CHANNELS), "hidden": HIDDEN},
        "input": {
            "pixels": INPUT_SIZE,
            "pixel_size_nm": PIXEL_SIZE_NM,
            "normalization": "each tile by its own 1 and 99.8 percentiles",
        },
        "training": history,
        "metrics": _evaluate(network, loaded, parts, device),
        "limits": _LIMITS,
        "notes": [],
    }
    _write(Path(out), weights, card)
    return card


def _fit(
    network: QualityNet,
    data: _Set,
    parts: tuple[Tensor, Tensor, Tensor],
    epochs: int,
    rng: np.random.Generator,
    device: str,
    progress: Progress | None,
) -> dict[str, Any]:
    """Train in place; leaves the best weights in `network` and returns what happened."""
    trained_on, validated_on, _ = parts
    mine = data.part(trained_on)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=_WEIGHT_DECAY)
    steps = epochs * len(_batches(mine, np.random.default_rng(0)))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, steps)
    best, best_epoch, best_weights = float("inf"), 0, network.state_dict()
    losses = []
    for epoch in range(1, epochs + 1):
        network.train()
        all_shown = epoch > _SHARP_ONLY * epochs
        blurred = BLURRED if all_shown else 0.0
        total = 0.0
        for batch in _batches(mine, rng):
            tiles, target = _shown(data, batch, rng, blurred)
            loss = torch.nn.functional.mse_loss(network(tiles.to(device)), target.to(device))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch has not annotated it
            optimizer.step()
            schedule.step()
            total += float(loss.detach()) * len(batch)
        losses.append(total / len(mine))
        error = _rmse(_predict(network, data, validated_on, device), data.score[validated_on])
        if all_shown and error < best:
            best, best_epoch = error, epoch
            best_weights = copy.deepcopy(network.state_dict())
        if progress is not None:
            figures = {"train_rmse": losses[-1] ** 0.5, "validation_rmse": error, "best": best}
            progress(epoch, epochs, figures)
        if all_shown and epoch - best_epoch >= _PATIENCE:
            break
    network.load_state_dict(best_weights)
    return {
        "loss": "mean squared error",
        "optimizer": f"AdamW, one cycle up to {_LEARNING_RATE:g}, batches of up to {_BATCH}",
        "augmentation": (
            f"flips and quarter turns; {EMPTY:.0%} noise without structure (score 0); in the"
            f" second half {BLURRED:.0%} blurred (see augmentation.score_left)"
        ),
        "epochs": len(losses),
        "best_epoch": best_epoch,
        "threads": torch.get_num_threads(),
        "train_rmse": [round(loss**0.5, 5) for loss in losses],
    }


def _evaluate(
    network: QualityNet, data: _Set, parts: tuple[Tensor, Tensor, Tensor], device: str
) -> dict[str, Any]:
    trained_on, validated_on, tested_on = parts
    known = data.score[trained_on]

    def figures(frames: Tensor) -> dict[str, float]:
        return _figures(_predict(network, data, frames, device), data.score[frames], known)

    by_structure = {}
    for structure in sorted(set(data.structure) - {""}):
        mine = [i for i in tested_on.tolist() if data.structure[i] == structure]
        if mine:
            by_structure[structure] = figures(torch.tensor(mine))
    return {
        "validation": figures(validated_on),
        "test": figures(tested_on),
        "test_by_structure": by_structure,
    }


def _describe(data: Path, ratings: list[Rating], parts: tuple[Tensor, ...]) -> dict[str, Any]:
    """Describe the data for the card: names and counts, and a hash of files and scores."""
    digest = hashlib.sha256()
    for rating in ratings:
        digest.update(f"{rating.path.name} {rating.score!r}\n".encode())
        digest.update(rating.path.read_bytes())
    structures: NDArray[Any] = np.array([rating.structure for rating in ratings])
    return {
        "name": data.name,
        "frames": len(ratings),
        "split": dict(zip(("train", "validation", "test"), map(len, parts), strict=True)),
        "structures": {str(s): int((structures == s).sum()) for s in np.unique(structures) if s},
        "sha256": digest.hexdigest(),
    }


def _write(out: Path, weights: dict[str, Tensor], card: dict[str, Any]) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    # Not with_suffix: a name such as "v1.2" has a dot of its own.
    file = out.with_name(out.name + ".safetensors")
    save_file(weights, file)
    card["weights_sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
    text = json.dumps(card, indent=2, ensure_ascii=False)
    out.with_name(out.name + ".json").write_text(text + "\n", encoding="utf-8")
