"""The authors' two folder layouts, read into trials whose images are still paths.

Stimuli (as the authors' generator writes them)::

    [network/]layer/channel_N/{natural_images,optimized_images}[/batch_K]/{max,min}_{0..9}.png

Served tasks (as the experiment's page reads them)::

    index.json   trials/trial_K/queries/{min,max}.png   trials/trial_K/references/{min,max}_I.png

Source: github.com/brendel-group/imi, ``tools/data_generation`` and ``mturk/2afc/task.js``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imi_bench.documents import read_json
from imi_bench.errors import InputError, TrialError
from imi_bench.stimuli.folders import Findings, Listing
from imi_bench.tables import split_difficulty
from imi_bench.text import plural

NATURAL, SYNTHETIC = "natural_images", "optimized_images"
QUERY, CATCH_QUERY = 9, 8
REFERENCES = range(9)
_CHANNEL = re.compile(r"channel_(\d+)")
_BATCH = re.compile(r"batch_(\d+)")
_IMAGE = re.compile(r"(min|max)_(\d+)\.png")


@dataclass(frozen=True)
class Draft:
    """One trial with its images by path; fields as in `TrialIndex` and `Trials`."""

    network: str
    layer: str
    unit: int
    mode: str
    difficulty: str
    batch: int
    catch: bool
    positive: tuple[Path, ...]
    negative: tuple[Path, ...]
    queries: tuple[Path, Path]


def read_stimuli(root: Path, *, network: str, findings: Findings) -> Iterator[Draft]:
    """Trials of a folder in the authors' stimulus layout.

    Natural trials: ``*_9`` are the queries, ``*_0`` to ``*_8`` of the same batch the references.
    Synthetic trials: the nine optimized images are the references, the queries come from the
    natural batch of the same unit. Batch 0 makes catch trials: ``*_8`` of the references are the
    queries, optimized ones in a synthetic trial, and stay among the references. Without batch
    folders the batch is 1 and no trial is a catch trial.

    A network folder named ``…_hard95`` without optimized images of its own borrows those of the
    network folder without the suffix, as the authors' generator does.
    """
    top = Listing(root, root=root)
    unknown = set(top.files)
    for name in _inner_folders(top, findings):
        inner = Listing(root / name, root=root)
        if _has_channels(inner):
            yield from _read_layer(inner, network=network, findings=findings)
            continue
        layers = []
        for layer in _inner_folders(inner, findings):
            listing = Listing(inner.path / layer, root=root)
            if _has_channels(listing):
                layers.append(layer)
                yield from _read_layer(listing, network=name, findings=findings)
        if layers:
            findings.ignored(inner.path, {*inner.files, *inner.folders} - set(layers))
        else:
            unknown.add(name)
    findings.ignored(root, unknown)


def _inner_folders(listing: Listing, findings: Findings) -> list[str]:
    for name in listing.outside:
        findings.bad(listing.path / name, listing.leaves(name))
    return listing.folders


def _has_channels(listing: Listing) -> bool:
    return any(_CHANNEL.fullmatch(name) for name in listing.folders)


def _read_layer(listing: Listing, *, network: str, findings: Findings) -> Iterator[Draft]:
    channels = [name for name in _inner_folders(listing, findings) if _CHANNEL.fullmatch(name)]
    findings.ignored(listing.path, {*listing.files, *listing.folders} - set(channels))
    base, difficulty = split_difficulty(network)
    for name in channels:
        facts = {
            "network": base,
            "difficulty": difficulty,
            "layer": listing.path.name,
            "unit": int(name.removeprefix("channel_")),
        }
        unit = Listing(listing.path / name, root=listing.root)
        findings.ignored(
            unit.path, {*unit.files, *unit.folders, *unit.outside} - {NATURAL, SYNTHETIC}
        )
        try:
            natural = _image_sets(unit, NATURAL, findings)
            synthetic = _image_sets(unit, SYNTHETIC, findings)
            if not synthetic and difficulty != "easy":
                synthetic = _borrowed(unit, network=network, base=base, findings=findings)
            if not natural:
                raise TrialError(
                    "unit without natural images",
                    where=unit.path,
                    found=unit.folders or "nothing",
                    wanted=NATURAL,
                    do="the queries of every trial are natural images",
                )
        except InputError as error:
            findings.bad(unit.path, error)
            continue
        for batch, images in natural.items():
            yield from _unit_trials(facts, batch, images, synthetic, findings)


def _image_sets(unit: Listing, name: str, findings: Findings) -> dict[int | None, Listing]:
    """Folders that hold images directly, by batch number (None: no batch folders)."""
    if name in unit.outside:
        raise unit.leaves(name)
    if name not in unit.folders:
        return {}
    whole = Listing(unit.path / name, root=unit.root)
    for link in filter(_BATCH.fullmatch, whole.outside):
        findings.bad(whole.path / link, whole.leaves(link))
    batches = [folder for folder in whole.folders if _BATCH.fullmatch(folder)]
    if not batches:
        return {None: _image_folder(whole.path, root=unit.root, findings=findings)}
    findings.ignored(whole.path, {*whole.files, *whole.folders} - set(batches))
    sets: dict[int | None, Listing] = {}
    for folder in batches:
        try:
            images = _image_folder(whole.path / folder, root=unit.root, findings=findings)
            sets[int(folder.removeprefix("batch_"))] = images
        except InputError as error:
            findings.bad(whole.path / folder, error)
    return sets


def _borrowed(
    unit: Listing, *, network: str, base: str, findings: Findings
) -> dict[int | None, Listing]:
    """Optimized images of the same unit in the folder of the network without its suffix."""
    layer = unit.path.parent
    lender = layer.parent.with_name(base) / layer.name / unit.path.name
    if layer.parent.name != network or not lender.resolve().is_relative_to(unit.root):
        return {}
    if not lender.is_dir():
        return {}
    return _image_sets(Listing(lender, root=unit.root), SYNTHETIC, findings)


def _unit_trials(
    facts: dict[str, Any],
    batch: int | None,
    natural: Listing,
    synthetic: dict[int | None, Listing],
    findings: Findings,
) -> Iterator[Draft]:
    catch = batch == 0
    shown = CATCH_QUERY if catch else QUERY
    references = {"natural": natural, "synthetic": synthetic.get(batch, synthetic.get(None))}
    if synthetic and references["synthetic"] is None:
        findings.bad(
            natural.path,
            TrialError(
                "no optimized images for a batch",
                where=natural.path,
                found=f"optimized batches {sorted(map(str, synthetic))}",
                wanted=f"batch {batch}",
            ),
        )
    for mode, listing in references.items():
        if listing is None:
            continue
        try:
            sides = {
                side: listing.need(
                    [f"{side}_{i}.png" for i in REFERENCES], count=f"{side}_0.png to {side}_8.png"
                )
                for side in ("max", "min")
            }
            queries = (listing if catch else natural).need(
                [f"max_{shown}.png", f"min_{shown}.png"], count=f"queries *_{shown}.png"
            )
        except InputError as error:
            findings.bad(f"{mode} trial of {natural.path}", error)
            continue
        yield Draft(
            **facts,
            mode=mode,
            batch=1 if batch is None else batch,
            catch=catch,
            positive=sides["max"],
            negative=sides["min"],
            queries=(queries[0], queries[1]),
        )


def _image_folder(path: Path, *, root: Path, findings: Findings) -> Listing:
    """A folder of ``{max,min}_{0..9}.png``.

    Another number means that another numbering was used: refuse, do not guess.
    """
    listing = Listing(path, root=root)
    numbers = {name: _IMAGE.fullmatch(name) for name in (*listing.files, *listing.outside)}
    if extra := [name for name, match in numbers.items() if match and int(match[2]) > QUERY]:
        raise TrialError(
            "too many images",
            where=path / extra[0],
            found=plural(len(listing.files), "file"),
            wanted="numbers 0 to 9",
        )
    unknown = {name for name, match in numbers.items() if match is None}
    findings.ignored(path, unknown | set(listing.folders))
    return listing


def read_task(folder: Path, *, root: Path, network: str, findings: Findings) -> Iterator[Draft]:
    """Trials of one folder in the authors' served-task layout.

    What the layout does not tell is taken from the task's name: the mode from ``natural`` or
    ``optimized`` in it, the network from ``NETWORK_{natural,optimized}/task_K`` unless `network`
    names it. The layer is the task and the unit the number of the trial, since the real ones are
    hidden in this layout.
    """
    top = Listing(folder, root=root)
    for entry in ("index.json", "trials"):
        if entry in top.outside:
            raise top.leaves(entry)
    index = _read_index(folder)
    name, wanted = index["task_name"], index["n_reference_images"]
    match = re.fullmatch(r"(.+)_(?:natural|optimized)/[^/]+", name)
    if match and network == "unnamed":
        network = match[1]
    if "optimized" in name:
        mode = "synthetic"
    else:
        mode = "natural"
        if "natural" not in name:
            findings.notes.append(f"task '{name}' does not tell its mode: taken as natural")
    base, difficulty = split_difficulty(network)
    findings.ignored(folder, {*top.files, *top.folders} - {"index.json", "trials"})
    trials = Listing(folder / "trials", root=root)
    numbered = {f"trial_{number}": number for number in range(1, index["n_trials"] + 1)}
    if extra := set(trials.folders) - set(numbered):
        error = TrialError(
            "wrong number of trials",
            where=trials.path,
            found=f"also {', '.join(sorted(extra))}",
            wanted=f"trial_1 to trial_{len(numbered)}, as in {folder / 'index.json'}",
        )
        findings.bad(trials.path, error)
    findings.ignored(trials.path, trials.files)
    for trial, number in numbered.items():
        try:
            if trial in trials.outside:
                raise trials.leaves(trial)
            positive, negative, queries = _task_images(trials.path / trial, root, wanted, findings)
        except InputError as error:
            findings.bad(trials.path / trial, error)
            continue
        yield Draft(
            network=base,
            layer=name.replace("/", "_"),
            unit=number,
            mode=mode,
            difficulty=difficulty,
            batch=1,
            catch=number in index["catch_trial_idxs"],
            positive=positive,
            negative=negative,
            queries=queries,
        )


def _read_index(folder: Path) -> dict[str, Any]:
    path = folder / "index.json"
    try:
        raw = read_json(path)
    except InputError as error:
        raise TrialError(
            "index cannot be read", where=path, found=error, wanted="a JSON object"
        ) from error

    def refuse(field: str, wanted: str) -> TrialError:
        found = repr(raw.get(field)) if isinstance(raw, dict) else type(raw).__name__
        return TrialError(f"index: bad {field}", where=path, found=found, wanted=wanted)

    if not isinstance(raw, dict) or not isinstance(raw.get("task_name"), str):
        raise refuse("task_name", "text")
    index: dict[str, Any] = {"task_name": raw["task_name"]}
    for field in ("n_reference_images", "n_trials"):
        value = raw.get(field)
        if isinstance(value, bool) or not re.fullmatch(r"\d{1,6}", str(value)):
            raise refuse(field, "a number (or a number as text)")
        index[field] = int(str(value))
        if index[field] < 1:
            raise refuse(field, "at least 1")
    catch = raw.get("catch_trial_idxs", [])
    if not isinstance(catch, list) or not all(type(i) is int for i in catch):
        raise refuse("catch_trial_idxs", "a list of trial numbers")
    if outside := [i for i in catch if not 1 <= i <= index["n_trials"]]:
        raise refuse("catch_trial_idxs", f"numbers from 1 to {index['n_trials']}, not {outside[0]}")
    return {**index, "catch_trial_idxs": frozenset(catch)}


def _task_images(
    folder: Path, root: Path, wanted: int, findings: Findings
) -> tuple[tuple[Path, ...], tuple[Path, ...], tuple[Path, Path]]:
    whole = Listing(folder, root=root)
    for name in ("queries", "references"):
        if name in whole.outside:
            raise whole.leaves(name)
    findings.ignored(folder, {*whole.files, *whole.folders} - {"queries", "references"})
    shown = Listing(folder / "queries", root=root)
    findings.ignored(shown.path, {*shown.files, *shown.folders} - {"max.png", "min.png"})
    queries = shown.need(["max.png", "min.png"], count="queries max.png and min.png")
    references = Listing(folder / "references", root=root)
    positive = _task_side(references, "max", wanted, findings)
    negative = _task_side(references, "min", wanted, findings)
    unknown = {name for name in references.files if not _IMAGE.fullmatch(name)}
    findings.ignored(references.path, {*unknown, *references.folders})
    return positive, negative, (queries[0], queries[1])


def _task_side(listing: Listing, side: str, wanted: int, findings: Findings) -> tuple[Path, ...]:
    """References of one side, by rising number.

    Where there are more than wanted, those the experiment's page shows: 8, 7, … downwards.
    """
    for name in listing.outside:
        if name.startswith(side):
            raise listing.leaves(name)
    names = [
        name for name in listing.files if (match := _IMAGE.fullmatch(name)) and match[1] == side
    ]
    on_page = [f"{side}_{i}.png" for i in range(9 - wanted, 9)]
    if len(names) > wanted and set(on_page) <= set(names):
        findings.ignored(listing.path, set(names) - set(on_page))
        names = on_page
    if len(names) != wanted:
        raise TrialError(
            "wrong number of references",
            where=listing.path,
            found=f"{len(names)} {side}_*.png",
            wanted=f"{wanted}, as in index.json",
        )
    return listing.need(names, count=f"{wanted} {side} references")
