"""Reading trials from disk, in any of three layouts, and writing them in our own.

==========================  ==================================================================
authors' stimuli            a folder of layers (or of networks) with ``channel_N`` folders
authors' served tasks       a folder with ``index.json``, or a folder of such folders
our own table               ``trials.parquet`` or ``.csv``, or a folder that holds one
==========================  ==================================================================

Every image is read once, checked and hashed before a trial exists: a truncated file is reported
here, not after hours of work.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from imi_bench.arguments import checked
from imi_bench.errors import ImageError, InputError, TrialError
from imi_bench.progress import progress
from imi_bench.stimuli.folders import Findings
from imi_bench.stimuli.layouts import Draft, read_stimuli, read_task
from imi_bench.stimuli.trial_table import TableCells, find_table, read_table, write_trials
from imi_bench.tables import TrialIndex, Trials
from imi_bench.tables.align import in_use
from imi_bench.tables.images import Images, hash_checked

__all__ = ["read_trials", "write_trials"]

_INDEX = ("network", "layer", "unit", "mode", "difficulty", "batch", "catch")


@checked
def read_trials(
    path: str | Path | Trials,
    *,
    network: str = "unnamed",
    skip_bad: bool = False,
    image_root: str | Path | None = None,
) -> Trials:
    """Read trials; the layout is recognised.

    Parameters
    ----------
    path : str, Path or Trials
        Folder or table; trials in memory are given back.
    network : str
        Name of the network where the layout does not tell it; may end in ``_hard95`` etc.
    skip_bad : bool
        Leave out trials that have something wrong, and list them, instead of raising.
    image_root : str or Path, optional
        For our own table: the folder its image paths are relative to and may not leave. The
        folder of the table if None.

    Returns
    -------
    Trials
        What was left out stands in `skipped`, what was ignored or guessed in `notes`.

    Raises
    ------
    TrialError
        No layout recognised; a file or folder missing; wrong counts; a path that leaves the
        folder; a bad value in a table. One line naming the file, what was found and wanted.
    ImageError
        A file that is truncated or not an image.

    Examples
    --------
    >>> import tempfile
    >>> read_trials(tempfile.mkdtemp())
    Traceback (most recent call last):
    ...
    imi_bench.errors.TrialError: no trials found: ...
    """
    if isinstance(path, Trials):
        if network != "unnamed" or skip_bad or image_root is not None:
            raise TrialError(
                "network, skip_bad and image_root are of trials on disk", found="trials in memory"
            )
        return path
    started = time.perf_counter()
    path, image_root = Path(path), None if image_root is None else Path(image_root)
    if not path.exists():
        raise TrialError("no such file or folder", where=path, wanted="a folder or table of trials")
    findings = Findings(skip_bad=skip_bad)
    if (table := find_table(path)) is not None:
        cells = read_table(table, image_root=image_root, findings=findings)
    else:
        cells = _from_drafts(_drafts(path.resolve(), network, findings), path)
    trials = _with_images(cells, findings)
    if "unnamed" in trials.index.network:
        findings.notes.append(f"the network of {path} is not named: say which with network=")
    return replace(
        trials,
        skipped=tuple(findings.skipped),
        notes=tuple(findings.notes),
        source={
            "path": str(path),
            "network": network,
            "skip_bad": skip_bad,
            "skipped": [{"where": one.where, "reason": one.reason} for one in findings.skipped],
            "notes": list(findings.notes),
            "reading_seconds": round(time.perf_counter() - started, 6),
        },
    )


def _drafts(root: Path, network: str, findings: Findings) -> list[Draft]:
    tasks = sorted(
        index.parent for depth in ("", "*/", "*/*/") for index in root.glob(f"{depth}index.json")
    )
    if not tasks:
        return list(read_stimuli(root, network=network, findings=findings))
    drafts: list[Draft] = []
    for task in tasks:
        try:
            if not task.resolve().is_relative_to(root):
                raise TrialError(
                    "symbolic link leaves the folder",
                    where=task,
                    found=task.resolve(),
                    wanted=f"a path inside {root}",
                )
            drafts.extend(read_task(task, root=root, network=network, findings=findings))
        except InputError as error:
            findings.bad(task, error)
    inside = {task.relative_to(root).parts[0] for task in tasks if task != root}
    if inside:
        findings.ignored(root, {entry.name for entry in root.iterdir()} - inside)
    return drafts


def _from_drafts(drafts: list[Draft], path: Path) -> TableCells:
    if not drafts:
        inside = sorted(entry.name for entry in path.iterdir()) if path.is_dir() else ["a file"]
        raise TrialError(
            "no trials found",
            where=path,
            found=", ".join(inside[:5]) or "an empty folder",
            wanted="LAYER/channel_N or NETWORK/LAYER/channel_N folders, index.json, or "
            "trials.parquet",
        )
    counts = [len(draft.positive) for draft in drafts]
    if len(set(counts)) > 1:
        raise TrialError(
            "trials with different numbers of references",
            where=path,
            found=sorted(set(counts)),
            wanted="one number",
            do="read the tasks one by one",
        )
    frame = pd.DataFrame({name: [getattr(draft, name) for draft in drafts] for name in _INDEX})
    frame.insert(0, "trial_id", TrialIndex.canonical_ids(frame))
    paths = np.array(
        [[*draft.positive, *draft.negative, *draft.queries] for draft in drafts], dtype=object
    )
    return TableCells(frame, paths)


def _with_images(cells: TableCells, findings: Findings) -> Trials:
    """Check and hash every image once; leave out trials with a bad one."""
    codes, distinct = pd.factorize(cells.paths.ravel())
    hashes, errors = _hash_all(list(distinct), skip_bad=findings.skip_bad)
    where = codes.reshape(cells.paths.shape)
    keep = np.ones(len(where), dtype=bool)
    for trial in np.flatnonzero(np.isin(where, list(errors)).any(axis=1)):
        first = next(code for code in where[trial].tolist() if code in errors)
        findings.bad(cells.frame["trial_id"].iloc[trial], errors[first])
        keep[trial] = False
    digests = np.array(hashes, dtype=object)[where]
    for trial in np.flatnonzero(keep & (digests[:, -2] == digests[:, -1])):
        name, (shown, other) = cells.frame["trial_id"].iloc[trial], cells.paths[trial, -2:]
        findings.bad(
            name,
            TrialError(
                "the two queries are the same image",
                where=f"trial '{name}'",
                found=f"{shown} and {other}",
                wanted="two different images",
            ),
        )
        keep[trial] = False
    if not keep.any():
        raise TrialError(
            "no trial left",
            found=f"{len(findings.skipped)} skipped",
            do=f"the first: {findings.skipped[0].reason}",
        )
    used, (shown,) = in_use(where[keep])
    images, rows = Images.from_hashes([distinct[i] for i in used], [hashes[i] for i in used])
    rows = rows[shown]
    count = (rows.shape[1] - 2) // 2
    activations = cells.activations
    return Trials(
        index=TrialIndex.from_frame(cells.frame[keep]),
        images=images,
        positive=rows[:, :count],
        negative=rows[:, count:-2],
        queries=rows[:, -2:],
        query_activations=None if activations is None else activations[keep],
        simulated=cells.simulated,
    )


def _hash_all(paths: Sequence[Path], *, skip_bad: bool) -> tuple[list[str], dict[int, InputError]]:
    errors: dict[int, InputError] = {}

    def one(position: int) -> str:
        try:
            return hash_checked(paths[position])
        except ImageError as error:
            if not skip_bad:
                raise
            errors[position] = error
            return f"bad {position}"

    hashes: list[str] = []
    with (
        progress("reading images", total=len(paths), unit="images") as advance,
        ThreadPoolExecutor() as pool,
    ):
        try:
            for digest in pool.map(one, range(len(paths))):
                hashes.append(digest)
                advance(1)
        except ImageError:
            pool.shutdown(cancel_futures=True)
            raise
    return hashes, errors
