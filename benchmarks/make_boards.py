"""Fill the shipped boards with every observer and network that can be run here.

Observers boards ``observers-mini`` and ``observers-mini-2``: the mini-benchmark in its first and
its second world, simulated panels, and all observers that need no downloaded weights. Measures
board ``measures-mini``: what can be learnt from some of these in the second world. Networks board
``networks-cifar``: with ``--nets`` and ``--images`` (small networks trained on CIFAR-10 and its
test images) trials are built from each network and from the same architecture with random weights,
and judged by the panel calibrated on the mini-benchmark. Everything it writes is labelled
simulated. The rules are those of each board's ``board.toml``; the hashes in them are written anew.

    python benchmarks/make_boards.py [--nets DIR --images ARCHIVE.npz] [--only BOARD]
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import tomli_w
from PIL import Image

from imi_bench.choice.calibrate import calibrate
from imi_bench.documents import read_toml
from imi_bench.leaderboard.board import Board
from imi_bench.leaderboard.browser import COLUMNS, TILE
from imi_bench.leaderboard.pack import new, slugify
from imi_bench.leaderboard.site import build_board
from imi_bench.observers import catalogue
from imi_bench.provenance import atomic_path, sha256_file
from imi_bench.release.study_files import write_study
from imi_bench.replay.runner import replay
from imi_bench.simulation.world import World, build
from imi_bench.tables import Trials

BOARDS = Path(__file__).resolve().parents[1] / "leaderboards"
SIDES_SEED = 0
REFERENCES = ("chance", "one-side", "pixel-cosine")
TORCH_FREE = (
    "chance",
    "one-side",
    "pixel-cosine",
    "pixel-l2",
    "ssim",
    "classical",
    "colour-histogram",
    "oriented-energy",
    "hog",
)
POOLED = ("classical", "colour-histogram", "oriented-energy", "hog", "pixel-cosine")
DISCRIMINANTS = tuple(f"{n}?pooling={p}" for n in POOLED for p in ("ridge", "t-discriminant"))
PANEL = ("classical", "colour-histogram", "pixel-cosine")
TRAINED = ("test_resnet", "test_byobnet", "test_convnext2", "test_mambaout", "resnet10t")
MEASURES = {
    "one-mean": ("classical, pooled by the mean", ("classical",)),
    "one-t-discriminant": (
        "classical, pooled by the t-discriminant",
        ("classical?pooling=t-discriminant",),
    ),
    "five-t-discriminants": (
        "Five codes, pooled by the t-discriminant",
        tuple(f"{n}?pooling=t-discriminant" for n in POOLED),
    ),
    "five-codes-three-poolings": (
        "Five codes, each pooled by the mean, ridge and the t-discriminant",
        (*POOLED, *DISCRIMINANTS),
    ),
}
SECOND_WORLD = {"version": 2, "n_networks": 8, "n_single": 3, "n_mixed": 1, "n_noise": 1}


def write_stimuli(trials: Trials, folder: Path) -> None:
    """The images as one sheet of tiles, and which trial shows which."""
    count = len(trials.images)
    sheet = Image.new("RGB", (TILE * COLUMNS, TILE * -(-count // COLUMNS)))
    order = np.argsort(trials.images.hashes.astype(str))
    tile_of = np.empty(count, dtype=np.int64)
    tile_of[order] = np.arange(count)
    for row in range(count):
        tile = int(tile_of[row])
        image = Image.fromarray(trials.images.decode(row)).resize((TILE, TILE), Image.LANCZOS)
        sheet.paste(image, (TILE * (tile % COLUMNS), TILE * (tile // COLUMNS)))
    with atomic_path(folder / "stimuli.webp") as temporary:
        sheet.save(temporary, quality=60, method=6)
    frame = pd.DataFrame({"trial_id": trials.index.trial_id})
    for name in ("positive", "negative", "queries"):
        frame[name] = tile_of[getattr(trials, name)].tolist()
    with atomic_path(folder / "stimuli.parquet") as temporary:
        frame.to_parquet(temporary, index=False, compression="zstd")


def declared(name: str, board: str) -> dict[str, object]:
    """What the observer's card says, for submission.toml."""
    if name.startswith("timm:"):
        trained = "checkpoint" in name
        architecture = name.partition(":")[2].partition("?")[0]
        return {
            "board": board,
            "revision": "1",
            "authors": ["imi_bench developers"],
            "title": f"{architecture}, {'trained on CIFAR-10' if trained else 'random weights'}",
            "name": f"{architecture}-{'cifar10' if trained else 'random'}",
            "licence": "Apache-2.0",
            "preprocessing": "the architecture's own (timm)",
            "weights": {"source": "local checkpoint" if trained else "random, seed 0"},
            "training": {
                "data": ["CIFAR-10"] if trained else [],
                "human_similarity_judgements": False,
                "imi": False,
            },
        }
    plain, _, options = name.partition("?")
    pooling = options.removeprefix("pooling=")
    return {
        "board": board,
        "revision": "1",
        "authors": ["imi_bench developers"],
        "title": catalogue.card(plain).title + (f"; pooled by {pooling}" if pooling else ""),
        "licence": "Apache-2.0",
        "preprocessing": "as in the observer's card",
        "weights": {"source": "none"},
        "training": {"data": [], "human_similarity_judgements": False, "imi": False},
    }


def write_world(world: World, folder: Path) -> None:
    """Trials, people and the activations that the ideal observer reads."""
    folder.mkdir(exist_ok=True)
    write_study(world.study, folder)
    frame = pd.read_parquet(folder / "trials.parquet")
    order = pd.Index(world.trials.index.trial_id).get_indexer(frame["trial_id"])
    activations = world.trials.query_activations[order]
    frame["activation_positive"], frame["activation_negative"] = activations.T
    frame.to_parquet(folder / "trials.parquet", index=False, compression="zstd")


def observers_mini(world: World, name: str, nets: Path | None) -> None:
    folder = BOARDS / name
    write_world(world, folder)
    write_stimuli(world.trials, folder)
    references = [reference(name, world.trials, folder) for name in REFERENCES]
    hold(folder, world, references=references)
    names = [*(n for n in TORCH_FREE if n not in REFERENCES), *DISCRIMINANTS]
    if name == "observers-mini":
        names.append("timm:test_resnet?pretrained=false")
        if nets is not None:
            names += [f"timm:{n}?checkpoint={nets / n}.safetensors" for n in TRAINED]
    for one in names:
        submit(one, world.trials, folder)
    finish(folder)


def measures_mini(world: World) -> None:
    """What each set of observers can be made into, learnt from people by the board itself."""
    folder = BOARDS / "measures-mini"
    write_world(world, folder)
    hold(folder, world)
    for name, (title, parts) in MEASURES.items():
        out = folder / "submissions" / name / "1"
        if out.exists():
            continue
        with tempfile.TemporaryDirectory() as scratch:
            runs = [Path(scratch) / slugify(part) for part in parts]
            for part, run in zip(parts, runs, strict=True):
                replay(catalogue.load_observer(part), world.trials, seed=SIDES_SEED, out=run)
            facts = declared(parts[0], folder.name)
            new(runs, out=out, declared=facts | {"name": name, "title": title})
        print("submitted", name)
    finish(folder)


PANEL_BOARD = "networks-cifar"
NORMALISATION = "mean=0.4914,0.4822,0.4465&std=0.2470,0.2435,0.2616"
UNITS, BATCHES, IMAGES = 24, 5, 2000


def networks_cifar(world: World, nets: Path, archive: Path) -> None:
    """Trials from each network, trained and random, judged by the calibrated panel."""
    folder = BOARDS / PANEL_BOARD
    (folder / "calibrations").mkdir(parents=True, exist_ok=True)
    for name in PANEL:
        decisions = replay(catalogue.load_observer(name), world.trials, seed=SIDES_SEED).decisions
        calibrate(decisions, world.study).write(folder / "calibrations" / f"{name}.json")
    with np.load(archive) as stored:
        images = stored["images"][:IMAGES]
    for name in TRAINED:
        for trained in (True, False):
            submit_network(
                name, images, folder, checkpoint=nets / f"{name}.safetensors" if trained else None
            )
    finish(folder)


def submit_network(name: str, images: np.ndarray, board: Path, *, checkpoint: Path | None) -> None:
    slug = f"{name}-{'cifar10' if checkpoint else 'random'}"
    out = board / "submissions" / slug / "1"
    if out.exists():
        return
    from imi_bench.networks.activations import collect_activations
    from imi_bench.networks.exemplars import Design
    from imi_bench.networks.trial_folder import assemble_trials
    from imi_bench.networks.units import sample_units
    from imi_bench.vision.loading import load_network

    network = load_network(
        f"timm:{name}?num_classes=10&input_size=32&resize=32&{NORMALISATION}",
        checkpoint=checkpoint,
        pretrained=checkpoint is not None,
        seed=0,
        device="cpu",
    )
    units = sample_units(network.layers, UNITS, seed=0)
    found = collect_activations(network, images, layers=[], sampled=units)
    designs = [Design(difficulty, BATCHES) for difficulty in ("easy", "hard95", "hard85")]
    trials = assemble_trials(found, images, designs=designs, catch=False, crop=None, seed=0).trials
    runs = [replay(catalogue.load_observer(one), trials, seed=SIDES_SEED) for one in PANEL]
    with tempfile.TemporaryDirectory() as scratch:
        frames = [run.decisions.to_frame() for run in runs]
        pd.concat(frames).to_parquet(Path(scratch) / "decisions.parquet", index=False)
        record = {"panel": [run.record for run in runs]}
        (Path(scratch) / "run.json").write_text(json.dumps(record, indent=1))
        trials.index.to_frame().to_parquet(Path(scratch) / "trials.parquet", index=False)
        facts = declared(f"timm:{name}?{'checkpoint' if checkpoint else 'random'}", board.name)
        shown = set(zip(trials.index.layer, trials.index.unit, strict=True))
        facts["sampling"] = {
            "layers": {layer.name: layer.width for layer in network.layers},
            "left_out": sorted(
                f"{unit.layer}/{unit.channel}"
                for unit in units
                if (unit.layer, unit.channel) not in shown
            ),
        }
        new(Path(scratch), out=out, declared=facts | {"name": slug}, with_trials=True)
    print("submitted", slug, len(trials), flush=True)


def hold(folder: Path, world: World, **more: object) -> None:
    """Write the hashes of a board's trials and people into its rules."""
    rules = read_toml(folder / "board.toml")
    hashes = {"study_hash": world.study.hash, "trials_hash": world.trials.hash}
    (folder / "board.toml").write_text(tomli_w.dumps(rules | hashes | more))


def reference(name: str, trials: Trials, board: Path) -> dict[str, str]:
    """A yardstick of the board's own, and what its rules say of it."""
    out = board / "references" / name
    submit(name, trials, board, out=out)
    table = read_toml(out / "submission.toml")
    digest = sha256_file(out / "decisions.parquet")
    return {"name": name, "title": str(table["title"]), "sha256": digest}


def submit(name: str, trials: Trials, board: Path, *, out: Path | None = None) -> None:
    facts = declared(name, board.name)
    slug = str(facts.get("name", slugify(name)))
    out = out or board / "submissions" / slug / "1"
    if out.exists():
        return
    with tempfile.TemporaryDirectory() as scratch:
        run = Path(scratch) / "run"
        done = replay(catalogue.load_observer(name, device="cpu"), trials, seed=SIDES_SEED, out=run)
        facts["cost"] = {"seconds": round(sum(done.record["seconds"].values()), 2), "device": "cpu"}
        new(run, out=out, declared=facts)
    print("submitted", slug)


def finish(folder: Path) -> None:
    table = build_board(Board.read(folder))
    for row in table.ordered().rows:
        print(f"{row.rank or row.kind!s:>10}  {row.group or '':>2}  {row.name:30} {row.score}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nets", type=Path, help="folder of NAME.safetensors")
    parser.add_argument("--images", type=Path, help="archive with an array `images`")
    parser.add_argument("--only", help="one board, by name")
    arguments = parser.parse_args()
    only = arguments.only
    for name in ("networks-imi", "observers-imi") if only is None else ():
        finish(BOARDS / name)
    if only in (None, "observers-mini"):
        observers_mini(build(seed=0), "observers-mini", arguments.nets)
    if only in (None, "observers-mini-2", "measures-mini"):
        second = build(seed=0, **SECOND_WORLD)
        if only != "measures-mini":
            observers_mini(second, "observers-mini-2", None)
        if only != "observers-mini-2":
            measures_mini(second)
    if arguments.nets and arguments.images and only in (None, PANEL_BOARD):
        networks_cifar(build(seed=0), arguments.nets, arguments.images)


if __name__ == "__main__":
    main()
