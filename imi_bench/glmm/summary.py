"""A fitted model in words: a summary like lme4's, and a LaTeX table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from imi_bench.text import latex, plural

if TYPE_CHECKING:
    from imi_bench.glmm.result import GlmmResult


def summary_text(result: GlmmResult) -> str:
    """Return the model's headline, criteria, random effects and fixed effects."""
    blocks = [
        _headline(result),
        _criteria(result),
        "Random effects:\n" + _random_table(result),
        _sizes(result),
        "Fixed effects:\n" + _fixed_table(result),
    ]
    if result.shape_names:
        blocks.append(_shape_table(result))
    state = "converged" if result.converged else f"NOT CONVERGED: {result.reason}"
    blocks.append(
        f"optimizer: {state} ({result.iterations} iterations, {result.evaluations} evaluations, "
        f"{result.seconds:.2f} s, gradient {result.gradient_norm:.1e})"
    )
    blocks += [f"note: {warning}" for warning in (*result.warnings, *result.remarks)]
    return "\n\n".join(blocks) + "\n"


def _headline(result: GlmmResult) -> str:
    if result.family == "gaussian":
        title = f"Linear mixed model fit by {'REML' if result.method == 'REML' else 'ML'}"
        return f"{title}\nFormula: {result.formula}"
    how = (
        "Laplace Approximation"
        if result.nagq == 1
        else f"Adaptive Gauss-Hermite Quadrature, nAGQ = {result.nagq}"
    )
    if result.family == "ordinal":
        return (
            f"Cumulative link mixed model fit by maximum likelihood ({how})\n"
            f" Link: {result.link}, thresholds: {result.thresholds}, "
            f"answers: {' < '.join(result.categories)}\nFormula: {result.formula}"
        )
    return (
        f"Generalized linear mixed model fit by maximum likelihood ({how})\n"
        f" Family: binomial  ( {result.link} ){_lapse(result)}\nFormula: {result.formula}"
    )


def _lapse(result: GlmmResult) -> str:
    if not (result.lapse or result.shape_names):
        return ""
    how = "estimated" if result.shape_names else "given"
    return f"\n Lapse rate: {result.lapse:.4g} ({how}): P = lapse/2 + (1 - lapse) F(eta)"


def _shape_table(result: GlmmResult) -> str:
    rows: list[tuple[str, ...]] = [("", "Estimate", "Std. Error", "z value")]
    ses = np.sqrt(np.diag(result.shape_covariance))
    for name, value, se in zip(result.shape_names, result.shape, ses, strict=True):
        rows.append((name, f"{value:.5f}", f"{se:.5f}", f"{value / se:.3f}"))
    title = "Thresholds" if result.family == "ordinal" else "Lapse rate"
    if result.family == "binomial":
        rows = [row[:3] for row in rows]
    return f"{title}:\n" + _align(rows, left=(0,))


def _criteria(result: GlmmResult) -> str:
    names = ("AIC", "BIC", "logLik", "-2*log(L)", "df.resid")
    values = (
        *(f"{v:.1f}" for v in (result.aic, result.bic, result.log_likelihood, result.deviance)),
        str(result.n - result.parameters),
    )
    widths = [max(len(n), len(v)) for n, v in zip(names, values, strict=True)]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        for line in (names, values)
    )


def _random_table(result: GlmmResult) -> str:
    rows: list[tuple[str, ...]] = [("Groups", "Name", "Variance", "Std.Dev.", "Corr")]
    for effect in result.random:
        block_of = np.repeat(np.arange(len(effect.blocks)), effect.blocks)
        for index, name in enumerate(effect.names):
            earlier = [j for j in range(index) if block_of[j] == block_of[index]]
            group = effect.group if index == 0 else ""
            sd = effect.sd[index]
            corr = " ".join(f"{effect.corr[index, j]:5.2f}" for j in earlier)
            rows.append((group, name, f"{sd**2:.4g}", f"{sd:.4g}", corr))
    if result.family == "gaussian":
        rows.append(("Residual", "", f"{result.sigma**2:.4g}", f"{result.sigma:.4g}", ""))
    return _align(rows, left=(0, 1, 4))


def _sizes(result: GlmmResult) -> str:
    groups = "; ".join(f"{effect.group}, {len(effect.levels)}" for effect in result.random)
    dropped = (
        f" ({plural(result.dropped, 'row')} with missing values dropped)" if result.dropped else ""
    )
    return f"Number of obs: {result.n}{dropped}, groups:  {groups}"


def _fixed_table(result: GlmmResult) -> str:
    if result.family == "gaussian":
        rows: list[tuple[str, ...]] = [("", "Estimate", "Std. Error", "t value")]
    else:
        rows = [("", "Estimate", "Std. Error", "z value", "Pr(>|z|)", "")]
    for name, b, se, z, p in zip(
        result.names, result.estimate, result.se, result.z, result.p, strict=True
    ):
        row = (name, f"{b:.5f}", f"{se:.5f}", f"{z:.3f}")
        rows.append(row if result.family == "gaussian" else (*row, _p_value(p), _stars(p)))
    table = _align(rows, left=(0, 5))
    if result.family == "gaussian":
        return table
    return table + "\n---\nSignif. codes:  0 '***' 0.001 '**' 0.01 '*' 0.05 '.' 0.1 ' ' 1"


def _p_value(p: float) -> str:
    return "< 2e-16" if p < 2e-16 else f"{p:.3g}"


def _stars(p: float) -> str:
    for mark, below in (("***", 0.001), ("**", 0.01), ("*", 0.05), (".", 0.1)):
        if p < below:
            return mark
    return ""


def _align(rows: list[tuple[str, ...]], *, left: tuple[int, ...]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        " "
        + "  ".join(
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def latex_table(result: GlmmResult) -> str:
    """Return a booktabs table: fixed effects, then random standard deviations."""
    lines = [
        r"\begin{tabular}{lrrrr}",
        r"\toprule",
        r" & Estimate & SE & $z$ & $p$ \\",
        r"\midrule",
    ]
    for name, b, se, z, p in zip(
        result.names, result.estimate, result.se, result.z, result.p, strict=True
    ):
        shown = r"$<0.001$" if p < 0.001 else f"${p:.3f}$"
        lines.append(rf"{latex(name)} & ${b:.3f}$ & ${se:.3f}$ & ${z:.2f}$ & {shown} \\")
    lines.append(r"\midrule")
    for effect in result.random:
        for name, sd in zip(effect.names, effect.sd, strict=True):
            label = latex(f"SD {effect.group}: {name}")
            lines.append(rf"{label} & ${sd:.3f}$ & & & \\")
    if result.family == "gaussian":
        lines.append(rf"SD residual & ${result.sigma:.3f}$ & & & \\")
    groups = ", ".join(f"{len(e.levels)} {latex(e.group)}" for e in result.random)
    lines += [
        r"\midrule",
        rf"\multicolumn{{5}}{{l}}{{$n={result.n}$; {groups}; "
        rf"$\log L={result.log_likelihood:.2f}$}} \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"
