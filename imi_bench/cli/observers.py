"""`imi-bench observers`: what there is, what stands on a card, and fetching weights."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imi_bench.cli.output import AsJson, new_folder, note, print_json, print_table
from imi_bench.errors import InputError

if TYPE_CHECKING:
    from imi_bench.observers.card import ObserverCard

group = typer.Typer(no_args_is_help=True, help="The observers and their cards.")


@group.command("list")
def list_(as_json: AsJson = False) -> None:
    """List every observer by name."""
    from imi_bench.observers.card import cards
    from imi_bench.observers.catalogue import names
    from imi_bench.observers.catalogue import plugins as entry_points

    known = cards()
    plugins = [name for name in names() if name not in known]
    hidden = sorted(set(entry_points()) & set(known))
    if as_json:
        shipped = [card.to_json() for card in known.values()]
        print_json({"cards": shipped, "plugins": plugins, "hidden_plugins": hidden})
        return
    rows: list[tuple[str, ...]] = [
        (name, card.kind, card.extra or "core", _pin(card), card.title)
        for name, card in known.items()
    ]
    rows += [(name, "plug-in", "?", "?", "of another package") for name in plugins]
    print_table(["name", "kind", "needs", "weights", "title"], rows)
    for name in hidden:
        note(f"the plug-in '{name}' is not used: a shipped observer has its name")


@group.command()
def show(
    name: Annotated[
        str,
        typer.Argument(
            help="A name of `imi-bench observers list`, with options or not; timm:NAME, "
            "torchvision:NAME."
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Print one observer's card."""
    from imi_bench.observers.catalogue import described

    found = described(name)
    if as_json:
        print_json(found)
        return
    rows = [
        (f"{field}.{part}", value)
        for field, values in found.items()
        for part, value in (values.items() if isinstance(values, dict) else [("", values)])
        if value is not None
    ]
    print_table(["field", "value"], [(field.rstrip("."), value) for field, value in rows])


@group.command()
def fetch(
    names: Annotated[list[str], typer.Argument(help="Names of `imi-bench observers list`.")],
    to: Annotated[
        Path | None,
        typer.Option(
            help="Folder to copy NAME.safetensors into, for --weights elsewhere.",
            callback=new_folder,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Download weights, check them against the card, and keep them as safetensors."""
    from imi_bench.observers.catalogue import card
    from imi_bench.vision.weight_sources import fetch_weights

    chosen = [card(name) for name in dict.fromkeys(names)]
    sources = [(one.name, one.weights) for one in chosen if one.weights is not None]
    for one in chosen:
        if _pin(one) in ("package", "pinned") and one.weights is None:
            raise InputError(
                "weights that a package fetches for itself",
                where=one.name,
                do=f"imi-bench doctor --observer {one.name}, once, where it reaches its sources",
            )
        if one.weights is None:
            note(f"{one.name}: has no weights to fetch")
    fetched = [fetch_weights(source, name=name, to=to) for name, source in sources]
    if as_json:
        print_json([asdict(one) for one in fetched])
        return
    print_table(
        ["name", "checked", "SHA-256", "file"],
        [(one.name, one.checked, one.sha256[:16], one.path) for one in fetched],
    )


def _pin(card: ObserverCard) -> str:
    """What holds the weights in place: a checksum or revision, or the package that fetches them."""
    if card.weights is None and "revision" in card.parameters:
        return "pinned"
    if card.weights is None:
        return "package" if card.kind in ("embedding", "pairwise", "in-context") else "none"
    return "pinned" if card.weights.pinned else "unpinned"
