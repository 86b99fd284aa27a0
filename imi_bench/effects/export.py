"""Take the analysis elsewhere: tidy CSV, LaTeX, and an R script that refits the model in lme4."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from imi_bench.effects.effect import Effect, Effects
from imi_bench.effects.questions import outcome
from imi_bench.effects.scale import PROPERTIES
from imi_bench.effects.sentences import p_text
from imi_bench.effects.table import RATING
from imi_bench.provenance import plain, write_json, write_table, write_text
from imi_bench.text import latex, one_line, plural

__all__ = ["export", "latex_table", "r_script"]

_FILES = ("effects.csv", "networks.csv", "answers.csv", "effects.tex", "refit.R", "effects.json")


def export(effects: Effects, folder: Path) -> dict[str, Path]:
    """Write everything a reader needs to check or to go on.

    Parameters
    ----------
    effects : Effects
    folder : Path
        Made if missing.

    Returns
    -------
    dict of what to Path
        ``effects.csv`` (one row a question), ``networks.csv`` (first-stage coefficients and
        properties, one row a network), ``effects.tex``, ``answers.csv`` (the model's table),
        ``refit.R``, ``effects.json``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / name for name in _FILES}
    _csv(effects.to_frame(), paths["effects.csv"])
    _csv(network_frame(effects), paths["networks.csv"])
    _csv(_answers(effects), paths["answers.csv"])
    for name, text in (("effects.tex", latex_table(effects)), ("refit.R", r_script(effects))):
        write_text(paths[name], text)
    write_json(paths["effects.json"], plain(effects))
    return paths


def _differs(effects: Effects, name: str) -> bool:
    """Whether a property is known of every network, and not one and the same."""
    values = effects.properties[name].to_numpy(dtype=float)
    return bool(np.isfinite(values).all() and len(np.unique(values)) > 1)


def _csv(frame: pd.DataFrame, path: Path) -> None:
    write_table(path, frame)


def network_frame(effects: Effects) -> pd.DataFrame:
    """First-stage coefficients with standard errors beside the networks' properties."""
    found = effects.properties.rename_axis("network").reset_index()
    for base, stage in effects.stages.items():
        se = np.sqrt(np.diag(stage.covariance))
        part = pd.DataFrame({"network": stage.levels, base: stage.estimate, f"{base}_se": se})
        found = found.merge(part, on="network", how="left")
    return found.assign(simulated=effects.simulated)


def _answers(effects: Effects) -> pd.DataFrame:
    numbers = pd.DataFrame(
        {
            one.name: one.transformed(effects.properties[one.name].to_numpy(dtype=float))
            for one in PROPERTIES
        },
        index=effects.properties.index,
    )
    centred = numbers - numbers.mean()
    found = effects.answers.merge(centred, left_on="network", right_index=True, how="left")
    return found.assign(simulated=True) if effects.simulated else found


def latex_table(effects: Effects) -> str:
    """Write the answers as a LaTeX table (booktabs).

    Every question has its own row; what could not be answered has a dash.
    """
    made_up = "simulated answers; " if effects.simulated else ""
    lines = [
        f"% {made_up}{one_line(effects.who)}, {plural(effects.n, 'answer')}; "
        f"log-odds of {outcome(effects.formula)}",
        *(f"% left out: {one_line(str(gone))}" for gone in effects.left_out),
        r"\begin{tabular}{llrrrll}",
        r"\toprule",
        r"Question & Effect of & Log-odds & 95\% interval & Networks & Test & $p$ (Holm) \\",
        r"\midrule",
        *(_latex_row(effect) for effect in effects.effects),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def _latex_row(effect: Effect) -> str:
    test = effect.test
    value = "--" if np.isnan(test.estimate) else f"${test.estimate:.3f}$"
    interval = "--" if np.isnan(test.low) else f"$[{test.low:.3f}, {test.high:.3f}]$"
    shown, adjusted = "--", "--"
    if not np.isnan(test.p):
        shown = f"{test.method}, {p_text(test.p)}"
        adjusted = p_text(effect.p_holm).removeprefix("p ").removeprefix("= ")
    cells = (latex(effect.topic), latex(effect.label), value, interval, str(effect.networks))
    return " & ".join((*cells, latex(shown), latex(adjusted))) + r" \\"


def r_script(effects: Effects) -> str:
    """Write an R script that refits the model with lme4 from ``answers.csv`` beside it.

    The networks' parameters are added to the fixed effects, where they differ and are known of
    each: one property, as a rule, with nine networks.
    """
    response, _, right = effects.formula.partition(" ~ ")
    package, call, family = "lme4", "glmer", "family = binomial"
    control = 'glmerControl(optimizer = "bobyqa", optCtrl = list(maxfun = 1e5))'
    if response == RATING:
        package, call, family = "ordinal", "clmm", 'link = "logit"'
        response, control = f"factor({RATING}, ordered = TRUE)", "clmm.control()"
    apart = ["parameters"] if _differs(effects, "parameters") else []
    who = one_line(effects.who)
    made_up = "# The answers are simulated.\n" if effects.simulated else ""
    gone = "".join(f"# Left out: {one_line(str(one))}.\n" for one in effects.left_out)
    lapses = (
        "# The program's link has a lapse rate, which lme4 lacks: this is the model without it.\n"
        if effects.fit is not None and effects.fit.lapse
        else ""
    )
    return f"""# Refits the mixed model of {who} ({effects.n} answers) with {package}.
# Run in this folder: Rscript refit.R
{made_up}{gone}{lapses}# Properties of networks are log10 of parameters and of training images,
# accuracy in steps of 10 points and the year, each minus its mean over networks. R's z for
# them treats networks as many; effects.csv has the t on networks minus two degrees of freedom.
suppressPackageStartupMessages(library({package}))
answers <- read.csv("answers.csv", colClasses = c(network = "factor", unit = "factor"))
model <- {call}(
  {response} ~ {" + ".join([*apart, right])},
  data = answers, {family},
  control = {control}
)
print(summary(model), correlation = FALSE)
found <- data.frame(term = rownames(coef(summary(model))), coef(summary(model)))
write.csv(found, "lme4.csv", row.names = FALSE)
"""
