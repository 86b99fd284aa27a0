"""The gate's answer for machines and pull requests: JUnit XML, Markdown, annotations."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence

from imi_bench import text
from imi_bench.gate.comparison import METHOD, Comparison
from imi_bench.gate.verdict import GateResult

__all__ = ["COLUMNS", "annotation", "footnotes", "junit", "markdown", "rows"]

COLUMNS = (
    *("stratum", "baseline", "new", "drop", "verdict", "trials", "units", "answered"),
    "trials to settle",
)
_MARK = {"pass": "✅ pass", "worse": "❌ worse", "cannot tell": "⚠️ cannot tell"}


def rows(result: GateResult) -> list[Sequence[str]]:
    """Cells of the table, one row a comparison, in the order of `COLUMNS`."""
    return [
        (
            text.one_line(c.stratum),
            str(c.baseline),
            str(c.new),
            f"{c.drop.value:+.4f} [{c.drop.low:+.4f}, {c.drop.high:+.4f}]",
            c.verdict,
            f"{c.drop.n:,}",
            f"{c.drop.clusters:,}",
            f"{_share(c.coverage_baseline)}, {_share(c.coverage_new)}",
            _settle(c),
        )
        for c in result.comparisons
    ]


def footnotes(result: GateResult) -> list[str]:
    """What every output says of where the numbers come from."""
    whole = result.comparisons[0]
    told = {True: "simulated data", False: "real data", None: "not said whether simulated"}
    return [
        f"score: {result.score}; intervals: {1 - 2 * result.alpha:.0%}, {METHOD}",
        f"answered: {whole.coverage_baseline:.1%} by the baseline, {whole.coverage_new:.1%} by "
        f"the new run (a trial without an answer earns what a guess does)",
        *_unanswered(result),
        f"trials: {told[result.simulated]}; calibration: {result.calibration}"
        + "".join(f", {digest[:12]}" for digest in result.calibration_hashes),
    ]


def _unanswered(result: GateResult) -> list[str]:
    """Trials without an answer by status, of all and of each stratum that has some."""
    said = []
    for c in result.comparisons:
        for who, lost in (("baseline", c.lost_baseline), ("new run", c.lost_new)):
            if lost:
                listed = ", ".join(f"{count:,} {status}" for status, count in lost.items())
                said.append(f"no answer in {text.one_line(c.stratum)}, {who}: {listed}")
    return said


def _share(value: float) -> str:
    """A share that is not whole is not rounded to it."""
    return f"{value:.0%}" if value in (0, 1) else f"{min(value, 0.999):.1%}"


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
    foot = ["", *(f"- {text.markdown(line)}" for line in footnotes(result)), ""]
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
    properties = ET.SubElement(suite, "properties")
    for name in ("new", "baseline", "score", "max_drop", "alpha", "simulated", "calibration"):
        said = text.xml(str(getattr(result, name)))
        ET.SubElement(properties, "property", name=name, value=said)
    for c in cases:
        case = ET.SubElement(
            suite, "testcase", classname=f"gate.{result.score}", name=text.xml(c.stratum)
        )
        if c.verdict != "pass":
            kind = "failure" if c.verdict == "worse" else "error"
            ET.SubElement(case, kind, message=text.xml(c.reason), type=c.verdict)
        facts = [f"baseline {c.baseline}, new {c.new}, drop {c.drop}, n {c.drop.n}"]
        facts += [f"answered {c.coverage_baseline:.1%} and {c.coverage_new:.1%}"]
        ET.SubElement(case, "system-out").text = text.xml("\n".join(facts + footnotes(result)))
    ET.indent(suite)
    return ET.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def annotation(result: GateResult) -> str:
    """A workflow command that shows the verdict on the pull request's page."""
    level = {"pass": "notice", "worse": "error", "cannot tell": "warning"}[result.verdict]
    return f"::{level} title=imi-bench gate::{text.annotation(result.sentence)}"


def _settle(c: Comparison) -> str:
    if c.verdict != "cannot tell" or c.drop.clusters < 2:
        return ""
    return "no number" if c.trials_to_settle is None else f"{c.trials_to_settle:,}"
