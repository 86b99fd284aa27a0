"""Machine interpretability score against the public implementation: time, memory, agreement.

The public implementation is not part of this project. Point `--reference` at a checkout of
klindtlab/MachInterp; without it only our own times and memory are measured.

    python benchmarks/bench_mis.py --reference ../MachInterp --threads 2

Sizes: 10,000 images x 1,792 dimensions (DreamSim's), 200 units, N = 20 tasks, K = 9 references.
All data are simulated (standard normal). The two run by turns, and ratios are medians over pairs,
of wall time and of processor time (which other work on the machine moves less). The public
implementation gets one thread or `--threads`, whichever is faster in a trial before.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
from measuring import again, by_turns, peak_mib, write_record

N_IMAGES, N_DIMS, N_UNITS, N_TASKS, N_REFERENCES = 10_000, 1_792, 200, 20, 9
SLOPE = 5.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reference", type=Path, help="checkout of klindtlab/MachInterp")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--memory-units", type=int, nargs="*", default=[200, 2_000, 20_000])
    parser.add_argument("--memory-of", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.memory_of:
        _print_memory(arguments.memory_of)
        return
    report: dict[str, Any] = {"threads": arguments.threads, "simulated": True}
    report |= _speed(arguments.reference, arguments.threads, arguments.repeats)
    report["memory_mib_above_inputs"] = {
        units: again("--memory-of", str(units))[0] for units in arguments.memory_units
    }
    _print(report)
    write_record(arguments.json, report)


def _speed(reference: Path | None, threads: int, repeats: int) -> dict[str, Any]:
    from imi_bench.mis.scores import machine_interpretability_score, score_tasks
    from imi_bench.networks.tasks import Tasks

    rng = np.random.default_rng(0)
    embeddings = rng.standard_normal((N_IMAGES, N_DIMS), dtype=np.float32)
    activations = rng.standard_normal((N_IMAGES, N_UNITS), dtype=np.float32)

    def ours() -> Any:
        return machine_interpretability_score(
            embeddings,
            activations,
            n_tasks=N_TASKS,
            n_references=N_REFERENCES,
            slope=SLOPE,
            seed=0,
            threads=threads,
        )

    if not reference:
        return _summary(by_turns({"ours": ours}, repeats))
    public = _Public(reference, embeddings, activations)
    public.choose_threads(threads)
    seconds = by_turns({"ours": ours, "public": public.score}, repeats)
    times = seconds["public"] / seconds["ours"]
    report = _summary(seconds)
    report["public_threads"] = public.threads
    report["times_faster_wall"], report["times_faster_cpu"] = np.median(times, axis=0).tolist()
    report["times_faster_wall_range"] = [float(times[:, 0].min()), float(times[:, 0].max())]
    top, bottom = public.draws()
    same = score_tasks(embeddings, Tasks(top, bottom), slope=SLOPE)
    report["largest_score_difference"] = float(np.abs(same.score - public.score()).max())
    report["largest_hard_score_difference"] = float(
        np.abs(same.hard_score - public.score(alpha=None)).max()
    )
    return report


class _Public:
    """The public implementation on the same arrays, with the cosine metric it uses for DreamSim."""

    def __init__(self, folder: Path, embeddings: Any, activations: Any) -> None:
        import torch

        sys.path.insert(0, str(folder))
        self._mis = importlib.import_module("mis")
        self._torch, self.threads = torch, 1
        self._embeddings = torch.from_numpy(embeddings)
        self._activations = torch.from_numpy(activations).T

        def cosine(first: Any, second: Any) -> Any:
            first, second = torch.atleast_2d(first), torch.atleast_2d(second)
            return torch.nn.functional.cosine_similarity(first[:, None], second[None], dim=-1)

        self._cosine = cosine

    def choose_threads(self, most: int) -> None:
        """Take one thread or `most`, whichever scores faster."""
        seconds = {}
        for self.threads in (1, most):
            self._torch.set_num_threads(self.threads)
            seconds[self.threads] = by_turns({"public": self.score}, 1)["public"][0, 0]
        self.threads = min(seconds, key=lambda count: seconds[count])
        self._torch.set_num_threads(self.threads)

    def draws(self) -> tuple[Any, Any]:
        top, bottom = self._mis.subset_sampling(
            0, self._activations, K=N_REFERENCES, N=N_TASKS, quantile=0.02, device="cpu"
        )
        top, bottom = self._mis.sort_subset_id(top, bottom, self._activations)
        return top.numpy(), bottom.numpy()

    def score(self, alpha: float | None = SLOPE) -> Any:
        queries, explanations = self._mis.query_explanation_generation(
            0,
            self._embeddings,
            self._activations,
            K=N_REFERENCES,
            N=N_TASKS,
            quantile=0.02,
            device="cpu",
        )
        return self._mis.calc_MIS_set(queries, explanations, self._cosine, alpha=alpha).numpy()


def _summary(seconds: dict[str, np.ndarray]) -> dict[str, Any]:
    middle = {name: np.median(values, axis=0) for name, values in seconds.items()}
    return {
        f"{name}_{kind}_s": float(values[column])
        for name, values in middle.items()
        for column, kind in enumerate(("wall", "cpu"))
    }


def _print_memory(n_units: int) -> None:
    """Peak resident memory above the inputs, in a process of its own."""
    from imi_bench.mis.scores import machine_interpretability_score

    rng = np.random.default_rng(0)
    few = rng.standard_normal((1000, 4)), rng.standard_normal((1000, 1))
    machine_interpretability_score(*few, slope=SLOPE, seed=0)  # loads torch
    embeddings = rng.standard_normal((N_IMAGES, N_DIMS), dtype=np.float32)
    activations = rng.standard_normal((N_IMAGES, n_units), dtype=np.float32)
    before = peak_mib()
    machine_interpretability_score(embeddings, activations, slope=SLOPE, seed=0, threads=2)
    print(peak_mib() - before)


def _print(report: dict[str, Any]) -> None:
    print(
        f"{N_IMAGES:,} images x {N_DIMS:,} dims, {N_UNITS} units, "
        f"N={N_TASKS}, K={N_REFERENCES}, {report['threads']} threads (simulated data)"
    )
    for name, value in report.items():
        if isinstance(value, float | list):
            print(f"  {name:32s} {' to '.join(f'{one:.4g}' for one in np.atleast_1d(value))}")
    for units, mebibytes in report["memory_mib_above_inputs"].items():
        print(f"  memory above inputs, {units:>6,} units  {mebibytes:8.1f} MiB")


if __name__ == "__main__":
    main()
