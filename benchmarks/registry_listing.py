"""What the program lists of every architecture of timm, torchvision and open_clip.

    python benchmarks/registry_listing.py --store registry.jsonl
    python benchmarks/registry_listing.py --store compared.jsonl --verify 25
    python benchmarks/registry_listing.py --store registry.jsonl --compared compared.jsonl \
        --markdown docs/registry-listing.md

Structure alone, on the meta device; what cannot be listed without values is built with random
weights at a small input, unless it has more than ``--largest`` parameters. One line of the store
an architecture, so that a killed sweep goes on; what was running when it was killed is said so.
``--verify N`` compares every N-th of those that have few enough parameters with hooks of torch's
own, on real tensors, one image at a time against two together.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import time
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from imi_bench.errors import ImiBenchError
from imi_bench.vision import building, loading
from imi_bench.vision.card import resolve
from imi_bench.vision.loading import LoadedNetwork, load_network

SOURCES = ("timm", "torchvision", "open_clip")
SMALL = 128  # pixels
HEAD = "classifier head"
FIRST = (nn.modules.conv._ConvNd, nn.modules.batchnorm._NormBase, nn.GroupNorm)
TOLERANCE = 1e-4
OTHER_SIZE = 6  # every sixth is listed at a larger input as well


HEAD_OF_PAGE = """\
# What is listed of every architecture

`imi-bench networks units` of the architectures that timm, torchvision and open_clip know, by
`python benchmarks/registry_listing.py --store registry.jsonl`, which goes on where it was stopped.
Structure alone, on the meta device; what needs numbers (detection) with random weights and images
of 128 pixels. The reasons are explained under [Layers](networks.md#layers). The classifier head is
left out of all that have one, and not counted here. What only values show (a batch or chance that
changes an output, a mean that is one constant) is seen when a network is loaded to run, not here.
"""


class NeedsValuesError(ImiBenchError):
    """An architecture whose listing needs numbers, not shapes alone."""


def architectures(source: str) -> list[str]:
    """Names of one registry."""
    if source == "timm":
        import timm

        return spread(timm.list_models())
    if source == "torchvision":
        from torchvision import models

        return list(models.list_models())
    import open_clip

    return list(open_clip.list_models())


def spread(names: list[str], *, every: int = 12) -> list[str]:
    """The names in an order in which a sweep that is stopped has seen all families."""
    return [name for first in range(every) for name in names[first::every]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", type=Path, required=True, help="lines of JSON, one each")
    parser.add_argument("--sources", nargs="*", choices=SOURCES, default=list(SOURCES))
    parser.add_argument("--names", nargs="*", help="these architectures again")
    parser.add_argument(
        "--again", nargs="*", default=[], help="outcomes to try again; odd: surprises"
    )
    parser.add_argument("--largest", type=float, default=4e8, help="parameters in memory")
    parser.add_argument("--memory", type=float, default=10, help="GiB that the process may take")
    parser.add_argument("--verify", type=int, metavar="N", help="every N-th against hooks")
    parser.add_argument("--compared", type=Path, help="the store of --verify, for the page")
    parser.add_argument("--markdown", type=Path, help="write the page here, of what there is")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    shapes_quickly()
    warnings.simplefilter("ignore")
    limit = int(arguments.memory * 2**30)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    work = verified if arguments.verify else listed
    if arguments.markdown:
        page = [HEAD_OF_PAGE, *tables(kept(arguments.store))]
        page += ["", *compared(kept(arguments.compared))] if arguments.compared else []
        arguments.markdown.write_text("\n".join(page) + "\n", encoding="utf-8")
        return
    for source, name in wanted(arguments):
        sweep(source, name, arguments, work)


def shapes_quickly() -> None:
    """Spare structures what takes most of their time and changes no shape.

    Random numbers for weights that have none, and torch's meta kernels of normalisations.
    """
    from timm.layers import weight_init

    fills = [name for name in vars(nn.init) if name.endswith("_") and not name.startswith("__")]
    for where, names in ((nn.init, fills), (weight_init, ["_trunc_normal_", "trunc_normal_"])):
        for name in names:
            setattr(where, name, unless_meta(getattr(where, name), lambda tensor: tensor))
    for name in ("batch_norm", "layer_norm", "group_norm", "relu", "gelu", "silu", "hardswish"):
        plain = getattr(nn.functional, name)
        setattr(nn.functional, name, unless_meta(plain, alike))
    attention = nn.functional.scaled_dot_product_attention

    def attended(query: Any, key: Any, value: Any, *given: Any, **named: Any) -> Any:
        if query.is_meta:
            return query.new_empty((*query.shape[:-1], value.shape[-1]))
        return attention(query, key, value, *given, **named)

    nn.functional.scaled_dot_product_attention = attended
    for name in ("__add__", "__mul__", "__sub__", "add", "mul", "sigmoid"):
        setattr(torch.Tensor, name, of_one_shape(getattr(torch.Tensor, name)))


def unless_meta(computed: Any, instead: Any) -> Any:
    """A function of a tensor, or of its shape alone where it has no numbers."""

    def called(tensor: torch.Tensor, *given: Any, **named: Any) -> Any:
        return instead(tensor) if tensor.is_meta else computed(tensor, *given, **named)

    return called


def alike(tensor: torch.Tensor) -> torch.Tensor:
    """Another tensor of that shape and type (`empty_like` is slower on the meta device)."""
    return tensor.new_empty(tensor.shape)


def of_one_shape(computed: Any) -> Any:
    """A method of a tensor, with nothing or one of its own shape, or of its shape alone."""

    def called(tensor: torch.Tensor, *given: Any, **named: Any) -> Any:
        other = given[0] if given else tensor
        plain = (
            type(tensor) is torch.Tensor
            and tensor.is_meta
            and isinstance(other, torch.Tensor)
            and other.shape == tensor.shape
            and other.dtype == tensor.dtype
            and not named
        )
        return alike(tensor) if plain else computed(tensor, *given, **named)

    return called


def kept(store: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """The newest line of each architecture."""
    lines = store.read_text(encoding="utf-8").splitlines() if store.is_file() else []
    rows = [json.loads(line) for line in lines]
    return {(row["source"], row["name"]): row for row in rows}


def wanted(arguments: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """Architectures that have no line yet."""
    done = kept(arguments.store)
    for source in arguments.sources:
        names = architectures(source)
        if arguments.verify:
            names = names[:: arguments.verify]
        for name in arguments.names or names:
            row = done.get((source, name))
            odd = {"odd"} if row and row.get("surprises") else set()
            if row is None or arguments.names or {row["outcome"], *odd} & set(arguments.again):
                yield source, name


def sweep(source: str, name: str, arguments: argparse.Namespace, work: Any) -> None:
    """One architecture: its line, which says `killed` until it is done."""
    began = time.process_time()
    row: dict[str, Any] = {"source": source, "name": name, "outcome": "killed"}
    start = arguments.store.stat().st_size if arguments.store.is_file() else 0
    write(arguments.store, row, at=start)
    try:
        row |= work(source, name, arguments)
    except ImiBenchError as error:
        row |= {"outcome": "refused", "said": str(error)}
    except MemoryError as error:
        row |= {"outcome": "too large", "said": str(error)}
    except Exception as error:  # what a user would see as a traceback is a finding
        row |= {"outcome": "fault", "said": f"{type(error).__name__}: {error}"[:400]}
    row["seconds"] = round(time.process_time() - began, 2)
    write(arguments.store, row, at=start)
    print(source, name, row["outcome"], row.get("layers"), row.get("surprises", ""), flush=True)


def write(store: Path, row: dict[str, Any], *, at: int) -> None:
    """Put a line at a place of the store, instead of what follows there."""
    with store.open("r+b" if store.is_file() else "wb") as file:
        file.seek(at)
        file.truncate()
        file.write(json.dumps(row).encode() + b"\n")


def listed(source: str, name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """What is listed on the meta device, and what is odd about it."""
    reference = f"{source}:{name}"
    how = "shapes"
    try:
        network = on_meta(reference)
    except NeedsValuesError:
        parameters = sum(p.numel() for p in structure(reference).parameters())
        if parameters > arguments.largest:
            said = f"needs values; {parameters:,} parameters"
            return {"outcome": "too large", "said": said, "parameters": parameters}
        how, network = with_values(reference)
    again = how == "shapes" and zlib.crc32(name.encode()) % OTHER_SIZE == 0
    odd_sizes = of_another_size(reference, network) if again else None
    others = Counter(one.reason for one in network.left_out if not one.reason.startswith(HEAD))
    return {
        "outcome": "some left out" if others else "whole",
        "how": how,
        "layers": len(network.layers),
        "units": network.width,
        "parameters": sum(p.numel() for p in network.module.parameters()),
        "heads": [one.name for one in network.left_out if one.reason.startswith(HEAD)],
        "left_out": dict(others),
        "left_types": dict(
            Counter(one.type for one in network.left_out if not one.reason.startswith(HEAD))
        ),
        "surprises": [*surprises(network), *(odd_sizes or ())],
        "other_size": None if odd_sizes is None else not odd_sizes,
    }


def on_meta(reference: str) -> LoadedNetwork:
    """A network on the meta device; never built with numbers instead."""
    plain = loading.build_module

    def shapes_only(*given: Any, structure: bool = False, **named: Any) -> Any:
        if not structure:
            raise NeedsValuesError("needs values")
        return plain(*given, structure=True, **named)

    loading.build_module = shapes_only
    try:
        return load_network(reference, device="meta")
    finally:
        loading.build_module = plain


def structure(reference: str) -> nn.Module:
    """The module alone, on the meta device."""
    card = loading._bare(resolve(reference)[0])
    return building.build_module(card, file=None, seed=0, structure=True)


def with_values(reference: str) -> tuple[str, LoadedNetwork]:
    """A network with random weights, at a small input where it takes one.

    Torchvision's detection networks scale images within themselves, to 800 pixels unless told.
    """
    small = f"?input_size={SMALL}"
    scaled = f"{small}&min_size={SMALL}&max_size={SMALL}"
    for options in (scaled, small) if reference.startswith("torchvision") else (small,):
        try:
            found = load_network(reference + options, pretrained=False, device="cpu")
        except ImiBenchError:
            continue
        return f"values, {SMALL} pixels", found
    return "values", load_network(reference, pretrained=False, device="cpu")


def of_another_size(reference: str, network: LoadedNetwork) -> list[str] | None:
    """What another input size changes in the list; None where only one size is taken."""
    side = network.preprocess.size[0]
    card, more = resolve(reference)[0], side + max(32, side // 32 // 4 * 32)
    try:
        other = loading._listed(network.module, card, None, (more, more))
    except (ImiBenchError, NotImplementedError):
        return None
    if [(a.path, a.width, a.depth) for a in network.layers] == [
        (b.path, b.width, b.depth) for b in other.layers
    ]:
        return []
    return [f"{len(network.layers)} layers at {side}, {len(other.layers)} otherwise, or others"]


def surprises(network: LoadedNetwork) -> list[str]:
    """What a list should not have, judged by the modules' own parameters and classes."""
    module, layers = network.module, network.layers
    listed = {layer.path for layer in layers}
    said = {one.name for one in network.left_out}
    prefix = network.record["card"]["layers"]["prefix"]
    inside = {
        f"{path}.{more}"
        for path in listed
        for more, _ in module.get_submodule(path).named_modules()
    }
    found = [
        f"missing without a reason: {path} ({type(part).__name__})"
        for path, part in module.named_modules()
        if path not in listed
        and not {prefix + path.replace(".", "_"), prefix + path.replace(".", "-")} & said
        and path not in inside
        and isinstance(part, (*FIRST, nn.Linear, nn.LayerNorm, nn.RNNBase, nn.MultiheadAttention))
        and next(part.parameters(recurse=False), None) is not None
    ]
    heads = given_head(module)
    found += [f"head as layer: {path}" for path in listed if path in heads]
    for layer in layers:
        part = module.get_submodule(layer.path)
        shapes = {s for p in part.parameters(recurse=False) for s in p.shape}
        if "CondConv" in type(part).__name__:  # each expert's kernel lies flat in one row
            shapes = {part.out_channels}
        if not shapes and isinstance(part, nn.LayerNorm):  # without weights: over its last axes
            shapes = set(part.normalized_shape)
        if layer.width not in shapes:
            found.append(f"width {layer.width} of {layer.path}: parameters have {sorted(shapes)}")
        usual = usual_axis(part, len(layer.shape))
        if usual is not None and layer.channel_axis != usual:
            found.append(f"axis {layer.channel_axis} of {layer.path} ({layer.type})")
    depths = [layer.depth for layer in layers]
    if depths != sorted(depths) or depths[0] != 0 or (len(depths) > 1 and depths[-1] != 1):
        found.append(f"depths from {depths[0]:g} to {depths[-1]:g}, or not in order")
    if len({layer.name for layer in layers}) < len(layers):
        found.append("two layers of one name")
    return found[:8]


def usual_axis(part: nn.Module, dimensions: int) -> int | None:
    """Axis of the units by the documentation of a module's class; None for other classes."""
    if isinstance(part, FIRST) or "2d" in type(part).__name__:
        return 1
    return dimensions - 1 if isinstance(part, nn.Linear | nn.LayerNorm) else None


def given_head(module: nn.Module) -> set[str]:
    """Paths of the classifiers by timm's own account (`get_classifier`)."""
    if not hasattr(module, "get_classifier"):
        return set()
    try:
        given = module.get_classifier()
    except (AttributeError, TypeError):
        return set()
    parts = given if isinstance(given, tuple | list) else (given,)
    return {path for path, part in module.named_modules() if any(part is one for one in parts)}


def verified(source: str, name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Unit activations against hooks of torch's own: two images together, then each alone."""
    reference = f"{source}:{name}"
    parameters = sum(p.numel() for p in structure(reference).parameters())
    if parameters > arguments.largest:
        return {"outcome": "too large", "said": f"{parameters:,} parameters"}
    how, network = with_values(reference)
    images = torch.rand(
        (2, 3, *network.preprocess.size), generator=torch.Generator().manual_seed(3)
    )
    ours = read_by_us(network, images)
    apart = [by_hooks(network, images[i : i + 1]) for i in range(2)]
    worst, where = 0.0, ""
    for layer in network.layers:
        wanted = torch.stack([one[layer.path] for one in apart])
        size = wanted.abs().max().clamp_min(1e-6)
        if ours[layer.path].shape != wanted.shape:
            return {"outcome": "differs", "where": f"{layer.path}: shapes"}
        difference = float((ours[layer.path] - wanted).abs().max() / size)
        if difference > worst:
            worst, where = difference, layer.path
    return {
        "outcome": "equal" if worst <= TOLERANCE else "differs",
        "how": how,
        "layers": len(network.layers),
        "worst": worst,
        "where": where,
    }


def read_by_us(network: LoadedNetwork, images: torch.Tensor) -> dict[str, torch.Tensor]:
    """Unit activations as the program reads them."""
    from imi_bench.vision.layers import hooked

    layers = {layer.path: layer for layer in network.layers}
    found: dict[str, torch.Tensor] = {}

    def seen(path: str, output: Any) -> None:
        found[path] = layers[path].reduce(output).clone()  # what follows may work in place

    with hooked(network.module, layers, seen), torch.inference_mode():
        network.module(images)
    return found


def by_hooks(network: LoadedNetwork, image: torch.Tensor) -> dict[str, torch.Tensor]:
    """Means over all but the units' axis, which the module's class says; one image passes."""
    found: dict[str, torch.Tensor] = {}

    def keep(path: str, part: nn.Module) -> Any:
        def hook(_module: Any, _inputs: Any, output: Any) -> None:
            usual = usual_axis(part, output.ndim)
            axis = output.ndim - 1 if usual is None else usual
            found[path] = output.detach().double().transpose(0, axis).flatten(1).mean(1).float()

        return hook

    parts = [(layer.path, network.module.get_submodule(layer.path)) for layer in network.layers]
    handles = [part.register_forward_hook(keep(path, part)) for path, part in parts]
    with torch.inference_mode():
        network.module(image)
    for handle in handles:
        handle.remove()
    return found


def tables(rows: dict[tuple[str, str], dict[str, Any]]) -> list[str]:
    """Counts by registry and outcome, reasons, and the lines of what is refused."""
    import open_clip
    import timm
    import torchvision

    versions = {"timm": timm, "torchvision": torchvision, "open_clip": open_clip}
    lines = [
        "| registry | architectures | all layers | some left out | refused | not run yet |",
        "|---|---|---|---|---|---|",
    ]
    for source in SOURCES:
        names = architectures(source)
        found = Counter(rows.get((source, name), {}).get("outcome", "unseen") for name in names)
        known = [found["whole"], found["some left out"], found["refused"]]
        lines.append(
            f"| {source} {versions[source].__version__} | {len(names)} | "
            f"{' | '.join(map(str, known))} | {len(names) - sum(known)} |"
        )
    reasons: dict[str, list[dict[str, Any]]] = {}
    for row in rows.values():
        for reason in row.get("left_out", {}):
            reasons.setdefault(kind_of(reason), []).append(row)
    lines += [
        "",
        "| left out because | architectures | modules | such as |",
        "|---|---|---|---|",
        *(
            f"| {reason} | {len({row['name'] for row in found})} | "
            f"{sum(n for r in found for k, n in r['left_out'].items() if kind_of(k) == reason)} | "
            f"{', '.join(f'`{name}`' for name in families(found))} |"
            for reason, found in sorted(reasons.items(), key=lambda item: -len(item[1]))
        ),
    ]
    refused: dict[str, list[dict[str, Any]]] = {}
    for row in rows.values():
        if row["outcome"] not in ("whole", "some left out", "killed"):
            said = row.get("said", row["outcome"]).replace(row["name"], "NAME")
            said = re.sub(r"found OSError: .*\[\.\.\.\]; ", "", said)  # another library's words
            refused.setdefault(said.replace("|", "/"), []).append(row)
    lines += ["", "| not listed | architectures | such as |", "|---|---|---|"]
    lines += [
        f"| {said} | {len(found)} | {', '.join(f'`{name}`' for name in families(found))} |"
        for said, found in sorted(refused.items(), key=lambda item: -len(item[1]))
    ]
    other = [row["other_size"] for row in rows.values() if row.get("other_size") is not None]
    odd = [row for row in rows.values() if row.get("surprises")]
    lines += [
        "",
        f"Listed at a second input size: {len(other)}, with the same layers, units and depths "
        f"{sum(other)}. Surprises (a module of torch's own kinds missing without a reason, a "
        "classifier by timm's own account counted, units that no parameter has, another axis "
        f"than the class documents, depths out of order or not from 0 to 1): {len(odd)}.",
        *(f"- {row['source']}:{row['name']}: {'; '.join(row['surprises'])}" for row in odd),
    ]
    return lines


def compared(rows: dict[tuple[str, str], dict[str, Any]]) -> list[str]:
    """What the comparison with hooks of torch's own says."""
    found = Counter(row["outcome"] for row in rows.values())
    equal = [row for row in rows.values() if row["outcome"] == "equal"]
    worst = max((row["worst"] for row in equal), default=0.0)
    lines = [
        f"Every 25th architecture, with random weights, beside hooks of torch's own (two images "
        f"together against each alone, the units' axis by the documentation of the module's "
        f"class): {len(equal)} equal, in {sum(row['layers'] for row in equal):,} layers, with a "
        f"largest difference of {worst:.1e} of the largest activation of a layer; "
        f"{found['too large']} of more parameters than the limit were not run."
    ]
    lines += [
        f"- {row['source']}:{row['name']}: {row['outcome']} {row.get('where', row.get('said', ''))}"
        for row in rows.values()
        if row["outcome"] not in ("equal", "too large")
    ]
    return lines


def kind_of(reason: str) -> str:
    """A reason without the numbers of its module."""
    return re.sub(r"\([\d, ]+\)", "(…)", re.sub(r"\b\d+ (times|units)", r"n \1", reason))


def families(rows: list[dict[str, Any]], *, most: int = 4) -> list[str]:
    """Names of one architecture each of some families."""
    first: dict[str, str] = {}
    for row in rows:
        first.setdefault(re.split(r"[_\-\d]", row["name"])[0].lower(), row["name"])
    return list(first.values())[:most]


if __name__ == "__main__":
    main()
