"""How much the batch size moves activations, embeddings, exemplars and scores of `mis`.

    python benchmarks/batch_size.py --images FOLDER --networks timm:NAME ... [--batches 64 1 7]

Kernels add in another order in batches of another size, so that activations differ by rounding;
nearly equal ones change places, and with them exemplars. Each network runs in the first batch size
and in the others, with the observer in the same; the table compares with the first.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from imi_bench.mis.interpretability import machine_interpretability
from imi_bench.networks.activation_record import Activations


def main() -> None:
    """Run and print one Markdown row a network and batch size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--networks", nargs="+", required=True)
    parser.add_argument("--observer", default="timm:test_vit?pretrained=false")
    parser.add_argument("--batches", type=int, nargs="+", default=[64, 1, 7])
    parser.add_argument("--quantile", type=float, default=0.2)
    arguments = parser.parse_args()
    print(
        "| network | batch | units | spread moved, median (largest) | other exemplars, units "
        "| other first exemplar, units | MIS moved, mean (largest) | hard score moved, units "
        "(largest) | mean MIS | mean hard |\n|" + "---|" * 10
    )
    for network in arguments.networks:
        first = None
        for batch in arguments.batches:
            with tempfile.TemporaryDirectory() as folder:
                done = machine_interpretability(
                    network,
                    arguments.images,
                    observer=arguments.observer,
                    slope=10.0,
                    quantile=arguments.quantile,
                    batch_size=batch,
                    device="cpu",
                    out=folder,
                )
                kept = Activations.load(Path(folder) / "activations" / "activations.npz")
                codes = np.load(Path(folder) / "embeddings.npy")
            found = done.scores.set_index(["layer", "unit"])
            if first is None:
                first = (found, kept, codes)
                continue
            print(row(network, batch, first, (found, kept, codes)), flush=True)


def row(network: str, batch: int, first: tuple, other: tuple) -> str:
    """One row of the table."""
    (scores, kept, codes), (scores2, kept2, codes2) = first, other
    same = (scores["reason"] == scores2["reason"]).all()
    scored = ((scores["reason"] == "") & (scores2["reason"] == "")).to_numpy()
    spread = np.maximum(kept.spread, 1e-30)
    moved = np.maximum(
        abs(kept.top_values - kept2.top_values).max(1),
        abs(kept.bottom_values - kept2.bottom_values).max(1),
    )
    share = (moved / spread)[scored]
    exemplars = np.zeros(len(kept.spread), bool)
    leaders = exemplars.copy()
    for one, two in (
        (kept.top_images, kept2.top_images),
        (kept.bottom_images, kept2.bottom_images),
    ):
        exemplars |= (np.sort(one, 1) != np.sort(two, 1)).any(1)
        leaders |= one[:, 0] != two[:, 0]
    mis = abs(scores["score"] - scores2["score"])[scored]
    hard = abs(scores["hard_score"] - scores2["hard_score"])[scored]
    length = np.linalg.norm(codes, axis=1)
    code = (np.linalg.norm(codes - codes2, axis=1) / length).max()
    cells = (
        network,
        batch,
        f"{scored.sum():,}{'' if same else ' (other reasons)'}",
        f"{np.median(share):.1e} ({share.max():.1e}); codes {code:.1e}",
        exemplars[scored].sum(),
        leaders[scored].sum(),
        f"{mis.mean():.1e} ({mis.max():.1e})",
        f"{(hard > 0).sum()} ({hard.max():.2f})",
        *(
            f"{scores[one].mean():.6f} / {scores2[one].mean():.6f}"
            for one in ("score", "hard_score")
        ),
    )
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    main()
