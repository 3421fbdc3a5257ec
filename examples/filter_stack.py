"""Filter each plane of a TIFF stack and keep the standard deviation per pixel beside it.

python examples/filter_stack.py STACK.tif OUT.tif --model actin
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import tifffile

from models.restoration import Restorer


def main() -> None:
    """Filter what the command line names."""
    asked = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    asked.add_argument("stack", type=Path)
    asked.add_argument("out", type=Path)
    asked.add_argument("--model", default="actin", help="a bundled model, or a .safetensors file")
    args = asked.parse_args()
    planes = tifffile.imread(args.stack)
    restorer = Restorer(args.model)
    done = [restorer.restore(plane) for plane in planes.reshape(-1, *planes.shape[-2:])]
    images = np.stack([np.stack([one.image, one.sd]) for one in done]).astype(np.float32)
    tifffile.imwrite(args.out, images, imagej=True, metadata={"axes": "TCYX"})
    for number, one in enumerate(done):
        print(f"plane {number}: uncertainty {one.uncertainty:.3f}, computed on {one.device}")


if __name__ == "__main__":
    main()
