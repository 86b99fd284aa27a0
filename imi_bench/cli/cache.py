"""`imi-bench cache`: what is kept on disk, and emptying it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imi_bench.cli.output import AsJson, note, print_json, print_table

if TYPE_CHECKING:
    import pandas as pd

Folder = Annotated[Path | None, typer.Option("--cache", help="Another cache than the user's own.")]

group = typer.Typer(no_args_is_help=True, help="What is kept on disk, and emptying it.")


@group.command()
def info(cache: Folder = None, as_json: AsJson = False) -> None:
    """List what the cache holds, largest first."""
    from imi_bench.places import cache_folder
    from imi_bench.replay.cache_folder import cache_info

    found = cache_info(cache)
    if as_json:
        print_json(found.to_dict("records"))
        return
    _show(found, title=str(cache or cache_folder()))


@group.command()
def prune(
    kind: Annotated[
        list[str] | None,
        typer.Option(
            help="codes, answers, pairs, pixels, file-hashes, weights; all but weights if none."
        ),
    ] = None,
    days: Annotated[float, typer.Option(help="Only what nothing was written to so long.")] = 0.0,
    yes: Annotated[bool, typer.Option("--yes", help="Remove; otherwise only listed.")] = False,
    cache: Folder = None,
    as_json: AsJson = False,
) -> None:
    """Remove what can be computed again; without --yes only list it."""
    from imi_bench.replay.cache_folder import prune_cache

    gone = prune_cache(cache, kinds=kind, days=days, remove=yes)
    if as_json:
        print_json({"removed": yes, "folders": gone.to_dict("records")})
        return
    _show(gone, title="removed" if yes else "would be removed")
    if not yes and len(gone):
        note("nothing was removed: add --yes")


def _show(found: pd.DataFrame, *, title: str) -> None:
    print_table(
        ["kind", "of", "folder", "MB", "files", "days"],
        [
            (
                row["kind"],
                row["of"],
                row["name"] if row["kind"] == "weights" else str(row["name"])[:24],
                f"{float(row['bytes']) / 1e6:.1f}",
                row["files"],
                f"{float(row['days']):.1f}",
            )
            for row in found.to_dict("records")
        ],
        title=f"{title}: {found['bytes'].sum() / 1e6:.1f} MB",
        right=["MB", "files", "days"],
    )
