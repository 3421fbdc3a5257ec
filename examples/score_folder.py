"""Score every TIFF of a folder with the quality network, the best first.

python examples/score_folder.py FOLDER --pixel-size-nm 20
"""

from __future__ import annotations

import argparse
from pathlib import Path

import tifffile

from models.quality import QualityScorer


def main() -> None:
    """Score what the command line names."""
    asked = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    asked.add_argument("folder", type=Path)
    asked.add_argument("--pixel-size-nm", type=float, default=20.0)
    args = asked.parse_args()
    scorer = QualityScorer()
    files = sorted(args.folder.glob("*.tif*"))
    scores = {file: scorer.score(tifffile.imread(file), args.pixel_size_nm) for file in files}
    for file in sorted(files, key=lambda file: scores[file].value, reverse=True):
        score = scores[file]
        print(f"{score.value:.3f} ± {score.sd:.3f}  {file.name}  {', '.join(score.flags)}")


if __name__ == "__main__":
    main()
