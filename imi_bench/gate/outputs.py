"""The gate's answer for machines and pull requests: JUnit XML, Markdown, annotations."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence

from imi_bench import text
from imi_bench.gate.verdict import GateResult

COLUMNS = ("stratum", "baseline", "new", "drop", "verdict", "trials", "units", "trials to settle")
_MARK = {"pass": "✅ pass", "worse": "❌ worse", "cannot tell": "⚠️ cannot tell"}


def rows(result: GateResult) -> list[Sequence[str]]:
    """Cells of the table, one row a comparison, in the order of `COLUMNS`."""
    return [
        (
            c.stratum,
            str(c.baseline),
            str(c.new),
            f"{c.drop.value:+.4f} [{c.drop.low:+.4f}, {c.drop.high:+.4f}]",
            c.verdict,
            f"{c.drop.n:,}",
            f"{c.drop.clusters:,}",
            "" if c.trials_to_settle is None else f"{c.trials_to_settle:,}",
        )
        for c in result.comparisons
    ]


def markdown(result: GateResult) -> str:
    """A section for a pull request."""
    head = [
        f"### imi-bench gate: {_MARK[result.verdict]}",
        "",
        text.markdown(result.sentence),
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "|" + " --- |" * len(COLUMNS),
    ]
    body = ["| " + " | ".join(map(text.markdown, row)) + " |" for row in rows(result)]
    level = f"{1 - 2 * result.alpha:.0%}"
    foot = ["", f"Score: {result.score}. Intervals: {level}, cluster-robust by unit.", ""]
    return "\n".join([*head, *body, *foot])


def junit(result: GateResult) -> str:
    """JUnit XML: a test case a comparison; "worse" is a failure, "cannot tell" an error."""
    cases = result.comparisons
    suite = ET.Element(
        "testsuite",
        name="imi-bench gate",
        tests=str(len(cases)),
        failures=str(sum(c.verdict == "worse" for c in cases)),
        errors=str(sum(c.verdict == "cannot tell" for c in cases)),
    )
    for c in cases:
        case = ET.SubElement(
            suite, "testcase", classname=f"gate.{result.score}", name=text.xml(c.stratum)
        )
        if c.verdict != "pass":
            kind = "failure" if c.verdict == "worse" else "error"
            ET.SubElement(case, kind, message=text.xml(c.reason), type=c.verdict)
        ET.SubElement(
            case, "system-out"
        ).text = f"baseline {c.baseline}, new {c.new}, drop {c.drop}, n {c.drop.n}"
    ET.indent(suite)
    return ET.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def annotation(result: GateResult) -> str:
    """A workflow command that shows the verdict on the pull request's page."""
    level = {"pass": "notice", "worse": "error", "cannot tell": "warning"}[result.verdict]
    return f"::{level} title=imi-bench gate::{text.annotation(result.sentence)}"
