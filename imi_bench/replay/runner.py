"""An observer answers many trials; each distinct image is looked at once.

``blind -> encode what is not on disk -> decide in chunks -> decisions.parquet, run.json``
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imi_bench.arguments import checked, refuse_idle
from imi_bench.errors import InputError, NotEnoughDataError
from imi_bench.executors import Executor, Local, Shard, chosen, require_finished
from imi_bench.observers.catalogue import load_observer
from imi_bench.observers.instances import Recipe
from imi_bench.observers.protocol import Encoder, Observer, fingerprint, local_file, require_name
from imi_bench.places import cache_folder, exclusive, refuse_inside
from imi_bench.provenance import git_state, package_versions, write_json
from imi_bench.replay.answers import Answered, decide_all
from imi_bench.replay.cache import Store
from imi_bench.replay.encoding import Encoded, encode_all
from imi_bench.replay.encoding_pieces import encoding_pieces
from imi_bench.replay.evidence import gather, read_evidence
from imi_bench.replay.output import find_finished, refuse_foreign, write_run
from imi_bench.replay.pairs import PairObserver, Pairs
from imi_bench.replay.plan import Plan, make_plan
from imi_bench.replay.run import Run
from imi_bench.stimuli.trial_files import read_trials
from imi_bench.tables import STATUSES, DecisionVariables, Trials
from imi_bench.tables.fitted_on import FittedOn
from imi_bench.tables.pixels import RULES
from imi_bench.vision.device import device_name


@checked
def answer(
    observer: str | Path | Observer | Callable[..., Any],
    trials: str | Path | Trials,
    *,
    seed: int = 0,
    device: str = "auto",
    dtype: str = "float32",
    batch_size: int | str = "auto",
    out: str | Path | None = None,
    cache: str | Path | None = None,
    force: bool = False,
    network: str = "unnamed",
    skip_bad: bool = False,
    store: str | None = None,
    executor: str | Executor = "local",
) -> Run:
    """Let an observer, by name or as an object, answer trials, on disk or in memory.

    Blind: the observer sees pixels alone, the sides shuffled by the seed. What it made of each
    image is kept in the cache, so that a call that was killed goes on where it was.

    Parameters
    ----------
    observer : str, Path, Observer, function or torch.nn.Module
        As in `imi_bench.observers.catalogue.load_observer`.
    trials : str, Path or Trials
        As in `imi_bench.stimuli.trial_files.read_trials`.
    seed : int
        Decides which query is shown first; also that of random weights and of ``chance``.
    device, dtype : str
        Of an observer that is given by name.
    batch_size, out, cache, force
        As in `replay`.
    network, skip_bad : str and bool
        Of trials that are read from disk.
    store, executor
        As in `replay`.

    Returns
    -------
    Run

    Raises
    ------
    SharesMissingError
        As `replay`.
    InputError
        An unknown observer, no trials, an output folder that holds another run; also all that
        `replay` raises.

    Examples
    --------
    >>> from imi_bench.simulation.demo import demo_data
    >>> trials, _ = demo_data(n_networks=1, n_batches=1, n_scenes=200, size=16)
    >>> len(answer("chance", trials).decisions)
    60
    """
    out, cache = (None if folder is None else Path(folder) for folder in (out, cache))
    opened = load_observer(observer, device=device, dtype=dtype, seed=seed)
    if not isinstance(trials, Trials):
        trials = read_trials(trials, network=network, skip_bad=skip_bad)
    elif network != "unnamed" or skip_bad:
        raise InputError("network and skip_bad are of trials on disk", found="trials in memory")
    if not len(trials):
        raise NotEnoughDataError("no trials to answer", found="a table without rows")
    return replay(
        opened,
        trials,
        seed=seed,
        out=out,
        cache=cache,
        batch_size=batch_size,
        force=force,
        about={"source": dict(trials.source)} if trials.source else None,
        store=store,
        executor=executor,
        recipe=Recipe(
            str(observer) if isinstance(observer, str | Path) else opened, device, dtype, seed
        ),
    )


@checked
def replay(
    observer: Observer,
    trials: Trials,
    *,
    seed: int = 0,
    out: Path | None = None,
    cache: Path | None = None,
    batch_size: int | str = "auto",
    force: bool = False,
    about: Mapping[str, Any] | None = None,
    store: str | None = None,
    executor: str | Executor = "local",
    recipe: Recipe | None = None,
) -> Run:
    """Let an observer answer trials.

    Parameters
    ----------
    observer : Observer
    trials : Trials
    seed : int
        Decides which query is shown first on each trial.
    out : Path, optional
        Folder for ``decisions.parquet``, ``trials.parquet`` and ``run.json`` (written last).
    cache : Path, optional
        Where codes and answers are kept between runs, by observer fingerprint and content hash;
        ``$IMI_BENCH_CACHE`` or the user's cache folder if None. A run that was killed goes on
        from there.
    batch_size : int or "auto"
        Images encoded at once (trials, for an observer that sees whole trials).
    force : bool
        Replace another run in `out`.
    about : mapping, optional
        Facts to add to the record, such as where the trials came from.
    store : {"float16"}, optional
        Keep codes of single precision as float16, apart from those kept as they come: half the
        disk, and decision variables that differ by about 1e-3 of their size.
    executor : str or Executor
        ``local``, ``ray``, ``ray:ADDRESS``, or an object of `imi_bench.executors`: who encodes the
        images. All machines must see the cache, trials and images under the same paths. Changes no
        byte of the decisions.
    recipe : Recipe, optional
        How other processes open the observer; by default the object itself is sent to them.

    Raises
    ------
    SharesMissingError
        The executor ran one share of the images, and others have no codes yet.
    InputError
        `out` holds another run or files of somebody else, lies within the trials, or is being
        written by another process; a bad batch size; an observer without a name, or that breaks
        its contract, answers no trial at all, or ties on all of them.
    ImageError
        An image that cannot be decoded, or changed since it was read.
    Exception
        What `encode` raises on 20 images in a row, or `decide` on each of the first trials.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from imi_bench.tables.images import Images
    >>> from imi_bench.tables import TrialIndex
    >>> from imi_bench.observers.reference import OneSide
    >>> index = TrialIndex(["a"], ["net"], ["layer"], [0], ["natural"], ["easy"], [1], [False])
    >>> images, _ = Images.collect([np.full((1, 1, 3), v, np.uint8) for v in range(4)])
    >>> trials = Trials(index, images, [[0]], [[1]], [[2, 3]])
    >>> done = replay(OneSide(), trials, cache=Path(tempfile.mkdtemp()))
    >>> done.decisions.status.tolist()
    ['ok']
    """
    require_name(observer)
    if store not in (None, "float16"):
        raise InputError("unknown way to store codes", found=repr(store), wanted="float16")
    do = "give an observer that encodes images"
    refuse_idle("store", store, unless=isinstance(observer, Encoder), do=do, where=observer.name)
    if out is not None and out.exists() and not out.is_dir():
        raise InputError("not a folder", where=out, wanted="a folder for the run")
    if out is not None and "path" in trials.source:
        refuse_inside(out, inputs=[Path(str(trials.source["path"]))])
    with nullcontext() if out is None else exclusive(out):
        return _replayed(
            observer,
            trials,
            seed=seed,
            out=out,
            cache=cache,
            batch_size=batch_size,
            force=force,
            about=about,
            store=store,
            shared=_Sharing(chosen(executor), recipe or Recipe(observer)),
        )


@dataclass(frozen=True)
class _Sharing:
    """Who encodes, and how they open the observer."""

    executor: Executor
    recipe: Recipe

    def encode(self, plan: Plan, where: Path, *, name: str, stored: str | None) -> None:
        """Run the pieces.

        Raises
        ------
        SharesMissingError
        """
        pieces = encoding_pieces(plan, self.recipe, where, stored=stored)
        self.executor.run(pieces, label=f"{name}: images")
        if isinstance(self.executor, Shard):
            require_finished(pieces, where=where)


def _replayed(
    observer: Observer,
    trials: Trials,
    *,
    seed: int,
    out: Path | None,
    cache: Path | None,
    batch_size: int | str,
    force: bool,
    about: Mapping[str, Any] | None,
    store: str | None,
    shared: _Sharing,
) -> Run:
    clock = _Clock()
    identity: dict[str, Any] = {
        "observer": fingerprint(observer),
        "trials": trials.hash,
        "seed": seed,
        "stored": store or "as they come",
    }
    if out is not None and (finished := find_finished(out, identity, force=force)) is not None:
        decisions, record = finished
        evidence = read_evidence(out, count=len(decisions))
        return Run(decisions, trials, record, reused=True, evidence=evidence)
    if out is not None:
        refuse_foreign(out)
    plan = make_plan(observer, trials, seed=seed, batch_size=batch_size)
    folder = cache or cache_folder()
    clock.stage("plan")
    codes, encoded, sizes = _codes(
        observer, plan, folder, known_by=identity["observer"], store=store, shared=shared
    )
    clock.stage("encode")
    kept = folder / f"pairs-{RULES}" / identity["observer"]
    pairs = Pairs(observer, plan, kept) if isinstance(observer, PairObserver) else None
    answered = decide_all(
        observer,
        plan,
        codes,
        folder=folder / f"answers-{RULES}" / identity["observer"],
        pairs=pairs,
        without=encoded.failures,
    )
    known = _seen_before(observer, plan)
    decisions = _with_key(answered, observer, plan, fitted_on=known)
    evidence, told = gather(observer, plan, codes)
    clock.stage("decide")
    record = {
        "command": "run",
        "observer": _about_observer(
            observer, codes, fingerprint=identity["observer"], fitted_on=known
        ),
        "trials": {"hash": trials.hash, "images_hash": plan.images.hash, "count": len(trials)},
        "seed": seed,
        "stored": identity["stored"],
        "batch_size": plan.batch_size,
        "images": _about_images(plan, codes, encoded),
        "answers": _about_answers(answered),
        "evidence": told,
        "cache": {
            "folder": str(folder),
            "batch_sizes": sizes,
            "damaged": [*(codes.damaged if codes else []), *answered.damaged],
        },
        "versions": package_versions(),
        "git": git_state(),
        "seconds": clock.seconds,
        "simulated": trials.simulated,
        **(about or {}),
    }
    if out is not None:
        record = write_run(out, trials, decisions, record, evidence=evidence)
    return Run(decisions, trials, record, evidence=evidence)


def _codes(
    observer: Observer,
    plan: Plan,
    folder: Path,
    *,
    known_by: str,
    store: str | None,
    shared: _Sharing,
) -> tuple[Store | None, Encoded, list[int]]:
    """Codes of all images, by whoever runs the pieces, and the batch sizes they are made in.

    None of an observer that makes none.
    """
    if isinstance(observer, Encoder):
        kind = f"codes-{RULES}" if store is None else f"codes-{RULES}-{store}"
        where = folder / kind / known_by

        def opened() -> Store:
            hashes = plan.images.hashes.tolist()
            return Store(where, hashes, about=observer.describe(), stored=store)

        codes, sizes = opened(), []
        ours = type(observer).__module__.partition(".")[0] == __name__.partition(".")[0]
        if "tolerance" in observer.describe() or not ours:  # else a code is that of any batch
            sizes = _batch_sizes(where, plan.batch_size, codes.known)
        if not isinstance(shared.executor, Local):
            shared.encode(plan, where, name=observer.name, stored=store)
            codes = opened()
        return codes, encode_all(observer, plan, codes), sizes
    if not isinstance(shared.executor, Local):
        raise InputError(
            "nothing to share",
            where=observer.name,
            found="an observer that encodes no single images",
            do="leave shard= and executor= out",
        )
    return None, Encoded(), []


def _batch_sizes(folder: Path, mine: int, known: NDArray[np.bool_]) -> list[int]:
    """Sizes of the batches that codes of this run may come from; the store remembers all of its."""
    path = folder / "batch-sizes.json"
    kept = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    if not known.all() and mine not in kept:
        write_json(path, sorted([*kept, mine]))
    return sorted({*(kept if known.any() else ()), *(() if known.all() else (mine,))})


def _about_images(plan: Plan, codes: Store | None, encoded: Encoded) -> dict[str, int]:
    distinct, failed = len(plan.images), len(encoded.failures)
    return {
        "distinct": distinct,
        "embedded": encoded.count,
        "failed": failed,
        "cache_hits": 0 if codes is None else distinct - encoded.count - failed,
    }


class _Clock:
    """Wall seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def stage(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name] = round(now - self._last, 6)
        self._last = now


def _seen_before(observer: Observer, plan: Plan) -> FittedOn | None:
    """What the observer was fitted on, with the trials that show a picture of those."""
    known = FittedOn.of(observer.describe())
    if known is None or not known.images:
        return known
    shown = np.array([name[:16] in known.images for name in plan.images.hashes.tolist()])
    trials = plan.trials
    seen = (
        shown[trials.queries].any(axis=1)
        | shown[trials.positive].any(axis=1)
        | shown[trials.negative].any(axis=1)
    )
    return replace(known, trials=frozenset(plan.key.index.trial_id[seen].tolist()))


def _with_key(
    answered: Answered, observer: Observer, plan: Plan, *, fitted_on: FittedOn | None
) -> DecisionVariables:
    return DecisionVariables(
        observer=observer.name,
        trial_id=plan.key.index.trial_id,
        decision_variable=answered.value,
        status=answered.status,
        shown_first=plan.key.shown_first,
        seconds=answered.seconds,
        fitted_on=fitted_on,
    )


def _about_observer(
    observer: Observer, codes: Store | None, *, fingerprint: str, fitted_on: FittedOn | None
) -> dict[str, Any]:
    kind = None if codes is None else codes.kind
    description = dict(observer.describe())
    if fitted_on is not None:
        description["fitted_on"] = fitted_on.to_json()
    return {
        "name": observer.name,
        "fingerprint": fingerprint,
        **local_file(observer),
        "description": description,
        "device": device_name(str(getattr(observer, "device", "cpu"))),
        "dtype": str(getattr(observer, "dtype", None) or (kind.base if kind else "float64")),
        "code": None if kind is None else {"shape": kind.shape, "dtype": str(kind.base)},
    }


def _about_answers(answered: Answered) -> dict[str, Any]:
    counts = Counter(answered.status.tolist())
    return {
        "by_status": {status: counts[status] for status in STATUSES},
        "from_disk": answered.reused,
        "failures": [
            {"trial_id": trial, "message": message} for trial, message in answered.failures
        ],
    }
