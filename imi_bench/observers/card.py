"""One TOML card an observer: what it is, where its weights come from, how to load it."""

from __future__ import annotations

from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from imi_bench.documents import read_model
from imi_bench.errors import CardError
from imi_bench.vision.weight_sources import WeightSource

Kind = Literal["reference", "pixel", "classical", "embedding", "pairwise", "in-context"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Paper(_Part):
    """What to cite."""

    title: str
    authors: str
    year: int
    url: str


class ObserverCard(_Part):
    """The description of an observer apart from its code.

    Attributes
    ----------
    name : str
        Name in the catalogue; the card's file has the same.
    title : str
        For people.
    kind : {"reference", "pixel", "classical", "embedding", "pairwise", "in-context"}
    loader : str
        ``module:function or class`` that builds the observer.
    parameters : mapping
        Keyword arguments of the loader.
    extra : str or None
        The extra of this package that must be installed.
    symmetric : bool
        False where the observer cannot keep the swap properties by nature; the contract check
        then exempts it from those two.
    licence : str
        Of the observer's code.
    training_data : str
        What it was trained on, or that it was not.
    human_similarity_judgements : bool
        Whether it was trained on people's judgements of similarity.
    weights : WeightFile, PackagedWeights, LibraryWeights or None
    paper : Paper or None
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    title: str
    kind: Kind
    loader: str = Field(pattern=r"^[\w.]+:\w+$")
    parameters: dict[str, Any] = Field(default_factory=dict)
    extra: Literal["vision", "perceptual", "vlm"] | None = None
    symmetric: bool = True
    licence: str
    training_data: str
    human_similarity_judgements: bool
    weights: WeightSource | None = None
    paper: Paper | None = None

    @field_validator("title", "licence", "training_data")
    @classmethod
    def _not_blank(cls, text: str) -> str:
        if not text.strip():
            raise ValueError("is blank")
        return text

    def to_json(self) -> dict[str, Any]:
        """The card as a JSON object."""
        return self.model_dump(mode="json")


def read_card(path: Path | Traversable) -> ObserverCard:
    """Read and check one card.

    Raises
    ------
    CardError
        Not TOML, a field missing, unknown or of the wrong kind, or a name other than the file's.
    """
    card = read_model(path, ObserverCard, what="card", error=CardError)
    if f"{card.name}.toml" != path.name:
        raise CardError("card and file differ in name", where=path, found=card.name)
    return card


def cards() -> dict[str, ObserverCard]:
    """Every card of the package by name, in alphabetical order.

    Examples
    --------
    >>> cards()["chance"].kind
    'reference'
    """
    folder = resources.files("imi_bench.observers.cards")
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".toml")), key=lambda f: f.name)
    return {card.name: card for card in map(read_card, files)}
