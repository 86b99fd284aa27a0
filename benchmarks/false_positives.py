"""How often each method calls a scale effect that is not there, with nine networks.

Small studies are simulated: nine networks with the parameter counts of the paper's (log10,
centred), each with its own units and participants; every participant of a network answers each of
its units once. The scale has no effect. Each method tests it at the nominal level 5%; the share
of rejections, with its binomial standard error, is printed for several standard deviations
between networks. Methods:

- Wald z, Wald t(7): estimate over standard error of the mixed model, normal or t.
- LR: likelihood ratio against chi-squared; the profile interval excludes zero in the same cases,
  by construction (checked by ``tests/test_inference.py``).
- two-stage t: `imi_bench.glmm.between`, the default of `imi-bench effects`. Also with Knapp and
  Hartung's scale never below one ("modified").
- bootstrap: percentile interval, and the likelihood ratio's own null distribution; on fewer
  studies, for each takes a hundred refits.

Run: ``python benchmarks/false_positives.py --studies 1000 --json out.json``
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from measuring import write_record
from scipy import stats

from imi_bench.glmm import Design, GlmmResult, WarmStart, build_design, fit_design
from imi_bench.glmm.between import INTERCEPT, level_estimates, regress
from imi_bench.glmm.bootstrap import bootstrap, bootstrap_likelihood_ratio
from imi_bench.glmm.inference import likelihood_ratio, wald
from imi_bench.provenance import generator
from imi_bench.vision.card import covariates

NETWORK_SDS = (0.0, 0.15, 0.3, 0.6)
ALPHA = 0.05


@dataclass(frozen=True)
class Size:
    """How large a simulated study is."""

    units: int = 20
    participants: int = 10
    unit_sd: float = 0.8
    participant_sd: float = 0.4
    intercept: float = 1.5


def layout(size: Size) -> pd.DataFrame:
    """One row an answer: network, scale, unit, participant; `correct` is a placeholder."""
    scale = np.log10(covariates()["parameters"].to_numpy())
    scale = scale - scale.mean()
    rows = pd.MultiIndex.from_product(
        [range(len(scale)), range(size.units), range(size.participants)],
        names=["network", "unit", "participant"],
    ).to_frame(index=False)
    rows["scale"] = scale[rows["network"]]
    rows["unit"] += size.units * rows["network"]
    rows["participant"] += size.participants * rows["network"]
    return rows.assign(correct=np.arange(len(rows)) % 2)


def simulate(
    rows: pd.DataFrame, *, size: Size, network_sd: float, rng: np.random.Generator
) -> np.ndarray:
    """Draw the answers of one study without a scale effect: float64 (n,)."""
    eta = np.full(len(rows), size.intercept)
    for name, sd in (
        ("network", network_sd),
        ("unit", size.unit_sd),
        ("participant", size.participant_sd),
    ):
        eta += rng.normal(0, sd, rows[name].nunique())[rows[name]]
    return (rng.random(len(rows)) < 1 / (1 + np.exp(-eta))).astype(float)


def p_values(
    design: Design, *, size: Size, network_sd: float
) -> tuple[dict[str, float], GlmmResult]:
    """Every quick method's p for the scale effect, and the full fit; both start at the truth."""
    theta = {"unit": size.unit_sd, "participant": size.participant_sd, "network": network_sd}
    held = np.array([theta[factor.group] for factor in design.factors])
    full = fit_design(design, start=WarmStart(held, np.array([size.intercept, 0.0])))
    stage = level_estimates(
        design, group="network", start=WarmStart(held[:-1], np.full(9, size.intercept))
    )[INTERCEPT]
    scale = np.array([design.fixed[design.factors[-1].codes == k, 1][0] for k in range(9)])
    second = regress(stage.estimate, stage.covariance, {"scale": scale})
    test = second.test("scale")
    modified = 2 * stats.t(second.df).sf(abs(test.statistic) * math.sqrt(min(1.0, second.scale)))
    found = {
        "Wald z": wald(full, "scale").p,
        "Wald t(7)": wald(full, "scale", df=7).p,
        "LR (= profile)": likelihood_ratio(full, "scale").p,
        "two-stage t": test.p,
        "two-stage t, modified": float(modified),
    }
    return found, full


def table_for(
    network_sd: float, *, size: Size, studies: int, boot_studies: int, refits: int, seed: int
) -> list[dict[str, object]]:
    """Simulate and test; one row a method."""
    rows = layout(size)
    base = build_design("correct ~ scale + (1|unit) + (1|participant) + (1|network)", rows)
    found: dict[str, list[float]] = {}
    for number in range(studies):
        rng = generator(seed, "false positives", str(network_sd), str(number))
        response = simulate(rows, size=size, network_sd=network_sd, rng=rng)
        ps, full = p_values(base.with_response(response), size=size, network_sd=network_sd)
        if number < boot_studies:
            drawn = bootstrap(full, n=refits, seed=number, workers=1)
            ps[f"bootstrap percentile ({refits})"] = drawn.test("scale").p
            ps[f"bootstrap LR ({refits})"] = bootstrap_likelihood_ratio(
                full, "scale", n=refits, seed=number, workers=1
            ).p
        for name, p in ps.items():
            found.setdefault(name, []).append(p)
    return [_row(network_sd, name, np.array(ps)) for name, ps in found.items()]


def _row(network_sd: float, name: str, ps: np.ndarray) -> dict[str, object]:
    defined = ps[np.isfinite(ps)]
    rate = float((defined <= ALPHA).mean())
    return {
        "network_sd": network_sd,
        "method": name,
        "studies": len(defined),
        "undefined": len(ps) - len(defined),
        "rate": rate,
        "se": math.sqrt(rate * (1 - rate) / len(defined)),
    }


def main() -> None:
    """Print the table, and write it as JSON where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--boot-studies", type=int, default=0)
    parser.add_argument("--refits", type=int, default=99)
    parser.add_argument("--units", type=int, default=20)
    parser.add_argument("--participants", type=int, default=10)
    parser.add_argument("--sds", type=float, nargs="*", default=NETWORK_SDS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    size, began = Size(units=options.units, participants=options.participants), time.perf_counter()
    rows: list[dict[str, object]] = []
    for network_sd in options.sds:
        new = table_for(
            network_sd,
            size=size,
            studies=options.studies,
            seed=options.seed,
            boot_studies=min(options.boot_studies, options.studies),
            refits=options.refits,
        )
        rows += new
        for row in new:
            print(
                f"SD {row['network_sd']:<5} {row['method']:<28} {row['rate']:6.1%} "
                f"+- {row['se']:.1%}  ({row['studies']} studies)",
                flush=True,
            )
        facts = {"alpha": ALPHA, "size": vars(size), "seconds": time.perf_counter() - began}
        write_record(options.json, {**facts, "rows": rows})


if __name__ == "__main__":
    main()
