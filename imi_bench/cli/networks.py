"""`imi-bench networks`: which networks there are, and what units they have."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from imi_bench.cli import network_options as options
from imi_bench.cli.output import AsJson, note, print_json, print_table
from imi_bench.text import plural

if TYPE_CHECKING:
    from imi_bench.vision.layers import Layer

group = typer.Typer(no_args_is_help=True, help="Networks whose units are judged.")


@group.command("list")
def list_networks(as_json: AsJson = False) -> None:
    """List the networks of the paper with their scale."""
    from imi_bench.vision.card import COVARIATES, card, covariates

    table = covariates()
    if as_json:
        print_json(table.to_dict("records"))
        return
    print_table(
        ("network", "label", "weights", *COVARIATES),
        [
            (
                row["network"],
                row["label"],
                card(row["network"]).weights.origin,
                f"{row['parameters']:,.0f}",
                f"{row['training_images']:,.0f}",
                f"{row['top1']:.4f}",
                f"{row['year']:.0f}",
            )
            for row in table.to_dict("records")
        ],
        right=COVARIATES,
        spare=("weights", "year"),
    )


@group.command()
def show(
    network: Annotated[str, typer.Argument(help="A name of `networks list`, or a card's path.")],
    as_json: AsJson = False,
) -> None:
    """Show a network's card: weights, preprocessing, layer rule, covariates and their sources."""
    from imi_bench.vision.card import resolve

    described = resolve(network)[0].model_dump(mode="json", exclude_none=True)
    if as_json:
        print_json(described)
        return
    facts = described.pop("covariates")
    facts |= {f"families.{name}": fact for name, fact in described.pop("families").items()}
    rows = [
        (name if key is None else f"{name}.{key}", part)
        for name, value in described.items()
        for key, part in (value.items() if isinstance(value, dict) else [(None, value)])
        if part not in ("", {}, None)
    ]
    for name, fact in facts.items():
        value = fact["value"] if isinstance(fact["value"], str) else f"{fact['value']:.10g}"
        rows.append((name, f"{value}  ({fact['source']})"))
    print_table(("field", "value"), rows)


def _map(layer: Layer) -> str:
    """Sizes of a layer's positions; windows of an image that share the batch axis come first."""
    windows = layer.shape[layer.batch_axis]
    sides = [layer.shape[axis] for axis in layer.positions]
    return "x".join(map(str, ([windows] if windows > 1 else []) + sides))


@group.command()
def units(
    network: options.Network,
    checkpoint: options.Checkpoint = None,
    random: options.Random = False,
    layers: options.Layers = None,
    input_size: options.InputSize = None,
    sample: Annotated[
        int, typer.Option(help="Draw this many units: a layer uniformly, then a channel.")
    ] = 0,
    seed: options.Seed = 0,
    as_json: AsJson = False,
) -> None:
    """List a network's layers with type, depth and width, or draw units from them.

    Weights are neither needed nor fetched: only the architecture is built.
    """
    from imi_bench.arguments import refuse_idle
    from imi_bench.networks.units import sample_units
    from imi_bench.vision.loading import load_network

    refuse_idle(
        "seed", seed, free=0, unless=bool(sample or random), do="add sample= or random=True"
    )
    loaded = load_network(
        network,
        checkpoint=checkpoint,
        pretrained=not random,
        layers=layers,
        input_size=input_size,
        seed=seed,
        device="cpu" if ".py:" in network else "meta",
    )
    if sample:
        drawn = [str(unit) for unit in sample_units(loaded.layers, sample, seed=seed)]
        print_json({"units": drawn}) if as_json else typer.echo("\n".join(drawn))
        return
    if as_json:
        print_json([asdict(layer) for layer in loaded.layers])
        for line in loaded.cautions:
            note(line)
        return
    print_table(
        ("layer", "type", "depth", "width", "map"),
        [
            (
                layer.name,
                layer.type,
                f"{layer.depth:.3f}",
                layer.width,
                _map(layer),
            )
            for layer in loaded.layers
        ],
        title=f"{loaded.name}: {plural(len(loaded.layers), 'layer')}, "
        f"{plural(loaded.width, 'unit')}",
        right=("depth", "width", "map"),
    )
    if loaded.left_out:
        print_table(
            ("left out", "type", "why"),
            [(one.name, one.type, one.reason) for one in loaded.left_out],
            title=f"{plural(len(loaded.left_out), 'module')} whose units cannot be read",
        )
    for line in loaded.cautions:
        if not line.startswith("left out"):
            note(line)
