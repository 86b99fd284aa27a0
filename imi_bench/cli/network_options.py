"""Options that several groups share: how to load a network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Network = Annotated[
    str,
    typer.Argument(
        help="A name of `networks list`, timm:NAME, open_clip:NAME, torchvision:NAME, "
        "file.py:function, or card.toml; options as in timm:NAME?num_classes=10&input_size=32."
    ),
]
NetworkOption = Annotated[
    str,
    typer.Option("--network", help="A network, as for `imi-bench networks units`."),
]
Checkpoint = Annotated[
    Path | None, typer.Option(help="Local weights (safetensors, or a torch file of tensors).")
]
Random = Annotated[bool, typer.Option("--random", help="Random weights from the seed.")]
Layers = Annotated[
    str | None, typer.Option(help="Regular expression of layer names instead of the card's.")
]
InputSize = Annotated[int | None, typer.Option(help="Side of the input image in pixels.")]
Seed = Annotated[int, typer.Option(help="Of random weights, sampled units and dealt images.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Workers = Annotated[
    int | None,
    typer.Option(help="Processes that decode images; on a GPU one a core if left out, else none."),
]
KeepPixels = Annotated[
    bool,
    typer.Option(
        "--keep-pixels",
        help="Keep decoded images on disk for other networks; says first how much (docs/cache.md).",
    ),
]
Unique = Annotated[
    bool,
    typer.Option("--unique", help="Keep one image of each content; repeated ones are counted."),
]
Precision = Annotated[
    str,
    typer.Option(
        help="float32, bfloat16 or float16; below float32 single units' scores move (docs/mis.md)."
    ),
]
Images = Annotated[Path, typer.Option(help="Folder of images, or .npz with an array `images`.")]
References = Annotated[int, typer.Option(help="Reference images a side.")]
BatchSize = Annotated[int, typer.Option(help="Images a forward pass.")]
Shard = Annotated[
    str | None, typer.Option(help="i/n: run every n-th piece, from i = 0 (job arrays).")
]
ExecutorName = Annotated[
    str, typer.Option("--executor", help="Who runs the pieces: local, ray or ray:ADDRESS.")
]
Gpus = Annotated[float, typer.Option(help="GPUs a piece needs on a Ray cluster.")]
