"""A card's module, built by its source: the one place, for observers and for networks."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, cast

from imi_bench.errors import DownloadError, ImiBenchError, NetworkError
from imi_bench.extras import require
from imi_bench.vision import weights
from imi_bench.vision.card import NetworkCard
from imi_bench.vision.code_files import faults_told, from_file
from imi_bench.vision.device import drawn_from

if TYPE_CHECKING:
    from torch import nn

__all__ = ["build_module"]


def build_module(
    card: NetworkCard,
    *,
    file: Path | None,
    seed: int,
    structure: bool = False,
) -> nn.Module:
    """Build a network; what is drawn at random comes from `seed` alone.

    Parameters
    ----------
    card : NetworkCard
    file : Path or None
        Weights that are put into it; None for random ones, and for a Hub repository that brings
        its own.
    seed : int
        Of random weights. The state of torch's own generator is left as it was.
    structure : bool
        On the meta device: shapes without numbers.

    Raises
    ------
    UnknownNameError
        No such architecture, tag or function.
    DownloadError
        Weights that cannot be fetched.
    NetworkError
        It cannot be built with these arguments, or the weights do not fit.
    """
    torch = require("torch", for_=f"network '{card.name}'")
    place = torch.device("meta" if structure else "cpu")
    with _quiet(), drawn_from(seed, device=place.type):
        if card.source == "python":
            return _from_file(card)
        try:
            try:
                return cast("nn.Module", weights.BUILDERS[card.source](card, file))
            except NotImplementedError:  # it computes with its weights, which meta has not
                with torch.device("cpu"):
                    built = weights.BUILDERS[card.source](card, file)
                return cast("nn.Module", built.to(place))
        except ImiBenchError:
            raise
        except OSError as error:
            text = card.source == "open_clip"  # its weights are files here; a text tower is not
            raise DownloadError(
                "text tower cannot be fetched" if text else "weights cannot be fetched",
                where=card.name,
                found=f"{type(error).__name__}: {shorten(str(error), 160)}",
                do="build it once where the hub can be reached, and keep its cache (HF_HOME)"
                if text
                else "give a local checkpoint, or ask for random weights",
            ) from error
        except (TypeError, ValueError, RuntimeError, LookupError) as error:
            architecture = f"{card.source}:{card.architecture}"
            raise NetworkError(
                "weights do not fit the network" if file else "network cannot be built",
                where=f"{file} in '{architecture}'" if file else architecture,
                found=f"{type(error).__name__}: {shorten(str(error), 240)}",
            ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the libraries' warnings of random weights that were asked for."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The default weight initialization", FutureWarning)
            yield
    finally:
        logging.disable(before)


def _from_file(card: NetworkCard) -> nn.Module:
    file, _, function = card.architecture.rpartition(":")
    build = from_file(Path(file), function, kind="network", error=NetworkError)
    with faults_told("network cannot be built", where=card.architecture, error=NetworkError):
        built = build(**card.arguments)
    torch = require("torch", for_=f"network '{card.name}'")
    if not isinstance(built, torch.nn.Module):
        raise NetworkError(
            "function gives no network",
            where=card.architecture,
            found=type(built).__name__,
            wanted="a torch.nn.Module",
        )
    return cast("nn.Module", built)
