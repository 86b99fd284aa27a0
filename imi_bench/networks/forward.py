"""Running a network over many images."""

from __future__ import annotations

from collections.abc import Iterator

from imi_bench.extras import require
from imi_bench.networks.decoding import Decoding
from imi_bench.vision.device import single_precision
from imi_bench.vision.loading import LoadedNetwork


def forward_batches(
    network: LoadedNetwork, decoding: Decoding, numbers: range, *, precision: str = "float32"
) -> Iterator[int]:
    """Run the network over some images, batch after batch; yields each batch's size.

    Pixels are decoded and cropped ahead (pinned memory on CUDA), sent as bytes, and normalised on
    the device, to the same bits as on a processor. `float32` is IEEE's also on CUDA, where images
    pass channels-last in lower precision only: each the faster one.

    Parameters
    ----------
    network : LoadedNetwork
    decoding : Decoding
        Of the images, in batches, by the network's preprocessing.
    numbers : sequence of int
        A range: the images that pass.
    precision : str

    Raises
    ------
    InputError
        If the device's memory runs out.
    """
    torch = require("torch", for_="running a network")
    cuda = network.device.startswith("cuda")
    half = precision != "float32"
    layout = torch.channels_last if half else torch.contiguous_format
    if cuda:
        network.module.to(memory_format=layout)
    kind, dtype = network.device.partition(":")[0], getattr(torch, precision)
    doing = f"{network.name} on a batch of {decoding.batch_size} images"
    for pixels in decoding.batches(numbers):
        with (
            # on CUDA hooks ask whether tensors were changed, which inference mode does not count
            torch.no_grad() if cuda else torch.inference_mode(),
            single_precision(network.device, doing=doing, do="a smaller batch_size="),
            torch.autocast(kind, dtype=dtype, enabled=half),
        ):
            batch = network.preprocess.normalise(pixels.to(network.device, non_blocking=True))
            if cuda:
                batch = batch.contiguous(memory_format=layout)
            network.module(batch)
        yield len(pixels)
