"""A real ImageNet network without a model hub: as observer, and as the network that is judged.

    imi-bench observers fetch efficientnet-lite0 efficientnet-lite1 --to weights
    python benchmarks/real_weights.py --weights weights --shared ../shared --markdown tables.md

EfficientNet-Lite0 (trained on ImageNet-1k, or with random weights) is judged on ImageNet
photographs by EfficientNet-Lite1 and by observers that learnt nothing; the same observers answer
the authors' own trials. No human answers: proportions correct of machines alone.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from measuring import means_table

NETWORK = "timm:tf_efficientnet_lite0"
OBSERVERS = ("efficientnet-lite1", "classical", "pixel-cosine")
THIRDS = ("first third", "second third", "last third")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--weights", type=Path, required=True, help="folder of fetched weights")
    parser.add_argument("--units", type=int, default=84)
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument("--observers", nargs="*", default=list(OBSERVERS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--markdown", type=Path, help="write the tables here")
    parser.add_argument("--sheets", type=Path, help="folder for contact sheets")
    arguments = parser.parse_args()
    os.environ["IMI_BENCH_WEIGHTS"] = str(arguments.weights.resolve())

    import torch

    torch.set_num_threads(1)
    parts = []
    for part in arguments.parts:
        parts += PARTS[part](arguments)
        print(parts[-1], flush=True)
    if arguments.markdown:
        arguments.markdown.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def trials_of_units(arguments: argparse.Namespace) -> list[str]:
    """Trials of sampled units, by weights, difficulty and position."""
    both = [answered(weights, arguments) for weights in ("trained", "random")]
    trials = pd.concat(both, ignore_index=True)
    easy = trials[(trials["weights"] == "trained") & (trials["difficulty"] == "easy")]
    return [
        "### Trials of sampled units: proportion correct\n\n"
        + means_table(trials, ["weights", "difficulty"], ["observer"]),
        "### The same by position of the layer (trained network, easy trials)\n\n"
        + means_table(easy.sort_values("depth"), ["third"], ["observer"]),
    ]


def scores_of_units(arguments: argparse.Namespace) -> list[str]:
    """Machine interpretability of all units, by weights and position."""
    both = [machine_scores(weights, arguments) for weights in ("trained", "random")]
    scores = pd.concat(both, ignore_index=True).sort_values("depth", kind="stable")
    return [
        "### Machine interpretability: mean hard score of all units\n\n"
        + means_table(scores, ["weights", "observer"], ["third"], "hard_score"),
    ]


def authors_trials(arguments: argparse.Namespace) -> list[str]:
    """Right answers on the trials whose pictures the authors published."""
    import imi_bench as imi

    trials = imi.read_trials(arguments.shared / "imi" / "stimuli", network="googlenet")
    names = [f"efficientnet-lite{i}" for i in (0, 1, 2)]
    names += ["timm:tf_efficientnet_lite0?pretrained=false", "classical", "pixel-cosine", "chance"]
    lines = ["| observer | natural | synthetic | all |", "|---|---|---|---|"]
    for name in names:
        run = imi.answer(name, trials)
        found = {key: value for part in run.accuracy.values() for key, value in part.items()}
        cells = [f"{found[k].value * found[k].n:g} of {found[k].n}" for k in KINDS]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return ["### The authors' trials\n\n" + "\n".join(lines)]


KINDS = ("natural", "synthetic", "main")


def accuracies(arguments: argparse.Namespace) -> list[str]:
    """Top-1 on the sample of photographs, whose files' names begin with their WordNet id."""
    import torch
    from timm.data import ImageNetInfo

    from imi_bench.networks.collection import open_images
    from imi_bench.vision.loading import load_network

    folder = arguments.shared / "images" / "imagenet1k_sample"
    images, info = open_images(folder), ImageNetInfo()
    index = {name: number for number, name in enumerate(info.label_names())}
    wanted = [index[str(name).split("_")[0]] for name in images.names]
    lines = ["| network | top-1 |", "|---|---|"]
    for number, weights in ((0, "trained"), (1, "trained"), (2, "trained"), (0, "random")):
        checkpoint = arguments.weights / f"efficientnet-lite{number}.safetensors"
        trained = weights == "trained"
        network = load_network(
            f"timm:tf_efficientnet_lite{number}",
            checkpoint=checkpoint if trained and checkpoint.is_file() else None,
            pretrained=trained,
            seed=arguments.seed,
            device="cpu",
        )
        said = []
        for start in range(0, len(images), 32):
            pixels = [
                network.preprocess.pixels(images.read(i))
                for i in range(start, min(start + 32, len(images)))
            ]
            batch = network.preprocess.normalise(torch.from_numpy(np.stack(pixels)))
            with torch.inference_mode():
                said += network.module(batch).argmax(1).tolist()
        right = np.mean(np.equal(said, wanted))
        lines.append(f"| EfficientNet-Lite{number}, {weights} | {right:.3f} |")
    return ["### ImageNet accuracy of what is judged and what judges\n\n" + "\n".join(lines)]


def answered(weights: str, arguments: argparse.Namespace) -> pd.DataFrame:
    """Each observer's answers to trials of sampled units: 1, 0, or one half for a tie."""
    import imi_bench as imi
    from imi_bench.tables.align import rows_of

    with tempfile.TemporaryDirectory() as folder:
        trials = imi.build_trials(
            NETWORK,
            arguments.shared / "images" / "imagenet1k_sample",
            units=arguments.units,
            difficulties=["easy", "hard95"],
            batches=3,
            out=Path(folder) / "trials",
            seed=arguments.seed,
            device="cpu",
            **_weights(weights, arguments),
        )
        print(f"{weights}: {len(trials)} trials", *trials.notes, sep="\n  ", flush=True)
        if arguments.sheets:
            arguments.sheets.mkdir(parents=True, exist_ok=True)
            picture = trials.where(difficulty="easy", catch=False)[:24:3].show(slice(None), tile=48)
            picture.save(arguments.sheets / f"efficientnet-lite0-{weights}.png")
        facts = pd.read_parquet(Path(folder) / "trials" / "units.parquet")
        index = trials.index.to_frame().merge(
            facts[["layer", "unit", "depth"]], on=["layer", "unit"]
        )
        parts = []
        for name in arguments.observers:
            decided = imi.answer(name, trials, seed=arguments.seed).decisions
            rows = rows_of(index["trial_id"], among=decided.trial_id)
            parts.append(index.assign(observer=name, correct=decided.credit[rows]))
        frame = pd.concat(parts, ignore_index=True)
        return frame[~frame["catch"]].assign(weights=weights, third=_third(frame["depth"]))


def machine_scores(weights: str, arguments: argparse.Namespace) -> pd.DataFrame:
    """Machine interpretability of every unit, by two observers."""
    import imi_bench as imi

    parts = []
    for name in arguments.observers[:2]:
        scores = imi.machine_interpretability(
            NETWORK,
            arguments.shared / "images" / "imagenet1k_sample",
            observer=name,
            quantile=0.05,
            seed=arguments.seed,
            device="cpu",
            **_weights(weights, arguments),
        ).to_frame()
        scores["observer"] = name
        parts.append(scores)
        print(f"{weights}, {name}: {len(scores)} units", flush=True)
    found = pd.concat(parts, ignore_index=True)
    return found.assign(weights=weights, third=_third(found["depth"]))


def _weights(weights: str, arguments: argparse.Namespace) -> dict[str, Any]:
    if weights == "random":
        return {"pretrained": False}
    return {"checkpoint": arguments.weights / "efficientnet-lite0.safetensors"}


def _third(depth: pd.Series) -> pd.Series:
    return pd.cut(depth, [-0.01, 1 / 3, 2 / 3, 1], labels=list(THIRDS)).astype(str)


PARTS = {
    "authors": authors_trials,
    "accuracy": accuracies,
    "trials": trials_of_units,
    "mis": scores_of_units,
}

if __name__ == "__main__":
    main()
