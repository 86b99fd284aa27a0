"""Speed of the mixed models: against lme4, with the number of rows, at a million, of inference.

    python benchmarks/bench_glmm.py [--shared FOLDER] [--repeats 3] [--million] [--json PATH]
                                    [--peers VENV] [--only-peers] [--rows N] [--refits 200]

Every ratio comes from runs interleaved on the same machine. lme4 and glmmTMB run where R has
them; the Python packages in a virtual environment of their own, which

    python -m venv VENV
    VENV/bin/pip install glmm==0.6.2 mixedlm==1.3.0 lme-python==0.2.7 interlace-lme==0.3.2 pandas

makes. What is absent is skipped, with a word; what fails says how. ``--rows`` takes that many rows
of crossed_50k at random: the likelihoods then still compare, the times hardly. Where other
work shares the machine, the ratio of processor times is the one to read.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from measuring import SHARED, write_record

from imi_bench.glmm import GlmmResult, build_design, fit, fit_design
from imi_bench.glmm.between import two_stage
from imi_bench.glmm.bootstrap import Bootstrap, bootstrap
from imi_bench.glmm.inference import likelihood_ratio
from imi_bench.glmm.profile import profile

FORMULA = "correct ~ mode + difficulty + depth + logparams + (1|unit) + (1|participant) + (1|model)"
R_SCRIPT = """
suppressMessages(library(lme4))
d <- read.csv(commandArgs(TRUE)[1])
t <- system.time(m <- glmer({formula}, d, binomial,
  control = glmerControl(optimizer = "bobyqa", optCtrl = list(maxfun = 1e5))))
cat(t[["elapsed"]], t[["user.self"]] + t[["sys.self"]], sprintf("%.6f", as.numeric(logLik(m))))
"""

TMB_SCRIPT = """
suppressMessages(library(glmmTMB))
d <- read.csv(commandArgs(TRUE)[1])
t <- system.time(m <- glmmTMB({formula}, d, binomial))
cat(t[["elapsed"]], t[["user.self"]] + t[["sys.self"]], sprintf("%.6f", as.numeric(logLik(m))))
"""
PYTHON_PEERS = {
    "glmm": """
import sys, time, glmm, pandas
d = pandas.read_csv(sys.argv[1])
began, used = time.perf_counter(), time.process_time()
m = glmm.fit(d, "{formula}", "binomial")
print(time.perf_counter() - began, time.process_time() - used, m.loglik)
""",
    "mixedlm": """
import sys, time, mixedlm, pandas
d = pandas.read_csv(sys.argv[1])
began, used = time.perf_counter(), time.process_time()
m = mixedlm.glmer("{formula}", d, family=mixedlm.families.Binomial())
print(time.perf_counter() - began, time.process_time() - used, -0.5 * m.deviance)
""",
    "lme_python": """
import sys, time, lme_python, polars
d = polars.read_csv(sys.argv[1])
groups = [polars.col(name).cast(polars.Utf8) for name in ("unit", "participant", "model")]
d = d.with_columns([*groups, polars.col("correct").cast(polars.Float64)])
began, used = time.perf_counter(), time.process_time()
m = lme_python.glmer("{formula}", data=d, family_name="binomial")
print(time.perf_counter() - began, time.process_time() - used, m.log_likelihood)
""",
    "interlace": """
import sys, time, interlace, pandas
d = pandas.read_csv(sys.argv[1])
began, used = time.perf_counter(), time.process_time()
fixed = "{formula}".split(" + (1|")[0]
m = interlace.glmer(fixed, d, family="binomial", groups=["unit", "participant", "model"])
print(time.perf_counter() - began, time.process_time() - used, m.llf)
""",
}


def timed(formula: str, data: pd.DataFrame) -> tuple[float, GlmmResult]:
    began = time.perf_counter()
    result = fit(formula, data)
    if not result.converged:
        raise RuntimeError(result.reason)
    return time.perf_counter() - began, result


def numbers(command: list[str]) -> tuple[float, float, float]:
    """Run a peer; its last three words are seconds, seconds of processor, and log-likelihood."""
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, used, log_likelihood = map(float, done.stdout.split()[-3:])
    return seconds, used, log_likelihood


def failure(error: Exception) -> str:
    """The last line a peer printed before it failed, or what stopped it from starting."""
    said = (
        error.stderr.strip().splitlines()
        if isinstance(error, subprocess.CalledProcessError)
        else []
    )
    return said[-1] if said else f"{type(error).__name__}: {error}"


def peers(path: Path, venv: Path | None) -> dict[str, list[str]]:
    """Command of every peer that is there; a word for those that are not."""
    commands = {}
    if not shutil.which("Rscript"):
        print("skipped: lme4, glmmTMB (no Rscript)")
    else:
        for name, script in (("lme4", R_SCRIPT), ("glmmTMB", TMB_SCRIPT)):
            commands[name] = ["Rscript", "-e", script.format(formula=FORMULA), str(path)]
    for name, script in PYTHON_PEERS.items():
        if venv is None:
            print(f"skipped: {name} (no --peers VENV)")
        elif subprocess.run(
            [venv / "bin/python", "-c", f"import {name}"], capture_output=True
        ).returncode:
            print(f"skipped: {name} (not in {venv})")
        else:
            commands[name] = [
                str(venv / "bin/python"),
                "-c",
                script.format(formula=FORMULA),
                str(path),
            ]
    return commands


def against_peers(path: Path, repeats: int, venv: Path | None) -> dict[str, float]:
    """Every peer, interleaved with ours; times ours, and likelihood short of it."""
    commands = peers(path, venv)
    data = pd.read_csv(path)
    fit(FORMULA, data)
    row: dict[str, float] = {}
    for name, command in commands.items():
        ours, theirs = [], []
        try:
            for _ in range(repeats):
                used = time.process_time()
                seconds, result = timed(FORMULA, data)
                ours.append((seconds, time.process_time() - used))
                *times, reached = numbers(command)
                theirs.append(times)
        except (OSError, ValueError, subprocess.CalledProcessError) as error:
            print(f"failed: {name} ({failure(error)})")
            continue
        (ours_s, ours_used), (seconds, used) = (np.median(x, axis=0) for x in (ours, theirs))
        row[f"{name}_s"] = float(seconds)
        row[f"{name} times"] = float(seconds / ours_s)
        row[f"{name} times processor"] = float(used / ours_used)
        row[f"{name} short"] = result.log_likelihood - reached
    return row


def tenfold(path: Path, repeats: int) -> dict[str, float]:
    """Ten times the participants on the same units, and ten times everything."""
    data = pd.read_csv(path)
    result = fit(FORMULA, data)
    rng = np.random.default_rng(0)
    copies = []
    for copy in range(10):
        answers = data.assign(correct=result.simulate(rng).astype(int))
        answers["participant"] += copy * 10_000
        copies.append(answers)
    more_people = pd.concat(copies, ignore_index=True)
    everything = pd.concat(
        [
            answers.assign(unit=answers["unit"] + 1_000 * i, model=answers["model"] + 10 * i)
            for i, answers in enumerate(copies)
        ],
        ignore_index=True,
    )
    one, people, every = [], [], []
    for _ in range(repeats):
        one.append(timed(FORMULA, data)[0])
        people.append(timed(FORMULA, more_people)[0])
        every.append(timed(FORMULA, everything)[0])
    base = statistics.median(one)
    return {
        "base_s": base,
        "participants_x10": statistics.median(people) / base,
        "everything_x10": statistics.median(every) / base,
    }


def million() -> dict[str, float]:
    rng = np.random.default_rng(0)
    participant, unit = np.repeat(np.arange(20_000), 50), rng.integers(0, 5_000, 1_000_000)
    data = pd.DataFrame(
        {
            "participant": participant,
            "unit": unit,
            "mode": rng.integers(0, 2, 1_000_000),
            "difficulty": rng.integers(0, 3, 1_000_000) / 2,
            "depth": rng.random(5_000)[unit],
        }
    )
    eta = 1.7 - 1.1 * data["mode"] - 0.8 * data["difficulty"] + 0.4 * data["depth"]
    eta += 0.5 * rng.normal(size=20_000)[participant] + 0.9 * rng.normal(size=5_000)[unit]
    data["correct"] = (rng.random(1_000_000) < 1 / (1 + np.exp(-eta))).astype(int)
    seconds, result = timed(
        "correct ~ mode + difficulty + depth + (1|unit) + (1|participant)", data
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return {"seconds": seconds, "peak_gb": peak, "sd_unit": float(result.random[1].sd[0])}


def inference(path: Path, refits: int, workers: int) -> dict[str, float]:
    """Seconds of each method after the fit; the bootstrap's spread over the standard error."""
    design = build_design(FORMULA, pd.read_csv(path))
    result = fit_design(design)
    drawn: list[Bootstrap] = []
    seconds = {}
    for name, work in {
        "one fit": lambda: fit_design(design),
        "likelihood ratio": lambda: likelihood_ratio(result, "logparams"),
        "profile": lambda: profile(result, "logparams"),
        "two-stage t": lambda: two_stage(design, group="model"),
        f"{refits} refits": lambda: drawn.append(bootstrap(result, n=refits, workers=workers)),
    }.items():
        began = time.perf_counter()
        work()
        seconds[name] = time.perf_counter() - began
    estimates = drawn[0].estimate
    return {
        **seconds,
        "converged": int(np.isfinite(estimates[:, 0]).sum()),
        "sd_over_se": float(np.nanstd(estimates[:, 1]) / result.se[1]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=SHARED)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--million", action="store_true", help="also the fit of a million answers")
    parser.add_argument("--peers", type=Path, help="virtual environment with the Python packages")
    parser.add_argument("--only-peers", action="store_true", help="no scaling, no inference")
    parser.add_argument("--refits", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2, help="processes of the bootstrap")
    parser.add_argument("--rows", type=int, help="rows of crossed_50k to take, at random")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    path = arguments.shared / "glmm" / "crossed_50k.csv"
    with tempfile.TemporaryDirectory() as folder:
        if arguments.rows:
            some = pd.read_csv(path).sample(arguments.rows, random_state=0)
            path = Path(folder) / "rows.csv"
            some.to_csv(path, index=False)
        table = {"against its peers": against_peers(path, arguments.repeats, arguments.peers)}
        if not arguments.only_peers:
            table["ten times the rows"] = tenfold(path, arguments.repeats)
            table["inference"] = inference(path, arguments.refits, arguments.workers)
    if arguments.million:
        table["a million answers"] = million()
    for title, row in table.items():
        print(title)
        for name, value in row.items():
            print(f"  {name:<28} {value:10.3f}")
    write_record(arguments.json, table)


if __name__ == "__main__":
    main()
