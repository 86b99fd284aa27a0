"""Time of the parametric bootstrap: warm refits of crossed_50k on all cores.

Run: ``python benchmarks/bench_inference.py ../shared/glmm/crossed_50k.csv --refits 200``
The target is 200 refits in under 60 s on two idle cores.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd

from imi_bench.glmm import build_design, fit_design
from imi_bench.glmm.between import two_stage
from imi_bench.glmm.bootstrap import bootstrap
from imi_bench.glmm.inference import likelihood_ratio
from imi_bench.glmm.profile import profile

FORMULA = "correct ~ mode + difficulty + depth + logparams + (1|unit) + (1|participant) + (1|model)"


def main() -> None:
    """Print seconds of each method, and write them as JSON where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    shared = Path(os.environ.get("IMI_BENCH_SHARED", Path(__file__).parents[2] / "shared"))
    parser.add_argument("data", type=Path, nargs="?", default=shared / "glmm" / "crossed_50k.csv")
    parser.add_argument("--refits", type=int, default=200)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    design = build_design(FORMULA, pd.read_csv(options.data))
    result = fit_design(design)
    refits = 0

    def boot() -> None:
        nonlocal refits
        found = bootstrap(result, n=options.refits, workers=options.workers)
        refits = int(np.isfinite(found.estimate[:, 0]).sum())

    seconds = {}
    for name, work in {
        "one fit": lambda: fit_design(design),
        "likelihood ratio": lambda: likelihood_ratio(result, "logparams"),
        "profile": lambda: profile(result, "logparams"),
        "two-stage t": lambda: two_stage(design, group="model"),
        f"bootstrap, {options.refits} refits": boot,
    }.items():
        began = time.perf_counter()
        work()
        seconds[name] = time.perf_counter() - began
        print(f"{name:<28} {seconds[name]:8.2f} s", flush=True)
    print(f"converged refits: {refits}; workers: {options.workers}; load: {os.getloadavg()[0]:.1f}")
    if options.json:
        record = {
            "seconds": seconds,
            "converged": refits,
            "workers": options.workers,
            "load": os.getloadavg()[0],
        }
        options.json.write_text(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
