"""The properties an observer must keep, each a function that measures one.

A measure gives what it found, or raises `BrokenError` with what went wrong.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from imi_bench.arrays import Pixels
from imi_bench.observers.examination import (
    BrokenError,
    ExemptError,
    Probe,
    columns_of,
    copies_of,
)
from imi_bench.observers.instances import second_instance
from imi_bench.tables import BlindTrials
from imi_bench.tables.images import Images
from imi_bench.text import plural

_MANY = 128
"""Images a batch and trials a call, as in a run: what is fitted to many may be right on a few."""
_FEW = 8  # images, where a sample is enough
_FEW_TRIALS = 4  # of an observer that sees whole trials, which may be slow


def _describes_itself(probe: Probe) -> str:
    description = dict(probe.observer.describe())
    size = len(json.dumps(description, allow_nan=False))
    if dict(probe.observer.describe()) != description:
        raise BrokenError("describe() gives something else the second time")
    return f"{size} characters of JSON"


def _one_code_an_image(probe: Probe) -> str:
    codes = probe.codes
    if codes is None or codes.ndim < 2 or len(codes) != len(probe.pixels):
        found = None if codes is None else codes.shape
        raise BrokenError(f"shape {found}, wanted ({len(probe.pixels)}, ...)")
    if not np.isfinite(codes.astype(np.float64)).all():
        raise BrokenError("codes that are not finite")
    return f"{codes.dtype} {codes.shape}"


def _any_batch(probe: Probe) -> str:
    """One at a time, in two uneven batches in another order, and in one as large as a run's."""
    order = probe.draw("batches").permutation(len(probe.pixels))
    shuffled = copies_of([probe.pixels[row] for row in order])
    cut = max(1, len(shuffled) // 3)
    batches = np.concatenate([probe.encode(shuffled[:cut]), probe.encode(shuffled[cut:])])
    singly = np.concatenate([probe.encode([image]) for image in copies_of(probe.pixels[:_FEW])])
    whole = np.asarray(probe.codes)
    probe.agree_codes(whole[order], batches)
    many = np.resize(order, getattr(probe.observer, "batch_size", None) or _MANY)
    probe.agree_codes(whole[many], probe.encode(copies_of([probe.pixels[row] for row in many])))
    return probe.agree_codes(whole[:_FEW], singly)


def _any_memory_layout(probe: Probe) -> str:
    """Read-only arrays, and arrays in column order, hold the same image."""
    copies = [np.asfortranarray(image) for image in probe.pixels[:_FEW]]
    for image in copies:
        image.setflags(write=False)
    return probe.agree_codes(probe.encode(copies_of(probe.pixels[:_FEW])), probe.encode(copies))


def _leaves_images_alone(probe: Probe) -> str:
    given = copies_of(probe.pixels[:_FEW])
    probe.encode(given)
    return _unwritten(given, probe.pixels)


def _leaves_trials_alone(probe: Probe) -> str:
    """Trials, codes, and the images that `decide` decodes for itself."""
    given = Images(tuple(copies_of(probe.pixels)), probe.trials.images.hashes)
    shown = BlindTrials(given, **columns_of(probe.trials), key=None)
    codes = None if probe.codes is None else probe.codes.copy()
    probe.observer.decide(shown, codes)
    for name, before in columns_of(probe.trials).items():
        if not np.array_equal(getattr(shown, name), before):
            raise BrokenError(f"the column '{name}' was written to")
    if codes is not None and not np.array_equal(codes, np.asarray(probe.codes)):
        raise BrokenError("the codes were written to")
    return f"trials untouched, {_unwritten(given.sources, probe.pixels)}"


def _unwritten(given: Sequence[Any], before: Sequence[Pixels]) -> str:
    changed = sum(not np.array_equal(a, b) for a, b in zip(given, before, strict=False))
    if changed:
        raise BrokenError(f"{changed} of {plural(len(given), 'image')} were written to")
    return f"{plural(len(given), 'image')} untouched"


def _answers(probe: Probe) -> str:
    values = probe.answers
    if values.shape != (len(probe.trials),):
        raise BrokenError(f"shape {values.shape}, wanted ({len(probe.trials)},)")
    if np.isinf(values).any():
        raise BrokenError(f"{np.isinf(values).sum()} infinite decision variables")
    if np.isnan(values).all():
        raise BrokenError("no trial was answered")
    if len(values) > 1 and not np.nan_to_num(values).any():
        raise BrokenError(f"a tie on each of {plural(len(values), 'trial')}")
    return f"{np.isnan(values).sum()} without answer, {(values == 0).sum()} ties of {len(values)}"


def _runs_twice(probe: Probe) -> str:
    """A second run, under another state of the global random generators."""
    with _other_global_randomness(probe.seed + 1):
        codes = probe.encode(copies_of(probe.pixels)) if probe.encodes else None
        values = probe.decide(probe.trials, probe.codes)
    if codes is not None:
        probe.agree_codes(np.asarray(probe.codes), codes)
    return probe.agree(probe.answers, values)


def _second_process(probe: Probe) -> str:
    """Built again in a second process, in another order and other batches."""
    if probe.recipe is None:
        raise ExemptError("an object in memory cannot be built again: check it by its name")
    trials = probe.trials if probe.encodes else probe.trials.without_key(slice(0, _FEW_TRIALS))
    given = second_instance(
        probe.recipe, probe.pixels, probe.trials.images.hashes, columns_of(trials)
    )
    found = probe.agree(probe.answers[: len(trials)], given.answers) if not probe.encodes else ""
    if probe.codes is None:
        return found
    if given.codes is None:
        raise BrokenError("no codes in a second process")
    found = probe.agree_codes(np.asarray(probe.codes), given.codes)
    probe.agree(probe.answers, given.answers)
    return found


@contextmanager
def _other_global_randomness(seed: int) -> Iterator[None]:
    saved, saved_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(saved)
        np.random.set_state(saved_numpy)  # noqa: NPY002


def _swap_queries(probe: Probe) -> str:
    return probe.agree(probe.answers, -probe.changed(queries=probe.trials.queries[:, ::-1].copy()))


def _swap_references(probe: Probe) -> str:
    trials = probe.trials
    return probe.agree(
        probe.answers, -probe.changed(positive=trials.negative, negative=trials.positive)
    )


def _permute_references(probe: Probe) -> str:
    draw = probe.draw("references")
    positive = draw.permuted(probe.trials.positive, axis=1)
    negative = draw.permuted(probe.trials.negative, axis=1)
    return probe.agree(probe.answers, probe.changed(positive=positive, negative=negative))


def _permute_trials(probe: Probe) -> str:
    order = probe.draw("trials").permutation(len(probe.trials))
    shuffled = probe.trials.without_key(order)
    return probe.agree(probe.answers[order], probe.decide(shuffled, probe.codes))


def _permute_images(probe: Probe) -> str:
    """The row an image has in the table says nothing."""
    order = probe.draw("images").permutation(len(probe.pixels))
    row_of = np.argsort(order)
    renumbered = BlindTrials(
        probe.trials.images.anonymous(order),
        **{name: row_of[rows] for name, rows in columns_of(probe.trials).items()},
        key=None,
    )
    codes = None if probe.codes is None else probe.codes[order]
    return probe.agree(probe.answers, probe.decide(renumbered, codes))


def _pixels_alone(probe: Probe) -> str:
    """Images held in memory: where their files lie and what they are called says nothing."""
    held = Images(probe.pixels, probe.trials.images.hashes)
    trials = BlindTrials(held, **columns_of(probe.trials), key=None)
    return probe.agree(probe.answers, probe.decide(trials, probe.codes))


def _any_number_of_trials(probe: Probe) -> str:
    """One at a time, and of codes as many as in a run: no trial counts for another."""
    if probe.encodes:
        many = np.resize(np.arange(len(probe.trials)), _MANY)
        given = probe.decide(probe.trials.without_key(many), probe.codes)
        probe.agree(probe.answers[many], given)
    singly = [
        probe.decide(probe.trials.without_key(slice(row, row + 1)), probe.codes)
        for row in range(len(probe.trials))
    ]
    return probe.agree(probe.answers, np.concatenate(singly))


ENCODER_PROPERTIES: Mapping[str, Callable[[Probe], str]] = {
    "one code an image": _one_code_an_image,
    "codes in any batch": _any_batch,
    "codes in any memory layout": _any_memory_layout,
    "leaves images alone": _leaves_images_alone,
}
SWAPS: Mapping[str, Callable[[Probe], str]] = {
    "swap queries": _swap_queries,
    "swap references": _swap_references,
}
PROPERTIES: Mapping[str, Callable[[Probe], str]] = {
    **ENCODER_PROPERTIES,
    "answers": _answers,
    "leaves trials alone": _leaves_trials_alone,
    **SWAPS,
    "permute references": _permute_references,
    "permute trials": _permute_trials,
    "permute images": _permute_images,
    "pixels alone": _pixels_alone,
    "any number of trials": _any_number_of_trials,
    "run twice": _runs_twice,
    "second process": _second_process,
    "describes itself": _describes_itself,
}
