"""`imi-bench observers`: what there is, and what stands on a card."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from imi_bench.cli.output import AsJson, print_json, print_table

if TYPE_CHECKING:
    from imi_bench.observers.card import ObserverCard


def register(app: typer.Typer) -> None:
    """Add the group to the program."""
    group = typer.Typer(no_args_is_help=True, help="The observers and their cards.")
    group.command("list")(list_)
    group.command()(show)
    app.add_typer(group, name="observers")


def list_(as_json: AsJson = False) -> None:
    """List every observer by name."""
    from imi_bench.observers.card import cards
    from imi_bench.observers.catalogue import names

    known = cards()
    plugins = [name for name in names() if name not in known]
    if as_json:
        shipped = [card.to_json() for card in known.values()]
        print_json({"cards": shipped, "plugins": plugins})
        return
    rows: list[tuple[str, ...]] = [
        (name, card.kind, card.extra or "core", _pin(card), card.title)
        for name, card in known.items()
    ]
    rows += [(name, "plug-in", "?", "?", "of another package") for name in plugins]
    print_table(["name", "kind", "needs", "weights", "title"], rows)


def show(
    name: Annotated[str, typer.Argument(help="A name of `imi-bench observers list`.")],
    as_json: AsJson = False,
) -> None:
    """Print one observer's card."""
    from imi_bench.observers.catalogue import card

    found = card(name).to_json()
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


def _pin(card: ObserverCard) -> str:
    if card.weights is None:
        return "none"
    return "pinned" if card.weights.revision else "unpinned"
