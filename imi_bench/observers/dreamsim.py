"""DreamSim through its authors' own package: the cosine of two embeddings.

The package's distance is one minus the cosine of what its `embed` gives, so the cosine here is one
minus its distance. The package fetches an archive from its authors' releases and, for variants
with DINO, code through torch.hub; neither has a published checksum. The description holds the hash
of all weights that were loaded, so that two sets of them never share a fingerprint.
"""

from __future__ import annotations

import contextlib
import io
import pickle
import tempfile
import warnings
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any

from imi_bench.errors import DownloadError, InputError, NetworkError, UnknownNameError
from imi_bench.extras import require
from imi_bench.observers.embedding import Embedding
from imi_bench.observers.loader_names import named
from imi_bench.observers.pooling import Pooling
from imi_bench.provenance import write_json
from imi_bench.text import one_line
from imi_bench.vision.device import drawn_from, pick_device
from imi_bench.vision.encoder import torch_encoder
from imi_bench.vision.weight_files import weights_cache

__all__ = ["from_dreamsim"]

_ADAPTER = {
    "r": 16,
    "lora_alpha": 0.5,
    "lora_dropout": 0.3,
    "bias": "none",
    "target_modules": ["qkv"],
}
_DAMAGED = (
    RuntimeError,
    LookupError,
    ValueError,
    TypeError,
    EOFError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
)
_RANDOM = {"clip_vitb32": 32, "open_clip_vitb32": 32}


@named("dreamsim-{variant}")
def from_dreamsim(
    variant: str = "ensemble",
    *,
    name: str | None = None,
    folder: str | Path | None = None,
    pretrained: bool = True,
    seed: int = 0,
    device: str = "auto",
    dtype: str = "float32",
    pooling: Pooling = "mean",
) -> Embedding:
    """Observer over DreamSim; the machine interpretability score's own is the ensemble.

    Parameters
    ----------
    variant : str
        ``ensemble``, ``dino_vitb16``, ``clip_vitb32``, ``open_clip_vitb32``, ``dinov2_vitb14`` or
        ``synclr_vitb16``.
    name : str, optional
    folder : path, optional
        Of the package's checkpoints, as its archives unpack; by default a folder of the user's
        cache, into which the package downloads them once.
    pretrained : bool
        False: random backbones from `seed`, for the variants over CLIP ViT-B/32 alone.
    seed, device, dtype, pooling
        As in `imi_bench.observers.encoders.from_timm`; images are compared by the cosine.

    Raises
    ------
    UnknownNameError, InputError, DownloadError, NetworkError, MissingExtraError
    """
    name = name or f"dreamsim-{variant}"
    package = require("dreamsim", for_=f"the observer '{name}'")
    known = require("dreamsim.config", for_=f"the observer '{name}'").dreamsim_weights
    if variant not in known or variant.endswith("_patch"):
        variants = [one for one in known if not one.endswith("_patch")]
        raise UnknownNameError.among(variant, variants, kind="DreamSim variant")
    place = pick_device(device)
    if pretrained:
        root = Path(folder) if folder else weights_cache() / "dreamsim" / variant
        source: dict[str, Any] = {"source": known[variant], "revision": "unpinned"}
        if folder:
            if not root.is_dir():
                raise InputError("no such folder of weights", where=name, found=folder)
            source = {"source": "local folder", "unchecked": known[variant]}
        root.mkdir(parents=True, exist_ok=True)
        model, transform = _built(package, variant, root, place, trained=True, name=name)
        _refuse_no_adapter(model, name=name)
    else:
        if folder is not None:
            raise InputError("both a folder and random weights", where=name, do="drop one")
        if variant not in _RANDOM:
            raise InputError("no random backbones", where=name, wanted=" or ".join(_RANDOM))
        source = {"source": "random weights", "seed": seed}
        with tempfile.TemporaryDirectory(prefix="imi-bench-") as made:
            _write_random(Path(made), variant, seed=seed, name=name)
            model, transform = _built(package, variant, Path(made), place, trained=False, name=name)
    encoder = torch_encoder(
        model,
        model.embed,
        lambda picture: transform(picture)[0],
        device=place,
        dtype=dtype,
        description={
            "library": "dreamsim",
            "library_version": metadata.version("dreamsim"),
            "variant": variant,
            "weights": source,
            "features": "embedding, centred and of unit length",
            "preprocessing": "the package's: squashed to 224, bicubic",
        },
    )
    return Embedding(encoder, name=name, pooling=pooling, similarity="cosine")


def _built(
    package: Any, variant: str, root: Path, device: str, *, trained: bool, name: str
) -> tuple[Any, Any]:
    """The package's model and transform; what it prints is left out."""
    torch = require("torch", for_=f"the observer '{name}'")
    hub = torch.hub.get_dir()
    try:
        with (
            contextlib.redirect_stdout(io.StringIO()),
            warnings.catch_warnings(),
            torch.random.fork_rng(devices=[]),
        ):
            warnings.simplefilter("ignore")
            torch.default_generator.manual_seed(0)  # of adapters, before their weights are read
            model, transform = package.dreamsim(
                pretrained=trained, device=device, cache_dir=str(root), dreamsim_type=variant
            )
    except OSError as error:
        raise DownloadError(
            f"weights of '{name}' could not be fetched",
            where=str(root),
            found=f"{type(error).__name__}: {one_line(str(error))[:120]}",
            do="run once with internet access, or unpack the package's archive into a folder: "
            f"'{name.partition('?')[0]}?folder=DIR'",
        ) from error
    except _DAMAGED as error:
        raise NetworkError(
            "DreamSim cannot be built",
            where=str(root),
            found=f"{type(error).__name__}: {one_line(str(error))[:160]}",
            do="delete what is damaged there, and unpack the package's archive again",
        ) from error
    finally:
        torch.hub.set_dir(hub)  # the package sets it for itself
    for part in model.modules():
        if torch.is_tensor(kept := vars(part).get("proj")):  # CLIP's projection, a weight like any
            del part.proj
            part.register_buffer("proj", kept.to(device))
    return model, transform


def _refuse_no_adapter(model: Any, *, name: str) -> None:
    """Refuse backbones alone: the package tells of an adapter that does not fit by a warning."""
    ups = [value for key, value in model.state_dict().items() if "lora_B" in key]
    if not any(value.any() for value in ups):
        raise NetworkError(
            "DreamSim's adapter was not read",
            where=name,
            found="none of its weights" if not ups else "zeros",
            do="take the package's own archive, and a version of peft that it knows",
        )


def _write_random(folder: Path, variant: str, *, seed: int, name: str) -> None:
    """Checkpoints of random backbones, laid out as the package's archive."""
    torch = require("torch", for_=f"the observer '{name}'")
    vit = require("dreamsim.feature_extraction.vision_transformer", for_=f"the observer '{name}'")
    with drawn_from(seed):
        backbone = vit.vit_base(patch_size=_RANDOM[variant])
        backbone.pos_drop = torch.nn.LayerNorm(backbone.embed_dim)
        state = {**backbone.state_dict(), "proj": torch.randn(backbone.embed_dim, 512) / 32}
    torch.save({"state_dict": state}, folder / f"{variant}_pretrain.pth.tar")
    adapter = folder / f"{variant}_single_lora"
    adapter.mkdir()
    write_json(adapter / "adapter_config.json", _ADAPTER)
