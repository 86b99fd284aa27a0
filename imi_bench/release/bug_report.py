"""One page for a bug report on a table that is not as expected, without participants' answers.

It holds what the schema's reader said, the columns with their types and counts of distinct values,
and numbers of rows. No cell of a row is in it: of columns that name people or say what they
answered not even the values; of the others only words that the schema knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv

from imi_bench.arguments import checked
from imi_bench.errors import ImiBenchError
from imi_bench.provenance import check_name, package_versions, sha256_file, write_text
from imi_bench.release.cells import OPTIONAL, REQUIRED
from imi_bench.release.table import inspect_release
from imi_bench.text import markdown


@checked
def write_bug_report(tables: Sequence[Path], path: Path) -> Path:
    """Write the page of `bug_report`, into a file whose name ends in ``.md``."""
    check_name(path, ".md", what="bug report")
    body = "\n".join(bug_report(table) for table in tables)
    write_text(path, f"# Tables of answers that are not as expected\n\n{body}")
    return path


def bug_report(table: Path) -> str:
    """Markdown on one table: its schema and what breaks it.

    Parameters
    ----------
    table : Path
        A CSV file, whatever is wrong with it.
    """
    lines = [
        f"## {markdown(table.name)}",
        "",
        f"- bytes: {table.stat().st_size:,}" if table.is_file() else "- no such file",
        f"- SHA-256: {sha256_file(table)}" if table.is_file() else "- SHA-256: none",
        "- versions: " + markdown(", ".join(f"{k} {v}" for k, v in package_versions().items())),
        "",
    ]
    try:
        found = inspect_release(table)
        lines += [f"- rows read: {len(found):,}, left out: {found.skipped:,}", ""]
        lines += ["| column | problem | wanted | rows |", "|---|---|---|---|"]
        lines += [
            f"| {markdown(v.column)} | {markdown(v.problem)} | {markdown(v.wanted)} | "
            f"{len(v.rows):,} |"
            for v in found.violations
        ] or ["| none | | | |"]
    except ImiBenchError as error:
        lines.append(f"The reader refuses it: {markdown(error.what)}.")
    return "\n".join([*lines, "", *_columns(table), ""])


def _columns(table: Path) -> list[str]:
    """Every column: whether the schema knows it, its type, empty cells, distinct values."""
    try:
        read = pa_csv.read_csv(table)
    except (pa.ArrowInvalid, OSError, UnicodeDecodeError):
        return ["The file cannot be split into columns."]
    named = sum(name in read.column_names for name in REQUIRED) >= len(REQUIRED) / 2
    lines = ["| column | known | type | empty | distinct |", "|---|---|---|---|---|"]
    for place, name in enumerate(read.column_names, 1):
        # Without a header the first row of answers stands where the names should.
        shown = markdown(name) if named or name in REQUIRED else f"column {place}"
        column = read[name]
        kind = "required" if name in REQUIRED else "read" if name in OPTIONAL else "not read"
        distinct = len(column.unique())
        lines.append(f"| {shown} | {kind} | {column.type} | {column.null_count:,} | {distinct:,} |")
    missing = [name for name in REQUIRED if name not in read.column_names]
    return [*lines, "", f"Missing: {', '.join(missing) or 'none'}."]
