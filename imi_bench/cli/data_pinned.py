"""What `imi-bench data` prints of the forerunner's tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from imi_bench.cli.output import print_json, print_table

if TYPE_CHECKING:
    from imi_bench.release.borowski import BorowskiTable


def forerunner(file: Path | None) -> BorowskiTable | None:
    """The forerunner's table where `file` names one or is one; None for a released IMI table."""
    if file is None:
        return None
    from imi_bench.release.borowski import is_borowski, read_borowski
    from imi_bench.release.pinned import BOROWSKI
    from imi_bench.release.study_files import answers_path

    if str(file) in (BOROWSKI, f"{BOROWSKI}-II"):
        return read_borowski(answers_path(str(file)))
    return read_borowski(file) if file.suffix == ".csv" and is_borowski(file) else None


def verified(table: BorowskiTable) -> dict[str, Any]:
    """JSON object of one verified table."""
    return {
        "path": table.path,
        "checksum": "ok" if table.as_published else "another file than the pinned one",
        "rows": len(table.frame),
        "ok": table.as_published,
        "remarks": [one.to_json() for one in table.violations],
    }


def show_verified(table: BorowskiTable) -> None:
    """Print the verdict on one table."""
    state = "the pinned file" if table.as_published else "NOT the pinned file"
    typer.echo(f"{table.title}; {state} ({table.path.name})")
    for one in table.violations:
        typer.echo(f"  remark: {one}; {one.wanted}")


def show_info(table: BorowskiTable, *, as_json: bool) -> None:
    """Describe a table: counts, and means beside the published ones."""
    from imi_bench.release.borowski_results import headline, published_beside

    rows = table.frame
    facts = {
        "rows": len(rows),
        "main trials with references": int(table.main.sum()),
        "main trials without references": int(
            ((rows["kind"] == "main") & (rows["mode"] == "none")).sum()
        ),
        "catch trials": int(rows["catch"].sum()),
        "practice trials": int((rows["kind"] == "practice").sum()),
        "repeated trials": int((rows["kind"] == "repeated").sum()),
        "people": int(rows["participant"].nunique()),
        "units": len(rows.loc[table.main, ["layer", "unit"]].drop_duplicates()),
        "times of zero or less": int((rows["seconds"] <= 0).sum()),
        "study_hash": table.study().hash,
        "file_sha256": table.file_hash,
    }
    means, known = headline(table), published_beside([table])
    if as_json:
        print_json(
            {
                **facts,
                "means": means.to_dict("records"),
                "published": known.to_dict("records"),
            }
        )
        return
    print_table(
        ["fact", "value"],
        [(n, f"{v:,}" if isinstance(v, int) else str(v)) for n, v in facts.items()],
        title=f"Answers of people: Borowski et al. 2021, experiment {table.experiment}",
    )
    print_table(
        ["references", "kind", "people", "answers", "mean [95%]"],
        [
            (r.condition, r.mode, r.people, r.answers, f"{r.mean:.3f} [{r.low:.3f}, {r.high:.3f}]")
            for r in means.itertuples()
        ],
        title="Proportion correct, mean over people (Student's t)",
        right=("people", "answers"),
    )
    print_table(
        ["published", "", "again", "same"],
        [
            (
                r.what,
                f"{r.published} ± {r.published_half} %",
                f"{r.mean:.1f} ± {r.half:.1f} %",
                "yes" if r.same else "NO",
            )
            for r in known.itertuples()
        ],
        title="Beside the abstract (1.96 standard errors over people)",
    )
