"""A small study to try everything on: made-up trials and made-up people."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from imi_bench.arguments import checked
from imi_bench.errors import UnknownNameError
from imi_bench.simulation.world import build

if TYPE_CHECKING:
    from imi_bench.tables import Study, Trials


@checked
def demo_data(*, seed: int = 0, **size: int) -> tuple[Trials, Study]:
    """Trials of planted units, and a simulated panel's answers to them.

    Parameters
    ----------
    seed : int
        Everything drawn comes from it.
    **size : int
        Sizes as in `imi_bench.simulation.world.build`, such as ``n_networks=1``.

    Returns
    -------
    trials : Trials
    people : Study
        Both say that they are simulated.

    Raises
    ------
    UnknownNameError
        A size that is none of these.
    InputError
        A number out of range.

    Examples
    --------
    >>> trials, people = demo_data(n_networks=1, n_batches=1, n_scenes=200, size=16)
    >>> len(trials), people.responses.simulated
    (60, True)
    """
    sizes = [name for name in inspect.signature(build).parameters if name != "seed"]
    for name in size:
        UnknownNameError.unless_among(name, sizes, kind="size")
    world = build(seed=seed, **size)
    return world.trials, world.study
