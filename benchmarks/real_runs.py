"""Scale, layer and difficulty over small real networks, and why observers need calibration.

    python benchmarks/real_runs.py --shared ../shared --json real_runs.json --markdown table.md

Builds trials from every network of `SHARED/nets` (timm architectures trained on CIFAR-10) and
from the same architectures with random weights, on CIFAR-10's test images, and lets observers
answer them. A stand-in for the paper's networks and ImageNet: real networks and real images, but
small ones, and no human answers.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from measuring import means, means_table, write_record

NORMALISATION = "mean=0.4914,0.4822,0.4465&std=0.2470,0.2435,0.2616"
OPTIONS = f"num_classes=10&input_size=32&resize=32&{NORMALISATION}"
VIEW = f"image_size=32&{NORMALISATION}"
DIFFICULTIES = ("easy", "hard95", "hard85")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--units", type=int, default=84)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--network", nargs="*", help="some networks only")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path, help="write the tables here")
    arguments = parser.parse_args()

    import torch

    torch.set_num_threads(1)
    facts = json.loads((arguments.shared / "nets" / "nets.json").read_text())
    encoder = arguments.shared / "nets" / "resnet10t.safetensors"
    observers = {
        "trained encoder": f"timm:resnet10t?checkpoint={encoder}&{VIEW}",
        "pixels": "pixel-cosine",
        "chance": "chance",
    }
    rows = []
    for name in arguments.network or facts:
        for weights in ("trained", "random"):
            part = _answer(name, weights, observers, arguments)
            rows.append(part.assign(architecture=name, weights=weights, **_scale(facts, name)))
            print(f"{name} {weights}: {len(part)} answers", flush=True)
    table = pd.concat(rows, ignore_index=True)
    text = "\n\n".join(_tables(table))
    print(text)
    if arguments.markdown:
        arguments.markdown.write_text(text + "\n", encoding="utf-8")
    if arguments.json:
        from imi_bench.provenance import package_versions

        record = {"units": arguments.units, "seed": arguments.seed, "versions": package_versions()}
        told = means(table, ["architecture", "weights", "difficulty", "observer"])
        write_record(arguments.json, record | {"means": told.reset_index().to_dict("records")})


def _scale(facts: dict[str, Any], name: str) -> dict[str, float]:
    return {"parameters": facts[name]["params"], "top1": facts[name]["top1"]}


def _answer(
    name: str, weights: str, observers: dict[str, str], arguments: argparse.Namespace
) -> pd.DataFrame:
    """Whether each observer is right on each trial: 1, 0, or one half for a tie."""
    from imi_bench.networks.activations import collect_activations
    from imi_bench.networks.exemplars import Design
    from imi_bench.networks.trial_folder import assemble_trials
    from imi_bench.networks.units import sample_units
    from imi_bench.observers.catalogue import load_observer
    from imi_bench.observers.reference import ideal
    from imi_bench.replay.runner import replay
    from imi_bench.tables.align import rows_of
    from imi_bench.vision.loading import load_network

    trained = weights == "trained"
    network = load_network(
        f"timm:{name}?{OPTIONS}",
        checkpoint=arguments.shared / "nets" / f"{name}.safetensors" if trained else None,
        pretrained=trained,
        seed=arguments.seed,
        device="cpu",
    )
    images = arguments.shared / "images" / "cifar10_test.npz"
    units = sample_units(network.layers, arguments.units, seed=arguments.seed)
    found = collect_activations(network, images, layers=[], sampled=units)
    designs = [Design(difficulty) for difficulty in DIFFICULTIES]
    built = assemble_trials(
        found, images, designs=designs, catch=False, crop=None, seed=arguments.seed
    )
    print(f"{network.name}: {len(built.left_out)} of {len(units) * len(designs)} left out")
    trials = built.trials
    decisions = {"ideal": ideal(trials, trials.blind(seed=arguments.seed).key)}
    with tempfile.TemporaryDirectory() as cache:
        for label, reference in observers.items():
            observer = load_observer(reference, device="cpu", seed=arguments.seed)
            decisions[label] = replay(
                observer, trials, seed=arguments.seed, cache=Path(cache)
            ).decisions
    shown = trials.index.to_frame().merge(
        found.covariates()[["layer", "unit", "type", "depth", "width"]], on=["layer", "unit"]
    )
    parts = []
    for label, decided in decisions.items():
        rows = rows_of(shown["trial_id"], among=decided.trial_id)
        parts.append(shown.assign(observer=label, correct=decided.credit[rows]))
    return pd.concat(parts, ignore_index=True)


def _tables(table: pd.DataFrame) -> list[str]:
    seen = table[~table["observer"].isin(["ideal", "chance"])]
    easy = seen[seen["difficulty"] == "easy"]
    trained = seen[seen["weights"] == "trained"].copy()
    trained["third"] = pd.cut(
        trained["depth"], [-0.01, 1 / 3, 2 / 3, 1], labels=["first", "second", "last"]
    ).astype(str)
    by_depth = trained[trained["difficulty"] == "easy"].sort_values("depth", kind="stable")
    references = table[table["observer"].isin(["ideal", "chance"])]
    return [
        "### Trained against random weights (easy trials)\n\n"
        + means_table(easy, ["architecture"], ["observer", "weights"]),
        "### The interaction: how much more the trained encoder gains over pixels when the network "
        "is trained (easy trials)\n\n" + _interaction(easy),
        "### Difficulty and scale (trained networks)\n\n"
        + means_table(trained, ["architecture", "parameters", "top1"], ["observer", "difficulty"]),
        "### Scale: slopes over the five trained networks\n\n" + _slopes(trained),
        "### Position of the layer, by thirds (trained networks, easy trials)\n\n"
        + means_table(by_depth, ["architecture"], ["observer", "third"]),
        "### Type of the layer (trained networks, easy trials)\n\n"
        + means_table(by_depth, ["type"], ["observer"]),
        "### Reference observers (all networks)\n\n"
        + means_table(references, ["observer"], ["difficulty"]),
    ]


def _slopes(trained: pd.DataFrame) -> str:
    """Least squares over network means, with a 95% t interval: few points, so wide ones."""
    import statsmodels.api as sm

    told = means(trained, ["observer", "difficulty", "architecture", "parameters", "top1"])
    text = [
        "| observer | difficulty | per tenfold parameters | per 0.1 of top-1 |",
        "|---|---|---|---|",
    ]
    for (observer, difficulty), part in told["mean"].groupby(
        ["observer", "difficulty"], sort=False
    ):
        level = part.index.get_level_values
        cells = []
        for scale in (np.log10(level("parameters").to_numpy()), level("top1").to_numpy() / 0.1):
            fit = sm.OLS(part.to_numpy(), sm.add_constant(scale)).fit()
            low, high = fit.conf_int()[1]
            cells.append(f"{fit.params[1]:+.3f} [{low:+.3f}, {high:+.3f}]")
        text.append(f"| {observer} | {difficulty} | {cells[0]} | {cells[1]} |")
    return "\n".join(text)


def _interaction(easy: pd.DataFrame) -> str:
    """(Encoder minus pixels) on trained networks, minus the same on random ones.

    The two observers answer the same trials, so their difference is taken unit by unit.
    """
    by = ["architecture", "weights", "layer", "unit"]
    unit = easy.groupby([*by, "observer"], sort=False)["correct"].mean().unstack("observer")
    ahead = (unit["trained encoder"] - unit["pixels"]).groupby(by[:2], sort=False)
    middle, variances = ahead.mean().unstack(), (ahead.var() / ahead.count()).unstack()
    text = [
        "| architecture | encoder - pixels, trained | random | interaction |",
        "|---|---|---|---|",
    ]
    for name in middle.index:
        trained, random = middle.loc[name, "trained"], middle.loc[name, "random"]
        half = 1.96 * float(variances.loc[name].sum()) ** 0.5
        text.append(
            f"| {name} | {trained:+.3f} | {random:+.3f} | {trained - random:+.3f} ± {half:.3f} |"
        )
    return "\n".join(text)


if __name__ == "__main__":
    main()
