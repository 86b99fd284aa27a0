"""What a GPU gives: hooks over the bare forward pass, decoding beside it, MIS, and agreement.

    python benchmarks/bench_gpu.py                          # tiny where there is no GPU
    python benchmarks/bench_gpu.py --only hooks --network resnet50 --batch-size 256 --repeats 9

Weights are random and photographs made up (JPEG, 500 x 375, about 110 kB as ImageNet's are):
neither changes the work. The last table says which bars are met. What is compared runs by turns
in one process, a first turn left out; ratios are medians over turns. `hooks` reduces every
layer's output to its units' activations, `pass` also selects extremes, measures sampled units
and writes the shards' files but the last, beside which nothing is left to do: what `imi-bench
mis` does with images once they are decoded. `sampled` follows the layers of 84 sampled units
alone, as `imi-bench stimuli build` does.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from measuring import by_turns, peak_mib, table, write_record

NETWORKS = ("resnet50", "timm:vit_base_patch16_224", "timm:convnext_base")
UNITS = 84
PARTS = ("hooks", "pipeline", "mis", "agreement")
_DISTINCT = 256


def main() -> None:
    import torch

    here = "cuda" if torch.cuda.is_available() else "cpu"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=PARTS, choices=PARTS)
    parser.add_argument("--network", nargs="*", default=NETWORKS)
    parser.add_argument("--precision", nargs="*", default=["float32", "bfloat16"])
    parser.add_argument("--follow", nargs="*", default=["all", "sampled"])
    parser.add_argument("--batch-size", type=int, nargs="*", default=[256])
    parser.add_argument("--images", type=int, default=2048, help="of a turn")
    parser.add_argument("--photographs", type=int, default=8192, help="of the pipeline")
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 4, os.cpu_count() or 1])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--units", type=int, default=20_000, help="of the MIS")
    parser.add_argument("--mis-images", type=int, default=50_000)
    parser.add_argument("--device", default=here)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.device == "cpu" and options.images > 64:
        print("no GPU: tiny sizes, to see that it runs")
        options.network, options.batch_size = ["timm:test_resnet"], [8]
        options.images, options.photographs, options.repeats = 16, 16, 2
        options.units, options.mis_images, options.workers = 200, 2000, [0]
    report: dict[str, Any] = {"machine": machine(options.device), "simulated": True}
    print(" ".join(f"{name} {value};" for name, value in report["machine"].items()), flush=True)
    parts: dict[str, Callable[[argparse.Namespace], list[dict[str, Any]]]] = {
        "hooks": hooks,
        "pipeline": pipeline,
        "mis": interpretability,
        "agreement": agreement,
    }
    for name in options.only:
        started = time.perf_counter()
        report[name] = parts[name](options)
        print(f"\n== {name} ({time.perf_counter() - started:.0f} s)")
        table(report[name])
        write_record(options.json, report)
    tiny = options.network == ["timm:test_resnet"]
    print(f"\n== the bars{' (tiny sizes: no verdict)' if tiny else ''}")
    table(bars(report))


def bars(report: dict[str, Any]) -> list[dict[str, Any]]:
    """What was measured beside what was wanted; parts that did not run have no row."""
    forward = {
        f"{row['network']}, {row['precision']}": row["bare_img_s"]
        for row in report.get("hooks", ())
    }
    rows = [
        (f"hooks over bare: {row['network']}, {row['precision']}, {row['follow']}", row, 1.03)
        for row in report.get("hooks", ())
    ]
    found = [(bar, row["hooks_ratio"], most, row["hooks_ratio"] <= most) for bar, row, most in rows]
    decoded = [row for row in report.get("pipeline", ()) if row["what"].startswith("decoding")]
    for way in DECODED:
        rates = [row["img_s"] for row in decoded if row["what"].endswith(f"kB{way}")]
        for name, rate in forward.items() if rates else ():
            bar = f"images/s of decoding{way}, not below forward of {name}"
            found.append((bar, max(rates), rate, max(rates) >= rate))
    for row in report.get("mis", ()):
        bar = f"seconds of MIS, {row['units']:,} x {row['images']:,}, inputs on {row['inputs']}"
        found.append((bar, row["seconds"], 10.0, row["seconds"] < 10))
    return [
        {"bar": bar, "measured": value, "wanted": wanted, "met": "yes" if met else "no"}
        for bar, value, wanted, met in found
    ]


def machine(device: str) -> dict[str, Any]:
    """Card, cores and versions."""
    import torch

    from imi_bench.beside import cores
    from imi_bench.vision.device import device_name

    return {
        "device": device_name(device),
        "cores": cores(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
    }


def hooks(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Bare forward pass, with hooks, and the whole pass, of images that are decoded already."""
    from imi_bench.vision.loading import load_network

    rows = []
    for name in options.network:
        network = load_network(name, pretrained=False, device=options.device)
        for precision in options.precision:
            for batch_size in options.batch_size:
                for follow in options.follow:
                    work = Work(network, precision, batch_size, follow, options)
                    rows.append(work.measured())
                    table(rows[-1:], heading=len(rows) == 1)
        del network
    return rows


@dataclass
class Work:
    """One network, its number type and batch size, and the layers that are followed."""

    network: Any
    precision: str
    batch_size: int
    follow: str
    options: argparse.Namespace

    def measured(self) -> dict[str, Any]:
        import torch

        from imi_bench.networks.activations import plan_activations
        from imi_bench.networks.units import sample_units

        count = self.options.images
        self.images = collection(count)
        self.held = Held(self.network, count, self.batch_size, images=self.images)
        self.plan = plan_activations(
            self.network,
            self.images,
            layers=[] if self.follow == "sampled" else None,
            sampled=sample_units(self.network.layers, UNITS, seed=0),
            batch_size=self.batch_size,
            precision=self.precision,
        )
        self.recorder = self.made_recorder()
        if self.on_gpu:
            torch.cuda.reset_peak_memory_stats()
        sides: dict[str, Callable[[], Any]] = {
            "bare": self.bare,
            "hooks": self.hooked,
            "pass": self.whole,
        }
        seconds = wall(sides, self.options.repeats)
        rate = {name: count / float(np.median(s)) for name, s in seconds.items()}
        return {
            "network": self.network.name,
            "precision": self.precision,
            "batch": self.batch_size,
            "follow": self.follow,
            "units": sum(self.network.layer(name).width for name in self.plan.layers),
            "layers": len(self.plan.layers),
            "not_read": len(self.recorder.routes.taken) if self.recorder.routes else 0,
            "bare_img_s": rate["bare"],
            "hooks_img_s": rate["hooks"],
            "pass_img_s": rate["pass"],
            "hooks_ratio": ratio(seconds["hooks"], seconds["bare"]),
            "hooks_range": span(seconds["hooks"], seconds["bare"]),
            "pass_ratio": ratio(seconds["pass"], seconds["bare"]),
            "peak_gb": torch.cuda.max_memory_allocated() / 1e9 if self.on_gpu else None,
        }

    def made_recorder(self) -> Any:
        from imi_bench.networks.recording import Recorder, Rows
        from imi_bench.networks.routes import routes_of

        layers = tuple(self.network.layer(name) for name in self.plan.layers)
        routes = routes_of(self.network, layers, precision=self.precision)
        return Recorder(
            Rows.of(layers),
            (),
            block=self.options.images,
            device=self.network.device,
            routes=routes if self.on_gpu else None,
        )

    @property
    def on_gpu(self) -> bool:
        return self.network.device.startswith("cuda")

    def forward(self) -> Iterator[int]:
        from imi_bench.networks.forward import forward_batches

        return forward_batches(
            self.network, self.held, range(len(self.images)), precision=self.precision
        )

    def bare(self) -> None:
        for _ in self.forward():
            pass
        self.settle()

    def hooked(self) -> None:
        from imi_bench.networks.units import hooked

        recorder = self.recorder
        with hooked(self.network.module, recorder.paths, recorder.seen, inputs=True):
            for size in self.forward():
                recorder.advance(size)
        recorder.complete()
        self.settle()

    def whole(self) -> Callable[[], None]:
        from imi_bench.networks.activations import begin_shard

        folder = tempfile.TemporaryDirectory()
        begun = [
            begin_shard(
                self.plan,
                number,
                network=self.network,
                folder=Path(folder.name),
                decoding=self.held,
            )
            for number in range(len(self.plan.shards))
        ]
        for one in begun[:-1]:
            one.result()
        self.settle()

        def afterwards() -> None:
            begun[-1].result()
            folder.cleanup()

        return afterwards

    def settle(self) -> None:
        import torch

        if self.on_gpu:
            torch.cuda.synchronize()


class Held:
    """Decoded batches in memory, in place of processes that decode."""

    def __init__(self, network: Any, count: int, batch_size: int, images: Any = None) -> None:
        import torch

        self.images = images

        height, width = network.preprocess.size
        some = np.random.default_rng(0).integers(
            0, 256, (min(count, batch_size), height, width, 3), dtype=np.uint8
        )
        # equal images would be equal activations, which extremes take longer for
        kinds = range(min(256, -(-count // batch_size)))
        held = [torch.from_numpy(some ^ np.uint8(kind)) for kind in kinds]
        pinned = network.device.startswith("cuda")
        self.held = [one.pin_memory() if pinned else one for one in held]
        self.batch_size = batch_size

    def batches(self, numbers: range) -> Iterator[Any]:
        for start in range(numbers.start, numbers.stop, self.batch_size):
            batch = self.held[start // self.batch_size % len(self.held)]
            yield batch[: min(self.batch_size, numbers.stop - start)]


def pipeline(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Images a second of decoding, of the transfer, and of `collect_activations` from JPEG.

    Once as they are, then with pixels kept on disk: the first pass, which writes them, and a later
    one, as of another network.
    """
    from imi_bench.vision.loading import load_network

    rows: list[dict[str, Any]] = []

    def measured(what: str, rate: float) -> None:
        rows.append({"what": what, "img_s": rate})
        table(rows[-1:], heading=len(rows) == 1)

    first = load_network(options.network[0], pretrained=False, device=options.device)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["IMI_BENCH_CACHE"] = str(Path(folder) / "cache")
        images, size = photographs(options.photographs)
        for workers in options.workers:
            shutil.rmtree(os.environ["IMI_BENCH_CACHE"], ignore_errors=True)
            for way in DECODED:
                rate = decoding_rate(first.preprocess, images, workers, way, options)
                measured(f"decoding, {workers} workers, {size:.0f} kB{way}", rate)
        held = Held(first, options.batch_size[0], options.batch_size[0])
        measured("transfer, pinned, uint8", transfer(held.held[0], options))
        del first
        for name in options.network:
            network = load_network(name, pretrained=False, device=options.device)
            for precision in options.precision:
                for way in DECODED:
                    rate = activations_rate(network, images, precision, way, options)
                    what = f"activations of {network.name}, {precision}, from JPEG{way}"
                    measured(what, rate)
    return rows


DECODED = ("", ", pixels kept: first pass", ", pixels kept: later pass")


def decoding_rate(
    preprocess: Any, images: Any, workers: int, way: str, options: argparse.Namespace
) -> float:
    """Images a second from files, or from what is kept, to batches in memory."""
    from imi_bench.networks.decoding import Decoding

    count = min(len(images), 512 * max(1, workers))
    stream = Decoding(
        preprocess,
        images,
        batch_size=options.batch_size[0],
        workers=workers,
        device=options.device,
        keep_pixels=bool(way),
    )
    started = time.perf_counter()
    for _ in stream.batches(range(count)):
        pass
    return count / (time.perf_counter() - started)


def activations_rate(
    network: Any, images: Any, precision: str, way: str, options: argparse.Namespace
) -> float:
    """Images a second of a whole pass that follows the layers of sampled units."""
    from imi_bench.networks.activations import collect_activations
    from imi_bench.networks.units import sample_units

    if way == DECODED[1]:
        shutil.rmtree(os.environ["IMI_BENCH_CACHE"], ignore_errors=True)
    started = time.perf_counter()
    collect_activations(
        network,
        images,
        layers=[],
        sampled=sample_units(network.layers, UNITS, seed=0),
        batch_size=options.batch_size[0],
        precision=precision,
        keep_pixels=bool(way),
    )
    return len(images) / (time.perf_counter() - started)


def transfer(batch: Any, options: argparse.Namespace) -> float:
    """Images a second from memory to the device."""
    import torch

    def run() -> None:
        for _ in range(20):
            batch.to(options.device, non_blocking=True)
        if options.device.startswith("cuda"):
            torch.cuda.synchronize()

    seconds = wall({"transfer": run}, options.repeats)["transfer"]
    return 20 * len(batch) / float(np.median(seconds))


def interpretability(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Seconds and memory of the MIS of many units, with inputs in memory and on the device."""
    import torch

    from imi_bench.mis.scores import machine_interpretability_score

    drawn: dict[str, Any] = {
        "generator": torch.Generator(device=options.device).manual_seed(0),
        "device": options.device,
    }
    embeddings = torch.randn(options.mis_images, 512, **drawn).cpu()
    activations = torch.randn(options.mis_images, options.units, **drawn).cpu()
    rows, scores = [], []
    for where in dict.fromkeys(["cpu", options.device]):
        sent = embeddings.to(where), activations.to(where)
        seconds = []
        if where != "cpu":
            torch.cuda.reset_peak_memory_stats()
        for _ in range(max(1, options.repeats // 2)):
            started = time.perf_counter()
            found = machine_interpretability_score(*sent, slope=5.0, seed=0)
            seconds.append(time.perf_counter() - started)
        scores.append(found.score)
        rows.append(
            {
                "inputs": where,
                "units": options.units,
                "images": options.mis_images,
                "seconds": float(np.median(seconds)),
                "peak_rss_gb": peak_mib() / 1024,
                "device_gb": None if where == "cpu" else torch.cuda.max_memory_allocated() / 1e9,
                "largest_difference": float(np.abs(scores[0] - found.score).max()),
            }
        )
    return rows


def agreement(options: argparse.Namespace) -> list[dict[str, Any]]:
    """How far the device is from the processor: activations, extremes, codes."""
    from imi_bench.networks.activations import collect_activations
    from imi_bench.networks.units import sample_units
    from imi_bench.observers.encoders import from_timm
    from imi_bench.vision.loading import load_network

    rows: list[dict[str, Any]] = []
    count = min(options.images, 64)
    pictures = np.random.default_rng(1).integers(0, 256, (count, 256, 256, 3), dtype=np.uint8)
    for name in options.network:
        found = {}
        for where, precision in (
            ("cpu", "float32"),
            *((options.device, p) for p in options.precision),
        ):
            network = load_network(name, pretrained=False, device=where)
            found[where, precision] = collect_activations(
                network,
                pictures,
                sampled=sample_units(network.layers, UNITS, seed=0),
                keep=10,
                batch_size=32,
                precision=precision,
            )
        wanted = found["cpu", "float32"]
        for (where, precision), one in list(found.items())[1:]:
            spread = wanted.values.std(axis=0)
            same = np.sort(one.top_images, 1) == np.sort(wanted.top_images, 1)
            rows.append(
                {
                    "what": f"{network.name} on {where}, {precision}",
                    "of_spread_median": float(
                        np.median(np.abs(one.values - wanted.values) / spread)
                    ),
                    "of_spread_largest": float((np.abs(one.values - wanted.values) / spread).max()),
                    "units_same_10": float(same.all(1).mean()),
                }
            )
    codes = []
    for where in ("cpu", options.device):
        observer = from_timm("test_vit", pretrained=False, device=where)
        codes.append(np.asarray(observer.encode(list(pictures))))
    gap = np.linalg.norm(codes[1] - codes[0], axis=1) / np.linalg.norm(codes[0], axis=1)
    rows.append(
        {"what": "codes of timm:test_vit, of their norm", "of_spread_largest": float(gap.max())}
    )
    return rows


def wall(sides: dict[str, Callable[[], Any]], repeats: int) -> dict[str, np.ndarray]:
    """Seconds of the wall clock of each side, by turns."""
    return {name: seconds[:, 0] for name, seconds in by_turns(sides, repeats).items()}


def ratio(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.median(one / other))


def span(one: np.ndarray, other: np.ndarray) -> str:
    return f"{(one / other).min():.3f}-{(one / other).max():.3f}"


def collection(count: int) -> Any:
    """So many numbered images of nothing: their pixels are never asked for."""
    from imi_bench.networks.collection import ImageSet

    nothing = np.zeros((8, 8, 3), np.uint8)
    names = np.array([str(number) for number in range(count)], dtype=object)
    return ImageSet(names, lambda _: nothing, lambda: ["0" * 64] * count, concurrent=True)


def photographs(count: int) -> tuple[Any, float]:
    """So many JPEG files in memory, a few hundred distinct pictures, and their mean size in kB."""
    from PIL import Image

    from imi_bench.networks.collection import ImageSet
    from imi_bench.provenance import sha256_bytes
    from imi_bench.tables.images import decode_bytes

    rng = np.random.default_rng(0)
    files = []
    for _ in range(min(count, _DISTINCT)):
        coarse = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        smooth = np.asarray(Image.fromarray(coarse).resize((500, 375), Image.Resampling.BICUBIC))
        noisy = np.clip(smooth + rng.normal(0, 18, smooth.shape), 0, 255).astype(np.uint8)
        packed = io.BytesIO()
        Image.fromarray(noisy).save(packed, "JPEG", quality=88)
        files.append(packed.getvalue())

    def packed_one(number: int) -> tuple[Path, bytes]:
        # what follows the end of a JPEG is read by nobody, and makes another content of it
        return Path(f"{number:06d}.jpg"), files[number % len(files)] + number.to_bytes(8)

    images = ImageSet(
        np.array([f"{number:06d}" for number in range(count)], dtype=object),
        lambda number: decode_bytes(packed_one(number)[1], where=number),
        lambda: [sha256_bytes(packed_one(number)[1]) for number in range(count)],
        concurrent=True,
        packed=packed_one,
    )
    print(f"{count} photographs, {images.fingerprint[:12]}")  # hashed before what is measured
    return images, float(np.mean([len(one) for one in files])) / 1e3


if __name__ == "__main__":
    main()
