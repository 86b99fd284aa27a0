"""From the codes of images to one decision variable a trial; arrays only.

The evidence that a query q activates the unit is, with references e+ and e-,

    E(q) = pool_k s(q, e+_k) - pool_k s(q, e-_k),

and the decision variable is E(first query) - E(second query). With the mean as pool and a
perceptual similarity s this is the evidence of the machine interpretability score (Zimmermann,
Klindt & Brendel, "Measuring Mechanistic Interpretability at Scale Without Humans", 2024, section
3). Swapping the queries, or the two sets of references, flips the sign to the last bit, and the
order of references changes nothing to the last bit: each trial is brought to a canonical order
before anything is added.

Two further poolings, ``ridge`` and ``t-discriminant``, fit a discriminant to the trial's own
references instead (`imi_bench.observers.discriminants`): no answer of people is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from imi_bench.arguments import checked, refuse_idle
from imi_bench.arrays import Floats, Ints
from imi_bench.errors import InputError, UnknownNameError
from imi_bench.observers.discriminants import ridge_contrast, t_weights
from imi_bench.tables import BlindTrials

Pooling = Literal["mean", "max", "softmax", "prototype", "ridge", "t-discriminant"]
TEMPERATURE = 0.1
"""Of the pooling ``softmax``, in units of the similarity, where none is asked for."""
OVER_SIMILARITIES = ("mean", "max", "softmax")
POOLINGS: tuple[str, ...] = get_args(Pooling)

Rows = Ints
Sides = tuple[Floats, Floats]

# Rows gathered for one block of trials stay in the processor's cache: twice the speed of one go.
_BYTES_AT_ONCE = 2 << 20
# A matrix of all pairs pays while it holds at most this many entries for each pair that is asked
# for: break-even at 512 dimensions on two cores (benchmarks/bench_pooling.py).
_MATRIX_ADVANTAGE = 14
_TRIALS_AT_ONCE = 4096


@dataclass(frozen=True)
class Similarity:
    """A similarity that is a function of dot products: larger is more alike.

    Attributes
    ----------
    finish : callable
        (dot products, squared norms of one side, of the other; these broadcast) to similarities.
    unit : bool
        Whether codes count by their direction alone, so that a prototype is the mean of unit
        vectors.
    """

    finish: Callable[[Floats, Floats, Floats], Floats]
    unit: bool = False


def _cosine(dots: Floats, one: Floats, other: Floats) -> Floats:
    norms = np.sqrt(one) * np.sqrt(other)
    return dots / np.where(norms > 0, norms, np.nan)


def _squared_distance(dots: Floats, one: Floats, other: Floats) -> Floats:
    return np.maximum(one + other - 2 * dots, 0)


SIMILARITIES: dict[str, Similarity] = {
    "cosine": Similarity(_cosine, unit=True),
    "dot": Similarity(lambda dots, one, other: dots),
    "l2": Similarity(lambda d, one, other: -np.sqrt(_squared_distance(d, one, other))),
    "squared-l2": Similarity(lambda d, one, other: -_squared_distance(d, one, other)),
}


def decide(
    codes: Floats,
    trials: BlindTrials,
    *,
    pooling: Pooling = "mean",
    similarity: str = "cosine",
    temperature: float = TEMPERATURE,
) -> NDArray[np.float64]:
    """Decision variables of T trials from one code an image.

    Parameters
    ----------
    codes : (N, ...) array
        One code for each row of ``trials.images``; flattened to (N, D). Computed in double
        precision whatever their type: similarities of near images differ in late digits.
    trials : BlindTrials
    pooling : {"mean", "max", "softmax", "prototype", "ridge", "t-discriminant"}
        Over the K references of a side: mean or maximum of the similarities; their mean weighted
        by ``softmax(s / temperature)``; or one similarity to the mean code (for the
        cosine: to the mean of unit vectors). Or a discriminant fitted to the references: "ridge"
        on their similarities, "t-discriminant" on the codes themselves (for the cosine: on unit
        vectors), whose answers have no unit.
    similarity : {"cosine", "dot", "l2", "squared-l2"}
        Distances carry a minus sign. The cosine with a code of zeros is undefined: NaN.
    temperature : float
        In units of the similarity; only "softmax" reads it.

    Returns
    -------
    (T,) float64
        In units of the similarity (without a unit for the discriminants); positive for the first
        query. NaN where undefined.

    Raises
    ------
    InputError
        Codes that are not one an image, or a temperature that is not positive.
    UnknownNameError
        An unknown pooling or similarity.

    Notes
    -----
    Memory is bounded whatever T is: trials are worked through in chunks, and in each chunk the
    similarities come from one matrix over its distinct images where they are shared enough for
    that to be cheaper, else from gathered rows. The two ways differ by rounding alone.

    Examples
    --------
    >>> from imi_bench.tables.images import Images
    >>> images, _ = Images.collect([np.full((1, 1, 3), v, np.uint8) for v in range(4)])
    >>> trials = BlindTrials(images, np.array([[0]]), np.array([[1]]), np.array([[2, 3]]))
    >>> codes = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    >>> decide(codes, trials).tolist()
    [2.0]
    """
    check_options(pooling, similarity, temperature)
    codes = np.asarray(codes)
    if codes.ndim < 2 or len(codes) != len(trials.images):
        raise InputError(
            "codes do not fit the images",
            where="pooling",
            found=f"shape {codes.shape}",
            wanted=f"({len(trials.images)}, ...)",
        )
    codes = codes.reshape(len(codes), -1)
    chosen, to_prototype = SIMILARITIES[similarity], pooling == "prototype"
    if pooling in ("ridge", "t-discriminant"):
        return _discriminate(codes, trials, chosen, ridge=pooling == "ridge")

    def similarities(queries: Rows, positive: Rows, negative: Rows) -> Sides:
        if not to_prototype and _matrix_pays(len(codes), queries, positive, negative):
            return _by_matrix(codes, queries, positive, negative, chosen)
        return _by_rows(codes, queries, positive, negative, chosen, to_prototype=to_prototype)

    # a prototype is a single reference
    over = "mean" if to_prototype else pooling
    return contrast(trials, similarities, pooling=over, temperature=temperature)


@dataclass(frozen=True, eq=False)
class Compared:
    """What stands behind decisions: how alike each query and each reference are.

    Attributes
    ----------
    each : (T, 2, 2 * K) float64
        Of the queries, as shown, to the positive and then the negative references.
    pooled : (T, 2, 2) float64
        Of the queries to the positive and to the negative references together.
    """

    each: Floats
    pooled: Floats


def compared(
    codes: Floats,
    trials: BlindTrials,
    *,
    pooling: Pooling = "mean",
    similarity: str = "cosine",
    temperature: float = TEMPERATURE,
) -> Compared:
    """The similarities from which `decide` takes its decision variables.

    Examples
    --------
    >>> from imi_bench.tables.images import Images
    >>> images, _ = Images.collect([np.full((1, 1, 3), v, np.uint8) for v in range(4)])
    >>> trials = BlindTrials(images, np.array([[0]]), np.array([[1]]), np.array([[2, 3]]))
    >>> codes = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    >>> compared(codes, trials).each.tolist()
    [[[1.0, 0.0], [0.0, 1.0]]]
    """
    codes = np.asarray(codes).reshape(len(codes), -1)
    chosen, rows = SIMILARITIES[similarity], (trials.queries, trials.positive, trials.negative)
    sides = _by_rows(codes, *rows, chosen, to_prototype=False)
    if pooling == "prototype":
        pooled = [side[..., 0] for side in _by_rows(codes, *rows, chosen, to_prototype=True)]
    else:
        pooled = [pool(side, pooling=pooling, temperature=temperature) for side in sides]
    return Compared(np.concatenate(sides, axis=-1), np.stack(pooled, axis=-1))


def alike(one: Floats, other: Floats, *, similarity: str = "cosine") -> Floats:
    """(A, B) similarities of A codes to B codes."""
    (first, squares), (second, others) = (
        _vectors(np.asarray(part).reshape(len(part), -1), slice(None)) for part in (one, other)
    )
    return SIMILARITIES[similarity].finish(first @ second.T, squares[:, None], others[None, :])


def contrast(
    trials: BlindTrials,
    similarities: Callable[[Rows, Rows, Rows], Sides],
    *,
    pooling: Pooling = "mean",
    temperature: float = TEMPERATURE,
    at_once: int = _TRIALS_AT_ONCE,
) -> NDArray[np.float64]:
    """Decision variables from any function that compares images.

    Parameters
    ----------
    trials : BlindTrials
    similarities : callable
        ``similarities(queries, positive, negative)`` takes image rows of C trials, shapes (C, 2),
        (C, K), (C, K), and gives two (C, 2, K) arrays: the similarity of each query to each
        positive and to each negative reference. A pair of images must get one value whichever
        side it stands on.
    pooling, temperature
        As in `pool`.
    at_once : int
        Most trials in one call of `similarities`.

    Returns
    -------
    (T,) float64
        Exactly antisymmetric under both swaps, exactly invariant to the order of references.
    """
    in_order = trials.queries[:, 0] <= trials.queries[:, 1]
    queries = np.sort(trials.queries, axis=1)
    positive, negative = np.sort(trials.positive, axis=1), np.sort(trials.negative, axis=1)
    evidence = np.empty((len(queries), 2))
    for part in _parts(len(queries), at_once):
        to_positive, to_negative = (
            pool(side, pooling=pooling, temperature=temperature)
            for side in similarities(queries[part], positive[part], negative[part])
        )
        evidence[part] = to_positive - to_negative
    difference = evidence[:, 0] - evidence[:, 1]
    return np.where(in_order, difference, -difference)


def pool(similarities: Floats, *, pooling: Pooling, temperature: float = TEMPERATURE) -> Floats:
    """Pool similarities over the last axis, that of the references.

    Parameters
    ----------
    similarities : (..., K) array
    pooling : {"mean", "max", "softmax"}
    temperature : float
        In units of the similarity; only "softmax" reads it.

    Returns
    -------
    (...) float64

    Examples
    --------
    >>> pool(np.array([0.0, np.log(3)]), pooling="softmax", temperature=1.0).round(3).item()
    0.824
    """
    values = similarities.astype(np.float64, copy=False)
    if pooling == "mean":
        return np.asarray(values.mean(axis=-1))
    largest = values.max(axis=-1)
    if pooling == "max":
        return np.asarray(largest)
    if pooling != "softmax":
        raise UnknownNameError.among(pooling, OVER_SIMILARITIES, kind="pooling")
    weights = np.exp((values - largest[..., None]) / temperature)
    return np.asarray((weights * values).sum(axis=-1) / weights.sum(axis=-1))


@checked
def check_options(pooling: str, similarity: str, temperature: float) -> None:
    """Raise `UnknownNameError` or `InputError` unless `decide` takes these options."""
    UnknownNameError.unless_among(pooling, POOLINGS, kind="pooling")
    UnknownNameError.unless_among(similarity, SIMILARITIES, kind="similarity")
    if not temperature > 0:
        raise InputError("bad temperature", where="pooling", found=temperature, wanted="above 0")
    refuse_idle(
        "temperature",
        temperature,
        free=TEMPERATURE,
        unless=pooling == "softmax",
        do="add pooling='softmax'",
    )


def _discriminate(
    codes: NDArray[Any], trials: BlindTrials, similarity: Similarity, *, ridge: bool
) -> Floats:
    """Decision variables of a discriminant, each trial in a canonical order of all its images.

    The two sides are put in order as well: a system of equations that is written down in another
    order has another rounding.
    """
    queries = np.sort(trials.queries, axis=1)
    one, other = np.sort(trials.positive, axis=1), np.sort(trials.negative, axis=1)
    differs = one != other
    first = differs.argmax(axis=1)
    rows = np.arange(len(one))
    swapped = one[rows, first] > other[rows, first]
    sides = np.where(swapped[:, None, None], np.stack([other, one], 1), np.stack([one, other], 1))
    found = np.empty(len(one))
    for part in _parts(len(one), _TRIALS_AT_ONCE):
        solve = _by_ridge if ridge else _by_t
        found[part] = solve(codes, queries[part], sides[part], similarity)
    sign = np.where(trials.queries[:, 0] <= trials.queries[:, 1], 1.0, -1.0)
    found *= np.where(swapped, -sign, sign)
    return np.where(differs.any(axis=1) | np.isnan(found), found, 0.0)


def _by_ridge(codes: NDArray[Any], queries: Rows, sides: Rows, similarity: Similarity) -> Floats:
    shown = sides.reshape(len(sides), -1)
    used, place = _distinct(len(codes), queries, shown)
    pairs = shown.size * (shown.shape[1] + 2)
    if len(used) ** 2 <= _MATRIX_ADVANTAGE * pairs:
        vectors, squares = _vectors(codes, used)
        matrix = similarity.finish(vectors @ vectors.T, squares[:, None], squares[None, :])
        at = place[shown]
        among = matrix[at[:, :, None], at[:, None, :]]
        return ridge_contrast(among, matrix[place[queries][:, :, None], at[:, None, :]])
    found = np.empty(len(queries))
    for part in _parts(len(queries), _block(codes, shown.shape[1])):
        asked, asked_squares = _vectors(codes, queries[part])
        vectors, squares = _vectors(codes, shown[part])
        other = vectors.transpose(0, 2, 1)
        found[part] = ridge_contrast(
            similarity.finish(vectors @ other, squares[:, :, None], squares[:, None, :]),
            similarity.finish(asked @ other, asked_squares[:, :, None], squares[:, None, :]),
        )
    return found


def _by_t(codes: NDArray[Any], queries: Rows, sides: Rows, similarity: Similarity) -> Floats:
    found = np.empty(len(queries))
    for part in _parts(len(queries), _block(codes, 2 * sides.shape[2])):
        shown = [
            _directions(codes, rows, unit=similarity.unit) for rows in sides[part].swapaxes(0, 1)
        ]
        asked = _directions(codes, queries[part], unit=similarity.unit)
        weights = t_weights(shown[0], shown[1])
        found[part] = np.einsum("cd,cd->c", weights, asked[:, 0] - asked[:, 1])
    return found


def _directions(codes: NDArray[Any], rows: Rows, *, unit: bool) -> Floats:
    """Codes of the rows, of unit length where only their direction counts; NaN without one."""
    vectors, squares = _vectors(codes, rows)
    if not unit:
        return vectors
    return vectors / np.sqrt(np.where(squares > 0, squares, np.nan))[..., None]


def _block(codes: NDArray[Any], references: int) -> int:
    """Trials whose gathered codes fit the processor's cache."""
    return max(1, _BYTES_AT_ONCE // (8 * codes.shape[1] * (2 + references)))


def _parts(count: int, size: int) -> Iterator[slice]:
    yield from (slice(start, start + size) for start in range(0, count, size))


def _vectors(codes: NDArray[Any], rows: Rows | slice) -> tuple[Floats, Floats]:
    """Codes of the rows in double precision, and their squared norms."""
    vectors = codes[rows].astype(np.float64, copy=False)
    return vectors, np.einsum("...d,...d->...", vectors, vectors)


def _distinct(count: int, *rows: Rows) -> tuple[Rows, Rows]:
    """Distinct rows in use, ascending, and the place of each row among them."""
    in_use = np.zeros(count, dtype=bool)
    for part in rows:
        in_use[part] = True
    used = np.flatnonzero(in_use)
    place = np.empty(count, dtype=np.int64)
    place[used] = np.arange(len(used))
    return used, place


def _matrix_pays(count: int, queries: Rows, positive: Rows, negative: Rows) -> bool:
    asked, _ = _distinct(count, queries)
    shown, _ = _distinct(count, positive, negative)
    pairs = queries.size * (positive.shape[1] + negative.shape[1])
    return bool(len(asked) * len(shown) <= _MATRIX_ADVANTAGE * pairs)


def _by_matrix(
    codes: Floats, queries: Rows, positive: Rows, negative: Rows, similarity: Similarity
) -> Sides:
    """(C, 2, K) similarities to either side, looked up in one matrix over distinct images."""
    asked, query_at = _distinct(len(codes), queries)
    shown, reference_at = _distinct(len(codes), positive, negative)
    one, one_squares = _vectors(codes, asked)
    other, other_squares = _vectors(codes, shown)
    matrix = similarity.finish(one @ other.T, one_squares[:, None], other_squares[None, :])
    rows = query_at[queries][:, :, None]
    return (
        matrix[rows, reference_at[positive][:, None, :]],
        matrix[rows, reference_at[negative][:, None, :]],
    )


def _by_rows(
    codes: Floats,
    queries: Rows,
    positive: Rows,
    negative: Rows,
    similarity: Similarity,
    *,
    to_prototype: bool,
) -> Sides:
    """(C, 2, K) similarities to either side from gathered rows; K is 1 for prototypes."""
    count, references = positive.shape
    sides = tuple(np.empty((count, 2, 1 if to_prototype else references)) for _ in range(2))
    for part in _parts(count, _block(codes, 2 * references)):
        asked, asked_squares = _vectors(codes, queries[part])
        for side, rows in zip(sides, (positive[part], negative[part]), strict=True):
            shown, squares = _vectors(codes, rows)
            if to_prototype:
                shown, squares = _prototype(shown, squares, unit=similarity.unit)
            dots = asked @ shown.transpose(0, 2, 1)
            side[part] = similarity.finish(dots, asked_squares[:, :, None], squares[:, None, :])
    return sides[0], sides[1]


def _prototype(vectors: Floats, squares: Floats, *, unit: bool) -> tuple[Floats, Floats]:
    """(C, 1, D) means of (C, K, D) vectors, and their squared norms."""
    norms = np.sqrt(np.where(squares > 0, squares, np.nan)) if unit else np.ones_like(squares)
    mean = np.einsum("ck,ckd->cd", 1 / (norms * vectors.shape[1]), vectors)[:, None]
    return mean, np.einsum("ckd,ckd->ck", mean, mean)
