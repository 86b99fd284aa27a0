"""The one way to import an optional package."""

from __future__ import annotations

import importlib
from types import ModuleType

from imi_bench.errors import MissingExtraError

_EXTRA_OF = {
    "torch": "vision",
    "torchvision": "vision",
    "timm": "vision",
    "open_clip": "vision",
    "safetensors": "vision",
    "huggingface_hub": "vision",
    "regex": "vision",
    "lpips": "perceptual",
    "dreamsim": "perceptual",
    "ray": "cluster",
    "sklearn": "boosting",
    "openai": "vlm",
    "transformers": "vlm",
    "imagehash": "vlm",
    "starlette": "collect",
    "uvicorn": "collect",
}


def require(module: str, *, for_: str) -> ModuleType:
    """Import an optional module, or say which extra brings it.

    Parameters
    ----------
    module : str
        Dotted name, such as ``"torch"`` or ``"safetensors.torch"``.
    for_ : str
        What needs it; stands in the error message.

    Raises
    ------
    MissingExtraError
        If the package is not installed.

    Examples
    --------
    >>> require("json", for_="the example").dumps([1])
    '[1]'
    """
    package = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != package:
            raise
        extra = _EXTRA_OF.get(package)
        wish = f"imi-bench[{extra}]" if extra else package
        raise MissingExtraError(
            f"{for_} needs the package '{package}'",
            found="not installed",
            do=f"pip install '{wish}'",
        ) from error
