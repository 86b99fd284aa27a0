"""Fill the shipped boards with every observer and network that can be run here.

Observers board ``observers-mini``: the mini-benchmark, its simulated panel, and all observers that
need no downloaded weights. Networks board ``networks-cifar``: with ``--nets`` and ``--images``
(small networks trained on CIFAR-10 and its test images) trials are built from each network and
from the same architecture with random weights, and judged by the panel calibrated on the
mini-benchmark. Everything it writes is labelled simulated.

    python benchmarks/make_boards.py [--nets DIR --images ARCHIVE.npz]
"""

from __future__ import annotations

import argparse
import datetime
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
from imi_bench.release.published import published
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
PANEL = ("classical", "colour-histogram", "pixel-cosine")
TRAINED = ("test_resnet", "test_byobnet", "test_convnext2", "test_mambaout", "resnet10t")
RULE = (
    "Ranked by score on all trials. A rank interval counts the rows surely better and surely "
    "worse, by paired t tests over units with simultaneous critical values; a tie group holds the "
    "rows that a paired t test, Holm-adjusted over all pairs, cannot tell from the first of the "
    "group."
)


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
    if "?" in name:
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
    card = catalogue.card(name)
    return {
        "board": board,
        "revision": "1",
        "authors": ["imi_bench developers"],
        "title": card.title,
        "licence": "Apache-2.0",
        "preprocessing": "as in the observer's card",
        "weights": {"source": "none"},
        "training": {"data": [], "human_similarity_judgements": False, "imi": False},
    }


def observers_mini(world: World, nets: Path | None) -> None:
    folder = BOARDS / "observers-mini"
    folder.mkdir(exist_ok=True)
    write_study(world.study, folder)
    frame = pd.read_parquet(folder / "trials.parquet")
    order = pd.Index(world.trials.index.trial_id).get_indexer(frame["trial_id"])
    activations = world.trials.query_activations[order]
    frame["activation_positive"], frame["activation_negative"] = activations.T
    frame.to_parquet(folder / "trials.parquet", index=False, compression="zstd")
    write_stimuli(world.trials, folder)
    rules = {
        "format": 1,
        "board": "observers-mini",
        "version": 2,
        "kind": "observers",
        "title": "Observers on the mini-benchmark",
        "question": "How well does a machine predict what people answer?",
        "about": "The images, the units and the participants are generated by the project itself, "
        "with known truth, so that every observer here can be run offline and every number "
        "recomputed. The board of the released human answers is observers-imi.",
        "simulated": True,
        "published": str(datetime.date(2026, 11, 25)),
        "study_hash": world.study.hash,
        "trials_hash": world.trials.hash,
        "sides_seed": SIDES_SEED,
        "references": [reference(name, world.trials, folder) for name in REFERENCES],
        "ranking": {"score": "bits", "rule": RULE, "n_resamples": 2000},
    }
    (folder / "board.toml").write_text(tomli_w.dumps(rules))
    names = [*(n for n in TORCH_FREE if n not in REFERENCES), "timm:test_resnet?pretrained=false"]
    if nets is not None:
        names += [f"timm:{n}?checkpoint={nets / n}.safetensors" for n in TRAINED]
    for name in names:
        submit(name, world.trials, folder)
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
    rules = {
        "format": 1,
        "board": PANEL_BOARD,
        "version": 2,
        "kind": "networks",
        "title": "Small networks on CIFAR-10",
        "question": "How interpretable are a network's units?",
        "about": "Small networks trained on CIFAR-10 and the same architectures with random "
        "weights; trials are built from CIFAR-10 test images. The panel's choice models were "
        "fitted to the simulated participants of the mini-benchmark, not to people: the networks "
        "and the images are real, the humans are not. Random networks answer to colour and "
        "brightness, which a panel of colour and pixels sees easily: a reason to calibrate on "
        "people before judging networks.",
        "simulated": True,
        "published": str(datetime.date(2026, 11, 25)),
        "sides_seed": SIDES_SEED,
        "panel": list(PANEL),
        "evidence": {
            "drawn": UNITS,
            "seed": 0,
            "least_units": 10,
            "least_layers": 5,
            "least_trials": 100,
            "reach": 10.0,
        },
        "ranking": {
            "score": "interpretability",
            "rule": RULE.replace("paired ", ""),
            "n_resamples": 2000,
        },
    }
    (folder / "board.toml").write_text(tomli_w.dumps(rules))
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


def imi_boards() -> None:
    """The boards of the real experiment: rules and published means; evidence is to come."""
    facts = published()
    anchors = [
        {
            "name": f"{network.label}, {mode}",
            "mode": mode,
            "value": mean.value,
            "low": mean.low,
            "high": mean.high,
            "source": f"human mean, {network.key}",
        }
        for network in facts.networks.values()
        for mode, mean in (("natural", network.natural), ("synthetic", network.synthetic))
        if mean is not None
    ]
    shared = {"format": 1, "version": 1, "simulated": False}
    boards = {
        "networks-imi": shared
        | {
            "board": "networks-imi",
            "kind": "networks",
            "title": "Networks of the IMI experiment",
            "question": "How interpretable are a network's units?",
            "about": "The anchors are published means of human proportion correct with their 95% "
            "intervals (Zimmermann, Klein and Brendel, NeurIPS 2023; read off the authors' figure, "
            "resolution 0.0002). Submissions open once a panel is calibrated on the released "
            "answers: fetch them with `imi-bench data fetch`, calibrate each observer of the panel "
            "by network, and put the calibrations in `calibrations/`.",
            "anchors": anchors,
            "ranking": {"score": "interpretability", "rule": RULE.replace("paired ", "")},
        },
        "observers-imi": shared
        | {
            "board": "observers-imi",
            "kind": "observers",
            "title": "Observers of the IMI experiment",
            "question": "How well does a machine predict what people answer?",
            "about": "Waits for its evidence: the released answers name units and batches but "
            "carry no images, and neither is part of this package. With both at hand (`imi-bench "
            "data fetch`, and the authors' stimuli), write trials.parquet, responses.parquet "
            "and their hashes here; every observer's run can then be submitted.",
            "ranking": {"score": "bits", "folds_by": "network", "n_folds": 9, "rule": RULE},
        },
    }
    for name, rules in boards.items():
        folder = BOARDS / name
        folder.mkdir(exist_ok=True)
        (folder / "board.toml").write_text(tomli_w.dumps(rules))
        finish(folder)


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
    arguments = parser.parse_args()
    world = build(seed=0)
    imi_boards()
    observers_mini(world, arguments.nets)
    if arguments.nets and arguments.images:
        networks_cifar(world, arguments.nets, arguments.images)


if __name__ == "__main__":
    main()
