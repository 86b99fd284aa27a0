"""Observers over any of timm's, open_clip's and torchvision's architectures.

Where their weights come from is `imi_bench.vision.chosen_weights`' affair, as it is for networks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from imi_bench.documents import validated
from imi_bench.errors import InputError, UnknownNameError
from imi_bench.extras import require
from imi_bench.observers.embedding import Embedding
from imi_bench.observers.layers import POWER, BestMatch, check_power, layer_codes
from imi_bench.observers.loader_names import named
from imi_bench.observers.pooling import TEMPERATURE, Pooling
from imi_bench.vision.building import build_module
from imi_bench.vision.card import NetworkCard, Preprocessing, Weights
from imi_bench.vision.chosen_weights import HUB, choose_weights, timm_config
from imi_bench.vision.encoder import torch_encoder
from imi_bench.vision.loading import load_network
from imi_bench.vision.preprocessing import Preprocess, open_clip_preprocess, timm_preprocess
from imi_bench.vision.weight_sources import WeightSource
from imi_bench.vision.weights import quick_gelu as activation_of


def from_module(module: Any, *, device: str = "auto", dtype: str = "float32") -> Embedding:
    """Observer over the output of a network in memory, flattened.

    Parameters
    ----------
    module : torch.nn.Module
        Is copied. Its preprocessing is what its maker defines (timm), else as
        `imi_bench.vision.loading.load_network` says; the description names it.
    device, dtype
        As in `imi_bench.observers.catalogue.load_observer`.

    Raises
    ------
    NetworkError
        If the network does not run on its input.
    """
    loaded = load_network(module, device="cpu")

    encoder = torch_encoder(
        loaded.module,
        loaded.module,
        loaded.preprocess,
        device=device,
        dtype=dtype,
        description={
            "library": "torch",
            "architecture": type(module).__name__,
            "structure": loaded.record["code"],
            "weights": {"source": "in memory"},
            "features": "output, flattened",
            "preprocessing": loaded.record["preprocess"],
        },
    )
    return Embedding(encoder, name=loaded.name)


@named("timm:{architecture}")
def from_timm(
    architecture: str,
    *,
    name: str | None = None,
    checkpoint: str | Path | None = None,
    weights: WeightSource | None = None,
    pretrained: str | bool = True,
    seed: int = 0,
    image_size: int | None = None,
    num_classes: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    layer: str | None = None,
    spatial: str = "mean",
    power: float = POWER,
    device: str = "auto",
    dtype: str = "float32",
    pooling: Pooling = "mean",
    similarity: str = "cosine",
    temperature: float = TEMPERATURE,
) -> Embedding:
    """Observer over the pooled features of a timm network, those its classifier would read.

    Parameters
    ----------
    architecture : str
        timm's name, with or without a tag: ``resnet50.a1_in1k``.
    name : str, optional
        Of the observer; ``timm:architecture`` with its options by default.
    checkpoint : path, optional
        File of the whole network, safetensors or a torch file of tensors alone; a classifier of
        any number of classes fits.
    weights : WeightFile or PackagedWeights, optional
        Pinned source; by default timm's own source of the tag, see
        `imi_bench.vision.chosen_weights`. Not used with `checkpoint`.
    pretrained : str or bool
        Tag of timm's registry, where `architecture` names none. False: random weights drawn with
        `seed`, named so in the description.
    image_size, mean, std : int, optional and sequence of float, optional
        Override the network's own data configuration (crop, interpolation, normalisation).
    num_classes : int, optional
        Of the classifier, which is not read; a checkpoint's own is found without it.
    layer : str, optional
        Layers to read instead, joined by commas, as `imi-bench networks units` names them.
    spatial, power : str and float
        How a layer's positions become a code, as in `imi_bench.observers.layers`.
    device, dtype
        As in `imi_bench.observers.catalogue.load_observer`.
    pooling, similarity, temperature
        As in `imi_bench.observers.pooling.decide`.

    Raises
    ------
    UnknownNameError, NetworkError, DownloadError, InputError, MissingExtraError
    """
    require("timm", for_=f"the observer '{name or architecture}'")
    name = name or f"timm:{architecture}"
    changed = _changed(name, crop=image_size, mean=mean, std=std)
    arguments: dict[str, Any] = {} if num_classes is None else {"num_classes": num_classes}
    hub = architecture.startswith(HUB)
    tag = pretrained if isinstance(pretrained, str) else None
    if tag is not None and (hub or "." in architecture):
        raise InputError("two tags", where=name, found=f"pretrained={tag}", do="leave it out")
    described = NetworkCard(
        name="observer", source="timm", architecture=architecture, weights=Weights(tag=tag)
    )
    if image_size is not None and not hub and timm_config(described).fixed_input_size:
        arguments["img_size"] = image_size
    described = described.model_copy(update={"arguments": arguments})
    chosen = choose_weights(
        described,
        for_=name,
        checkpoint=checkpoint,
        pinned=weights,
        pretrained=pretrained is not False,
        seed=seed,
    )
    network: Any = build_module(described, file=chosen.path, seed=seed)
    preprocess = timm_preprocess(network.pretrained_cfg, changed)
    return _embedding(
        network,
        lambda batch: network.forward_head(network.forward_features(batch), pre_logits=True),
        preprocess,
        inside=network,
        layer=layer,
        spatial=spatial,
        power=power,
        device=device,
        dtype=dtype,
        description={
            "library": "timm",
            "architecture": architecture,
            "weights": dict(chosen.record),
            "features": "pooled, before the classifier",
            "preprocessing": dict(preprocess.settings),
        },
        name=name,
        pooling=pooling,
        similarity=similarity,
        temperature=temperature,
    )


@named("open_clip:{architecture}")
def from_open_clip(
    architecture: str,
    *,
    name: str | None = None,
    checkpoint: str | Path | None = None,
    weights: WeightSource | None = None,
    pretrained: str | bool = True,
    seed: int = 0,
    image_size: int | None = None,
    quick_gelu: bool | None = None,
    layer: str | None = None,
    spatial: str = "mean",
    power: float = POWER,
    device: str = "auto",
    dtype: str = "float32",
    pooling: Pooling = "mean",
    similarity: str = "cosine",
    temperature: float = TEMPERATURE,
) -> Embedding:
    """Observer over the image features of an open_clip model, in the space shared with text.

    Parameters
    ----------
    architecture : str
        open_clip's name: ``ViT-B-32``.
    pretrained : str or bool
        Tag of open_clip's registry, which sets normalisation and activation function, and the
        source of the weights unless `weights` or `checkpoint` is given. False: random weights.
    quick_gelu : bool, optional
        The activation function that the weights were trained with; the tag's by default. A
        checkpoint without a tag needs it where the architecture's tags disagree.
    layer, spatial, power
        As in `from_timm`; layers of the image tower.
    name, checkpoint, weights, seed, image_size, device, dtype, pooling, similarity, temperature
        As in `from_timm`; the file holds the whole model, text tower included.

    Raises
    ------
    UnknownNameError, NetworkError, DownloadError, InputError, MissingExtraError
    """
    require("open_clip", for_=f"the observer '{name or architecture}'")
    name = name or f"open_clip:{architecture}"
    _changed(name, crop=image_size)
    named = pretrained if isinstance(pretrained, str) else None
    trained = pretrained is not False
    fast = activation_of(architecture, named, asked=quick_gelu, trained=trained)
    described = NetworkCard(
        name="observer",
        source="open_clip",
        architecture=architecture,
        arguments={"force_image_size": image_size}
        | ({} if quick_gelu is None else {"quick_gelu": quick_gelu}),
        weights=Weights(tag=named, random=not trained),
    )
    chosen = choose_weights(
        described, for_=name, checkpoint=checkpoint, pinned=weights, pretrained=trained, seed=seed
    )
    model: Any = build_module(described, file=chosen.path, seed=seed)
    known = {**model.visual.preprocess_cfg, "size": model.visual.image_size}
    preprocess = open_clip_preprocess(architecture, named, known)
    return _embedding(
        model,
        model.encode_image,
        preprocess,
        inside=model.visual,
        layer=layer,
        spatial=spatial,
        power=power,
        device=device,
        dtype=dtype,
        description={
            "library": "open_clip",
            "architecture": architecture,
            "weights": dict(chosen.record),
            "quick_gelu": fast,
            "features": "image embedding",
            "preprocessing": dict(preprocess.settings),
        },
        name=name,
        pooling=pooling,
        similarity=similarity,
        temperature=temperature,
    )


@named("torchvision:{architecture}")
def from_torchvision(
    architecture: str,
    *,
    name: str | None = None,
    checkpoint: str | Path | None = None,
    weights: WeightSource | None = None,
    pretrained: str | bool = True,
    seed: int = 0,
    image_size: int | None = None,
    num_classes: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    layer: str | None = None,
    spatial: str = "mean",
    power: float = POWER,
    device: str = "auto",
    dtype: str = "float32",
    pooling: Pooling = "mean",
    similarity: str = "cosine",
    temperature: float = TEMPERATURE,
) -> Embedding:
    """Observer over what the last layer of a torchvision classifier reads.

    Parameters
    ----------
    architecture : str
        torchvision's name: ``resnet50``. Classifiers of images; of its other networks a `layer`.
    pretrained : str or bool
        Member of torchvision's enumeration of weights (``IMAGENET1K_V1``), which sets the
        preprocessing too; True: its ``DEFAULT``. False: random weights.
    num_classes : int, optional
        Of the classifier, which is not read; a checkpoint must have as many.
    name, checkpoint, weights, seed, image_size, mean, std, layer, spatial, power
        As in `from_timm`.
    device, dtype, pooling, similarity, temperature
        As in `from_timm`.

    Raises
    ------
    UnknownNameError, NetworkError, DownloadError, InputError, MissingExtraError
    """
    models = require("torchvision.models", for_=f"the observer '{name or architecture}'")
    torch = require("torch", for_=f"the observer '{name or architecture}'")
    name = name or f"torchvision:{architecture}"
    known = models.list_models()
    UnknownNameError.unless_among(architecture, known, kind="torchvision network")
    classifies = architecture in models.list_models(module=models) + models.list_models(
        module=models.quantization
    )
    if layer is None and not classifies:
        raise InputError("no classifier, whose features are read", where=name, do="add layer=")
    tag = pretrained if isinstance(pretrained, str) else None
    loaded = load_network(
        NetworkCard(
            name=re.sub(r"[^\w.\-]", "_", architecture),
            source="torchvision",
            architecture=architecture,
            arguments={} if num_classes is None else {"num_classes": num_classes},
            weights=Weights(tag=tag, source=weights),
            preprocessing=_changed(name, crop=image_size, mean=mean, std=std),
        ),
        checkpoint=None if checkpoint is None else Path(checkpoint),
        pretrained=pretrained is not False,
        seed=seed,
        device="cpu",
    )
    network: Any = loaded.module
    if layer is None:
        from imi_bench.vision.network_outputs import maps_points  # needs torch

        last = [path for path, part in network.named_modules() if maps_points(part)][-1]
        network.set_submodule(last, torch.nn.Identity())
    return _embedding(
        network,
        network,
        loaded.preprocess,
        inside=network,
        layer=layer,
        spatial=spatial,
        power=power,
        device=device,
        dtype=dtype,
        description={
            "library": "torchvision",
            "architecture": architecture,
            "weights": loaded.record["weights"],
            "features": "pooled, before the classifier",
            "preprocessing": dict(loaded.preprocess.settings),
        },
        name=name,
        pooling=pooling,
        similarity=similarity,
        temperature=temperature,
    )


def _changed(name: str, **asked: Any) -> Preprocessing:
    """The preprocessing that is asked for instead of the maker's, refused if there is none such."""
    given = {key: value for key, value in asked.items() if value is not None}
    return validated(given, Preprocessing, what="preprocessing", where=name)


def _embedding(
    module: Any,
    forward: Any,
    preprocess: Preprocess,
    *,
    inside: Any,
    layer: str | None,
    spatial: str,
    power: float,
    device: str,
    dtype: str,
    description: dict[str, Any],
    name: str,
    pooling: Pooling,
    similarity: str,
    temperature: float,
) -> Embedding:
    """The observer over a network's own features, or over layers of the part `inside`."""
    kind: type[Embedding] = Embedding
    check_power(power, layer=layer is not None, spatial=spatial, where=name)
    if layer is not None:
        inside.eval()
        forward, features = layer_codes(
            inside, layer, size=preprocess.size, spatial=spatial, power=power, where=name
        )
        description = {**description, "features": features}
        if spatial == "best-match":
            kind = BestMatch
            if similarity != "cosine":
                raise InputError("best matches are cosines", where=name, found=similarity)
    elif spatial != "mean":
        raise InputError(
            "no layer to pool", where=name, found=f"spatial={spatial}", do="add layer="
        )
    encoder = torch_encoder(
        module,
        forward,
        preprocess,
        device=device,
        dtype=dtype,
        description=description,
        flat=kind is Embedding,
    )
    return kind(encoder, name=name, pooling=pooling, similarity=similarity, temperature=temperature)
