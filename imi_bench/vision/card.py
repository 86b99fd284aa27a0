"""What a network is, apart from its loader: weights, preprocessing, layers, scale covariates.

The nine networks of the paper have a card each in ``imi_bench/vision/cards``. Any other
network is described by a reference that reads like a card in one line::

    timm:NAME?checkpoint=PATH&input_size=32      open_clip:NAME?pretrained=TAG
    torchvision:NAME                             path/to/file.py:function
    path/to/card.toml                            CARD?input_size=64

Nothing here imports torch; `imi_bench.vision.loading.load_network` does the loading.
"""

from __future__ import annotations

import re
import warnings
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from imi_bench.arguments import checked
from imi_bench.documents import read_model
from imi_bench.errors import CardError, UnknownNameError
from imi_bench.vision.references import option_value, split_reference
from imi_bench.vision.weight_sources import WeightSource

Source = Literal["timm", "open_clip", "torchvision", "inception_v1", "pre_relu_resnet", "python"]
Triple = tuple[float, float, float]
CovariateName = Literal["parameters", "training_images", "top1", "year"]
COVARIATES: tuple[CovariateName, ...] = get_args(CovariateName)
FamilyName = Literal["architecture", "training"]
FAMILIES: tuple[FamilyName, ...] = get_args(FamilyName)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Weights(_Part):
    """Where trained weights come from.

    Attributes
    ----------
    tag : str
        The name that the source knows them by: timm or open_clip tag, torchvision enum member.
    source : WeightFile, PackagedWeights or LibraryWeights
        A pinned source, as observers' cards have it; instead of the registry's.
    file : str
        Weight file of a source without a registry; looked for in torch's folder of checkpoints.
    key, key_prefix : str
        The entry of the file that holds the state dict, and the prefix of its keys to strip.
    origin : str
        Who published them, in words.
    random : bool
        Ask for random weights (``pretrained=false`` in a reference); not part of the record, which
        names the seed of random weights.
    seed : int, optional
        Of the random weights (``seed=3`` in a reference); not part of the record either.
    """

    tag: str | None = None
    source: WeightSource | None = None
    file: str | None = None
    key: str | None = None
    key_prefix: str = ""
    origin: str = ""
    random: bool = Field(default=False, exclude=True)
    seed: Annotated[int, Field(ge=0)] | None = Field(default=None, exclude=True)


class Preprocessing(_Part):
    """What to do to an image instead of what the network's maker does.

    Scaled to `resize` by `mode` (the ``shortest`` or ``longest`` side, or both: ``squash``), the
    centre `crop` pixels are kept, and the values in 0..1 become (value - mean) / std. What is left
    out is the maker's own, see `imi_bench.vision.preprocessing`. Another `crop` without `resize`
    keeps the share of the image that the maker crops away.
    """

    crop: Annotated[int, Field(ge=1, le=4096)] | None = None
    resize: Annotated[int, Field(ge=1, le=4096)] | None = None
    mode: Literal["shortest", "longest", "squash"] | None = None
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] | None = None
    mean: Triple | None = None
    std: Triple | None = None

    def cropped(self, side: int) -> Preprocessing:
        """The same with another `crop`; the share of the image that is cropped away stays."""
        resize = self.resize
        if resize is not None and self.crop is not None:
            resize = round(side * resize / self.crop)
        return self.model_copy(update={"crop": side, "resize": resize})


class LayerRule(_Part):
    """Which modules are layers, and what they are called.

    Attributes
    ----------
    inside : str
        Submodule that is the network (``visual``: the image tower of a CLIP model).
    prefix : str
        Stands before every released layer name.
    pattern : str
        Regular expression that the whole underscore name (without the prefix) must match. Empty:
        every convolution, linear map and normalisation but the classifier.
    """

    inside: str = ""
    prefix: str = ""
    pattern: str = ""

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # of a set that will mean something else one day
                re.compile(pattern)
        except (re.error, RecursionError, OverflowError, Warning) as error:
            raise ValueError(f"not a regular expression: {error}") from error
        return pattern


class Covariate(_Part):
    """A number about the network, and where it was published."""

    value: float
    source: str


class Family(_Part):
    """A kind of network that this one is of, and where that was published."""

    value: str
    source: str


class NetworkCard(_Part):
    """The description of one network.

    Examples
    --------
    >>> card("resnet50").layers.prefix, card("clip-resnet50").layers.prefix
    ('', 'visual_')
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.\-]*$")]
    label: str = ""
    source: Source
    architecture: str
    arguments: dict[str, Any] = {}
    weights: Weights = Weights()
    preprocessing: Preprocessing = Preprocessing()
    layers: LayerRule = LayerRule()
    unit_activation: Literal["mean"] = "mean"
    covariates: dict[CovariateName, Covariate] = {}
    families: dict[FamilyName, Family] = {}
    notes: str = ""


def names() -> list[str]:
    """Names of the packaged cards: the nine networks of the paper."""
    files = resources.files("imi_bench.vision").joinpath("cards").iterdir()
    return sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))


@checked
@cache
def card(name: str) -> NetworkCard:
    """The packaged card of that name.

    Raises
    ------
    UnknownNameError
        If there is none.
    """
    UnknownNameError.unless_among(name, names(), kind="network")
    file = resources.files("imi_bench.vision").joinpath("cards", f"{name}.toml")
    return read_model(file, NetworkCard, what="network card", error=CardError)


def read_card(path: Path) -> NetworkCard:
    """Read a card from a TOML file of one's own.

    Raises
    ------
    CardError
        If the file is missing, is not TOML, or has an unknown or invalid field.
    """
    return read_model(path, NetworkCard, what="network card", error=CardError)


@checked
def resolve(reference: str) -> tuple[NetworkCard, Path | None]:
    """Turn a card's name, a card's path or a one-line reference into a card.

    Parameters
    ----------
    reference : str
        See the module's docstring. Options: ``checkpoint``, ``pretrained``
        (tag, or ``false`` for random weights), ``seed`` of random weights, ``name``, ``layers``
        (pattern) or ``layer`` (names joined by commas, as for observers), ``input_size`` or
        ``image_size`` (the share of the image that the maker crops away stays; with ``resize`` of
        the same number nothing is cropped away),
        ``resize``, ``mode``, ``interpolation``, ``mean``, ``std``; all
        others go to the model's constructor.

    Returns
    -------
    card : NetworkCard
    checkpoint : Path or None
        Local weights the reference names.

    Examples
    --------
    >>> found, checkpoint = resolve("timm:test_resnet?num_classes=10&input_size=32")
    >>> found.name, found.arguments, found.preprocessing.crop
    ('test_resnet', {'num_classes': 10}, 32)
    """
    source, colon, rest = reference.partition(":")
    if colon and source in ("timm", "open_clip", "torchvision"):
        return _from_line(source, rest)
    if ".py:" in reference:
        file, _, rest = reference.rpartition(".py:")
        return _from_line("python", rest, file=f"{file}.py")
    base, _, query = reference.partition("?")
    found = read_card(Path(base)) if base.endswith(".toml") else card(base)
    if not query:
        return found, None
    asked, checkpoint = _from_line(found.source, f"{found.architecture}?{query}", name=found.name)
    return _with_options(found, asked), checkpoint


def _with_options(card: NetworkCard, asked: NetworkCard) -> NetworkCard:
    """The card with what a reference says otherwise."""
    rule = {"pattern": asked.layers.pattern} if asked.layers.pattern else {}
    tag, name = asked.weights.tag, asked.name
    if name == card.name and tag not in (None, card.weights.tag):
        name = f"{name}.{tag}"
    weights: dict[str, Any] = {"random": asked.weights.random, "seed": asked.weights.seed}
    if tag is not None:
        weights |= {"tag": tag, "source": None, "file": None}
    preprocessing = asked.preprocessing.model_dump(exclude_none=True)
    own = card.preprocessing
    if asked.preprocessing.crop and "resize" not in preprocessing:
        own = own.cropped(asked.preprocessing.crop)
    return card.model_copy(
        update={
            "name": name,
            "arguments": {**card.arguments, **asked.arguments},
            "weights": card.weights.model_copy(update=weights),
            "layers": card.layers.model_copy(update=rule),
            "preprocessing": own.model_copy(update=preprocessing),
        }
    )


def _either(options: dict[str, str], name: str, other: str, *, where: str) -> str | None:
    """An option that observers call otherwise, by either name."""
    if name in options and other in options:
        raise CardError("one option by two names", where=where, found=f"{name} and {other}")
    return options.pop(name, None) or options.pop(other, None)


def _from_line(
    source: str, rest: str, *, file: str = "", name: str | None = None
) -> tuple[NetworkCard, Path | None]:
    architecture, options = split_reference(rest)
    tag = None if source == "python" else options.pop("pretrained", None)
    switch = None if tag is None else option_value(tag)
    checkpoint = options.pop("checkpoint", None)
    seed = None if source == "python" else options.pop("seed", None)
    if seed is not None and switch is not False:
        raise CardError(
            "a seed draws random weights",
            where=f"{source}:{rest}",
            found=f"seed={seed}",
            do="add pretrained=false, or leave the seed out",
        )
    size = _either(options, "input_size", "image_size", where=f"{source}:{rest}")
    preprocessing: dict[str, Any] = {
        "crop": size,
        "resize": options.pop("resize", None),
        "interpolation": options.pop("interpolation", None),
        "mode": options.pop("mode", None),
    }
    for values in ("mean", "std"):
        if values in options:
            preprocessing[values] = tuple(options.pop(values).split(","))
    named = None if isinstance(switch, bool) else tag
    plain = re.sub(r"[^\w.\-]", "_", architecture.split("/")[-1])
    if file:  # two files may have functions of one name
        plain = f"{re.sub(r'[^A-Za-z0-9]', '_', Path(file).stem).strip('_') or 'file'}.{plain}"
    tower = "visual" if source == "open_clip" else ""
    pattern = _either(options, "layers", "layer", where=f"{source}:{rest}")
    if "layer" in split_reference(rest)[1] and pattern:
        named_layers = (one.removeprefix(f"{tower}_") for one in pattern.split(","))
        pattern = "|".join(map(re.escape, named_layers))
    fields = {
        "source": source,
        "architecture": f"{file}:{architecture}" if file else architecture,
        "name": options.pop("name", name or (f"{plain}.{named}" if named else plain)),
        "weights": {"tag": named, "random": switch is False, "seed": seed},
        "layers": {
            "pattern": pattern or "",
            "inside": tower,
            "prefix": f"{tower}_" if tower else "",
        },
        "preprocessing": preprocessing,
        "arguments": {key: option_value(value) for key, value in options.items()},
    }
    try:
        described = NetworkCard.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        raise CardError(
            "network reference is invalid",
            where=f"{source}:{rest}, option {first['loc'][-1]}",
            found=first["msg"],
        ) from error
    return described, Path(checkpoint) if checkpoint else None


def covariates() -> pd.DataFrame:
    """Scale covariates and families of the paper's networks, with the source of each.

    Returns
    -------
    pandas.DataFrame
        One row a network: `network`, `label`, then for each of `COVARIATES` its value (float64)
        and ``<name>_source``. `parameters` are those of the tower whose units are judged,
        `training_images` the images (or image-text pairs) of its training set, `top1` ImageNet
        accuracy as a fraction, `year` that of the publication. Then for each of `FAMILIES` its
        name and source: `architecture` (``convolutional``, ``transformer``), `training`
        (``labels``, ``robust``, ``language``).

    Examples
    --------
    >>> covariates().set_index("network").loc["resnet50", "training_images"]
    np.float64(1281167.0)
    """
    rows = []
    for name in names():
        described = card(name)
        row: dict[str, Any] = {"network": name, "label": described.label}
        for key in COVARIATES:
            row[key] = described.covariates[key].value
            row[f"{key}_source"] = described.covariates[key].source
        for family in FAMILIES:
            row[family] = described.families[family].value
            row[f"{family}_source"] = described.families[family].source
        rows.append(row)
    return pd.DataFrame(rows)
