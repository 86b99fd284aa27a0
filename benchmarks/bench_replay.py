"""Replay against one pass of the encoder; re-run from the cache; trials a second; memory.

    python benchmarks/bench_replay.py --threads 2 --json replay.json

Images are made up (coarse noise, PNG, 224 x 224); the encoder is a timm ResNet-10-T with random
weights. What is compared is interleaved within each repeat; figures are medians.

Targets: 2,000 trials over 400 images cost at most 1.15 passes of the encoder over the 400 images;
from the cache at least 20 times faster; cached, at least 20,000 trials a second at 512
dimensions; memory does not grow with the number of trials beyond the tables themselves.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from measuring import again, by_turns, write_record

N_IMAGES, N_TRIALS, N_REFERENCES, SIDE = 400, 2_000, 9, 224
N_CACHED_TRIALS, N_CACHED_IMAGES, N_DIMS = 20_000, 5_000, 512
MEMORY_TRIALS = (10_000, 100_000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--memory-of", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.memory_of:
        print(*_memory(arguments.memory_of))
        return
    report: dict[str, Any] = {"threads": arguments.threads, "simulated": True}
    with tempfile.TemporaryDirectory() as folder:
        report["first_run"] = _first_run(Path(folder), arguments.threads, arguments.repeats)
        report["cached"] = _cached(Path(folder), arguments.repeats)
    report["memory"] = {
        count: dict(zip(("tables_mib", "extra_mib"), again("--memory-of", str(count)), strict=True))
        for count in MEMORY_TRIALS
    }
    _print(report)
    write_record(arguments.json, report)


def _first_run(folder: Path, threads: int, repeats: int) -> dict[str, float]:
    import torch

    from imi_bench.observers.encoders import from_timm
    from imi_bench.replay.plan import BATCH_ON_CPU
    from imi_bench.replay.runner import replay
    from imi_bench.tables.images import Images

    torch.set_num_threads(threads)
    observer = from_timm("resnet10t", pretrained=False, image_size=SIDE, device="cpu")
    images, _ = Images.collect(_write_images(folder / "images"))
    trials = _trials(N_TRIALS, images)
    pixels = [images.decode(row) for row in range(N_IMAGES)]
    batches = [slice(i, i + BATCH_ON_CPU) for i in range(0, N_IMAGES, BATCH_ON_CPU)]
    fresh = (folder / f"cache{i}" for i in range(10**6))

    def decode_and_encode() -> None:
        for batch in batches:
            observer.encode([images.decode(row) for row in range(N_IMAGES)[batch]])

    runs: dict[str, Callable[[], Any]] = {
        "encoder": lambda: [observer.encode(pixels[batch]) for batch in batches],
        "decode_and_encoder": decode_and_encode,
        "replay": lambda: replay(observer, trials, cache=next(fresh)),
        "replay_again": lambda: replay(observer, trials, cache=folder / "cache0"),
    }
    seconds = {name: float(np.median(s[:, 0])) for name, s in by_turns(runs, repeats).items()}
    return {
        **{f"{name}_s": value for name, value in seconds.items()},
        "replay_per_pass": seconds["replay"] / seconds["decode_and_encoder"],
        "replay_per_pass_without_decoding": seconds["replay"] / seconds["encoder"],
        "times_faster_again": seconds["replay"] / seconds["replay_again"],
    }


def _cached(folder: Path, repeats: int) -> dict[str, float]:
    from imi_bench.replay.runner import replay
    from imi_bench.stimuli.trial_files import read_trials, write_trials

    trials, observer = _small_trials(N_CACHED_TRIALS), _projection()
    trials = read_trials(write_trials(trials, folder / "small_trials"))
    replay(observer, trials, cache=folder / "small")
    out = (folder / f"out{i}" for i in range(10**6))
    runs: dict[str, Callable[[], Any]] = {
        "in_memory": lambda: replay(observer, _fresh(trials), cache=folder / "small"),
        "with_files": lambda: replay(
            observer, _fresh(trials), cache=folder / "small", out=next(out)
        ),
    }
    return {
        f"{name}_trials_per_{clock}": N_CACHED_TRIALS / float(np.median(seconds[:, column]))
        for name, seconds in by_turns(runs, repeats).items()
        for column, clock in enumerate(("s", "cpu_s"))
    }


def _memory(count: int) -> tuple[float, float]:
    """MiB of the tables of trials and decisions, and of all else at the peak of a cached replay."""
    import tracemalloc

    from imi_bench.replay.runner import replay

    with tempfile.TemporaryDirectory() as folder:
        observer = _projection()
        replay(observer, _small_trials(count), cache=Path(folder))
        tracemalloc.start()
        trials = _small_trials(count)
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        done = replay(observer, trials, cache=Path(folder))
        peak = tracemalloc.get_traced_memory()[1]
        del trials
        tables = before + sum(
            getattr(done.decisions, name).nbytes
            for name in ("trial_id", "decision_variable", "status", "shown_first", "seconds")
        )
    return tables / 2**20, (peak - tables) / 2**20


def _write_images(folder: Path) -> list[Path]:
    from PIL import Image

    folder.mkdir()
    rng = np.random.default_rng(0)
    paths = []
    for number in range(N_IMAGES):
        noise = rng.integers(0, 256, (SIDE // 4, SIDE // 4, 3), dtype=np.uint8)
        picture = Image.fromarray(noise).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        paths.append(folder / f"{number}.png")
        picture.save(paths[-1])
    return paths


def _trials(count: int, images: Any) -> Any:
    from imi_bench.tables import TrialIndex, Trials

    rng = np.random.default_rng(1)
    cells = np.stack(
        [rng.choice(len(images), 2 * N_REFERENCES + 2, replace=False) for _ in range(count)]
    )
    index = TrialIndex(
        trial_id=[f"net/layer/{i // 20}/natural/easy/{i % 20}" for i in range(count)],
        network=["net"] * count,
        layer=["layer"] * count,
        unit=np.arange(count) // 20,
        mode=["natural"] * count,
        difficulty=["easy"] * count,
        batch=np.arange(count) % 20,
        catch=np.zeros(count, bool),
    )
    return Trials(index, images, cells[:, :N_REFERENCES], cells[:, N_REFERENCES:-2], cells[:, -2:])


def _fresh(trials: Any) -> Any:
    """The same trials without what they remember of earlier calls, such as their hash."""
    return trials.take(np.arange(len(trials)))


def _small_trials(count: int) -> Any:
    from imi_bench.tables.images import Images

    pixels = np.random.default_rng(2).integers(0, 256, (N_CACHED_IMAGES, 8, 8, 3), dtype=np.uint8)
    return _trials(count, Images.collect(list(pixels))[0])


def _projection() -> Any:
    from imi_bench.observers.embedding import Embedding

    matrix = np.random.default_rng(3).standard_normal((8 * 8 * 3, N_DIMS), dtype=np.float32)

    def encode(images: Sequence[Any]) -> Any:
        return np.stack(images).reshape(len(images), -1).astype(np.float32) @ matrix

    return Embedding(encode, name="projection", description={"seed": 3})


def _print(report: dict[str, Any]) -> None:
    first, cached, memory = report["first_run"], report["cached"], report["memory"]
    few, many = (memory[count] for count in MEMORY_TRIALS)
    extra = (many["extra_mib"] - few["extra_mib"]) / (many["tables_mib"] - few["tables_mib"])
    rows = [
        ("encoder over 400 decoded images", f"{first['encoder_s']:.2f} s", ""),
        ("… decoding them first", f"{first['decode_and_encoder_s']:.2f} s", ""),
        ("replay of 2,000 trials", f"{first['replay_s']:.2f} s", ""),
        ("replay / pass with decoding", f"{first['replay_per_pass']:.3f}", "at most 1.15"),
        ("replay / pass without", f"{first['replay_per_pass_without_decoding']:.3f}", ""),
        ("first / second replay", f"{first['times_faster_again']:.0f}", "at least 20"),
        ("cached trials/s", f"{cached['in_memory_trials_per_s']:,.0f}", "at least 20,000"),
        ("… by processor time", f"{cached['in_memory_trials_per_cpu_s']:,.0f}", "of all threads"),
        ("cached trials/s, writing files", f"{cached['with_files_trials_per_s']:,.0f}", ""),
        *(
            (
                f"{n:,} trials: tables, all else",
                f"{m['tables_mib']:.0f}, {m['extra_mib']:.0f} MiB",
                "",
            )
            for n, m in memory.items()
        ),
        ("growth of all else / of the tables", f"{extra:.2f}", ""),
    ]
    for row in rows:
        print(f"{row[0]:38}{row[1]:>16}  {row[2]}")


if __name__ == "__main__":
    os.environ.setdefault("IMI_BENCH_CACHE", tempfile.gettempdir())
    main()
