"""Small models as the BioImage Model Zoo has them: a description, weights and test tensors."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

WEIGHTS = "weights.pt"
KERNEL = np.array([[0, 1, 0], [1, 2, 1], [0, 1, 2]]) / 8
"""Not symmetric, so that a mirrored frame gives something else."""


class Smooth(nn.Module):
    """One convolution; what lies beyond the edges is 0."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kernel", torch.tensor(KERNEL, dtype=torch.float32)[None, None])

    def forward(self, frame: Tensor) -> Tensor:
        """Frames of one channel."""
        return functional.conv2d(frame, self.kernel, padding=1)


class Failing(nn.Module):
    """Fails for bright frames."""

    def forward(self, frame: Tensor) -> Tensor:
        """Frames of one channel."""
        if float(frame.max()) > 100:
            return frame.reshape(-1)[:, None].matmul(frame)
        return frame


def smoothed(frame: NDArray[Any]) -> NDArray[np.float64]:
    """What `Smooth` makes of a frame that is continued by its mirror image."""
    beyond = np.pad(frame.astype(np.float64), 1, mode="symmetric")
    rows, columns = frame.shape
    return sum(
        (KERNEL[y, x] * beyond[y : y + rows, x : x + columns] for y in range(3) for x in range(3)),
        np.zeros(frame.shape),
    )


def axis(name: str, size: Any, **more: Any) -> dict[str, Any]:
    """A space axis."""
    return {"type": "space", "id": name, "size": size, **more}


def described(**changes: Any) -> dict[str, Any]:
    """A description of version 0.5; `inputs`, `outputs`, `weights` and others may be changed."""
    lengths = {"min": 16, "step": 4}

    def lead() -> list[dict[str, Any]]:
        return [{"type": "batch"}, {"type": "channel", "channel_names": ["light"]}]

    same = [{"tensor_id": "raw", "axis_id": name} for name in "yx"]
    return {
        "format_version": "0.5.4",
        "type": "model",
        "name": "small smoother",
        "description": "one convolution, for tests",
        "authors": [{"name": "A Person"}],
        "cite": [{"text": "nobody", "doi": "10.1234/none"}],
        "license": "MIT",
        "documentation": "README.md",
        "inputs": [
            {
                "id": "raw",
                "axes": [*lead(), axis("y", lengths), axis("x", lengths)],
                "test_tensor": {"source": "in.npy"},
            }
        ],
        "outputs": [
            {
                "id": "smooth",
                "axes": [*lead(), axis("y", same[0], halo=2), axis("x", same[1], halo=2)],
                "test_tensor": {"source": "out.npy"},
            }
        ],
        "weights": {"torchscript": {"source": WEIGHTS, "pytorch_version": "2.6"}},
        **changes,
    }


def scripted(network: nn.Module) -> bytes:
    """A network as TorchScript."""
    data = io.BytesIO()
    torch.jit.save(torch.jit.script(network.eval()), data)
    return data.getvalue()


def files_of(content: dict[str, Any], weights: bytes = b"", **more: bytes) -> dict[str, bytes]:
    """The files of a package by name."""
    for entry in content["weights"].values():
        if entry.get("source") == WEIGHTS:
            entry.setdefault("sha256", hashlib.sha256(weights).hexdigest())
    data = io.BytesIO()
    np.save(data, np.zeros((1, 1, 16, 16), np.float32))
    tensors = {"in.npy": data.getvalue(), "out.npy": data.getvalue()}
    text = yaml.safe_dump(content).encode()
    return {"rdf.yaml": text, WEIGHTS: weights, "README.md": b"# small\n", **tensors, **more}


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    """A package as one file."""
    with zipfile.ZipFile(path, "w") as opened:
        for name, data in files.items():
            opened.writestr(name, data)
    return path


def beside(folder: Path, files: dict[str, bytes]) -> Path:
    """A package as a folder; its description."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder / "rdf.yaml"
