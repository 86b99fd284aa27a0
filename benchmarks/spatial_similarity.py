"""Which layer, and which comparison of positions, answers best: one encoder, many readings.

    imi-bench observers fetch efficientnet-lite0 --to weights
    python benchmarks/spatial_similarity.py --weights weights --shared ../shared --markdown table.md

The encoder is a trained one; on the authors' trials EfficientNet-Lite0, on trials of small networks
trained on CIFAR-10 another of these networks. All readings answer the same trials, so each is
compared with the plain one (last features, mean over references) unit by unit.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

CIFAR = "mean=0.4914,0.4822,0.4465&std=0.2470,0.2435,0.2616"
READINGS = (
    "",
    "pooling=max",
    "pooling=prototype",
    "pooling=ridge",
    "pooling=t-discriminant",
    "layer={middle}",
    "layer={middle}&spatial=max",
    "layer={middle}&spatial=gem",
    "layer={middle}&spatial=aligned",
    "layer={middle}&spatial=best-match",
    "layer={late}&spatial=best-match",
    "layer={early},{middle},{late}",
    "layer={early},{middle},{late}&pooling=t-discriminant",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--units", type=int, default=84)
    parser.add_argument("--networks", nargs="*", default=["test_byobnet", "test_resnet"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--markdown", type=Path)
    arguments = parser.parse_args()
    os.environ["IMI_BENCH_WEIGHTS"] = str(arguments.weights.resolve())
    text = small_networks(arguments) + "\n\n" + authors_trials(arguments)
    print(text)
    if arguments.markdown:
        arguments.markdown.write_text(text + "\n", encoding="utf-8")


def readings(base: str, places: dict[str, str]) -> dict[str, str]:
    """Name of each reading's observer, by what stands in the table."""
    joined = {reading: "&".join(filter(None, reading.split("&"))) for reading in READINGS}
    glue = "&" if "?" in base else "?"
    return {
        reading or "last features": base + (glue + text.format(**places) if text else "")
        for reading, text in joined.items()
    }


def authors_trials(arguments: argparse.Namespace) -> str:
    """Right answers of ten."""
    import imi_bench as imi

    trials = imi.read_trials(arguments.shared / "imi" / "stimuli", network="googlenet")
    layers = {"early": "blocks.2.0.bn3", "middle": "blocks.4.0.bn3", "late": "conv_head"}
    lines = ["| EfficientNet-Lite0 on the authors' ten trials | right |", "|---|---|"]
    for shown, name in readings("efficientnet-lite0", layers).items():
        found = imi.answer(name, trials).accuracy["all"]["main"]
        lines.append(f"| {shown} | {found.value * found.n:g} of {found.n} |")
        print(lines[-1], flush=True)
    return "\n".join(lines)


def small_networks(arguments: argparse.Namespace) -> str:
    """Proportion correct on trials of small networks, and the paired gain over the plain one."""
    import imi_bench as imi

    nets = arguments.shared / "nets"
    base = f"timm:resnet10t?checkpoint={nets / 'resnet10t.safetensors'}&image_size=32&{CIFAR}"
    layers = {"early": "layer1.0.bn2", "middle": "layer3.0.bn2", "late": "layer4.0.bn2"}
    found: dict[str, list[np.ndarray]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for network in arguments.networks:
            trials = imi.build_trials(
                f"timm:{network}?num_classes=10&input_size=32&resize=32&{CIFAR}",
                arguments.shared / "images" / "cifar10_test.npz",
                units=arguments.units,
                difficulties=["easy", "hard85"],
                batches=5,
                checkpoint=nets / f"{network}.safetensors",
                out=Path(folder) / network,
                seed=arguments.seed,
                device="cpu",
            )
            for shown, name in readings(base, layers).items():
                found.setdefault(shown, []).append(by_unit(imi.answer(name, trials), trials))
    plain = np.concatenate(found["last features"])
    lines = [
        "| ResNet-10-T on trials of small networks | correct | gain, paired |",
        "|---|---|---|",
    ]
    for shown, parts in found.items():
        values = np.concatenate(parts)
        gain = values - plain
        half = 1.96 * gain.std(ddof=1) / len(gain) ** 0.5
        lines.append(f"| {shown} | {values.mean():.3f} | {gain.mean():+.3f} ± {half:.3f} |")
    text = "\n".join([*lines, "", f"{len(plain)} units of {', '.join(arguments.networks)}."])
    print(text, flush=True)
    return text


def by_unit(run: Any, trials: Any) -> np.ndarray:
    """Proportion correct of each unit's main trials."""
    from imi_bench.tables.align import rows_of

    rows = rows_of(trials.index.trial_id, among=run.decisions.trial_id)
    index = trials.index.to_frame().assign(correct=run.decisions.credit[rows])
    return index[~index["catch"]].groupby(["layer", "unit"], sort=True)["correct"].mean().to_numpy()


if __name__ == "__main__":
    main()
