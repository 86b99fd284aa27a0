"""Thirty designs drawn anew in every run, against a live lme4: none below its likelihood."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import special

from imi_bench.glmm import fit

HERE = Path(__file__).parent / "references"
FIXED = ("x", "x + m", "m * x", "m/x", "poly(x, 2) + f", "f * m", "log1p(z) + f", "0 + f", "1")
BARS = (
    "(1|g)",
    "(1|g) + (1|h)",
    "(1 + x|g)",
    "(1 + x||g)",
    "(1|g/k)",
    "(1 + x|g) + (1|h)",
    "(0 + m|g)",
    "(1|g:k) + (1|h)",
)
KINDS = ("ML", "REML", "logit", "probit", "counts")


def drawn(rng: np.random.Generator) -> tuple[pd.DataFrame, str, str]:
    """Draw data, a formula and a family."""
    groups, each = int(rng.integers(10, 30)), int(rng.integers(12, 30))
    n = groups * each
    g, h = np.repeat(np.arange(groups), each), np.tile(np.arange(each), groups)
    data = pd.DataFrame({"g": [f"g{i}" for i in g], "h": [f"h{i}" for i in h]})
    data["k"] = [f"k{i // 5}" for i in h]
    data["x"], data["z"] = rng.normal(size=n).round(3), rng.random(n).round(3)
    data["m"], data["f"] = rng.choice(["nat", "syn"], n), rng.choice(["a", "b", "c"], n)
    eta = 0.3 + 0.5 * data["x"] + 0.4 * (data["m"] == "syn")
    eta = eta + rng.choice([0.0, 0.3, 0.9]) * rng.normal(size=groups)[g]
    eta = eta + rng.choice([0.0, 0.4]) * rng.normal(size=each)[h]
    kind = str(rng.choice(KINDS))
    left, share = "y", special.expit(eta)
    if kind in ("ML", "REML"):
        data["y"] = (eta + rng.normal(size=n)).round(4)
    elif kind == "counts":
        data["t"] = rng.integers(1, 7, n)
        data["y"] = rng.binomial(data["t"], share)
        left, kind = "cbind(y, t - y)", "logit"
    else:
        data["y"] = (rng.random(n) < share).astype(int)
    return data, f"{left} ~ {rng.choice(FIXED)} + {rng.choice(BARS)}", kind


@pytest.mark.r_live
def test_thirty_designs(tmp_path: Path) -> None:
    if shutil.which("Rscript") is None:
        pytest.skip("Rscript is not installed")
    seed = np.random.SeedSequence().entropy
    rng = np.random.default_rng(seed)
    designs = [drawn(rng) for _ in range(30)]
    rows = []
    for index, (data, formula, kind) in enumerate(designs):
        data.to_csv(tmp_path / f"{index}.csv", index=False)
        rows.append({"file": f"{index}.csv", "formula": formula, "kind": kind})
    pd.DataFrame(rows).to_csv(tmp_path / "designs.csv", index=False)
    shutil.copy(HERE / "live_designs.R", tmp_path)
    subprocess.run(["Rscript", "live_designs.R"], cwd=tmp_path, check=True)
    bad, compared = [], 0
    for (data, formula, kind), theirs in zip(
        designs, json.loads((tmp_path / "live.json").read_text()), strict=True
    ):
        if theirs is None:
            continue
        compared += 1
        gaussian = kind in ("ML", "REML")
        ours = fit(
            formula,
            data,
            family="gaussian" if gaussian else "binomial",
            link=None if gaussian else kind,
            method=kind if gaussian else "ML",
        )
        gain = ours.log_likelihood - theirs["logLik"]
        wanted = [row["estimate"] for row in theirs["fixed"].values()]
        errors = [row["se"] for row in theirs["fixed"].values()]
        good = ours.converged and gain > -1e-4 and list(ours.names) == list(theirs["fixed"])
        if good and gain < 1e-3:
            good = bool((np.abs(ours.estimate - wanted) < 0.01 * np.array(errors)).all())
        if not good:
            bad.append((formula, kind, gain, ours.reason, ours.names))
    assert compared >= 20
    assert not bad, f"seed {seed}"
