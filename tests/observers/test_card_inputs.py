"""What each card's observer sees of a photograph is what its maker's own transform gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")
from imi_bench.observers.card import cards  # noqa: E402
from imi_bench.vision.building import build_module  # noqa: E402
from imi_bench.vision.card import NetworkCard  # noqa: E402
from imi_bench.vision.preprocessing import (  # noqa: E402
    Preprocess,
    open_clip_preprocess,
    timm_preprocess,
)

pytestmark = pytest.mark.vision
CARDS = cards()
LOADERS = ("from_timm", "from_open_clip")
NETWORKS = [card for card in CARDS.values() if card.loader.partition(":")[2] in LOADERS]
NEW = {
    "siglip2-vit-b16": (224, "squash"),
    "siglip2-vit-l16": (256, "squash"),
    "dinov3-vit-b16": (256, "shortest"),
    "dinov2-vit-b14-518": (518, "shortest"),
    "clip-vit-b16-datacomp": (224, "shortest"),
    "clip-vit-l14-datacomp": (224, "shortest"),
}


def ours_and_theirs(card: Any) -> tuple[Preprocess, Any]:
    """The observer's preprocessing, and the transform that its library makes of its registry."""
    given = card.parameters
    if card.loader.endswith("from_timm"):
        from timm.data import create_transform, resolve_model_data_config
        from timm.models import get_pretrained_cfg

        config = get_pretrained_cfg(given["architecture"]).to_dict()
        size = given.get("image_size")
        if size is not None:
            config["input_size"] = (3, size, size)
        own = resolve_model_data_config(None, pretrained_cfg=config)
        return timm_preprocess(config), create_transform(**own)
    import open_clip
    from open_clip.transform import PreprocessCfg, image_transform_v2, merge_preprocess_dict

    architecture, tag = given["architecture"], given["pretrained"]
    own = merge_preprocess_dict(PreprocessCfg(), open_clip.get_pretrained_cfg(architecture, tag))
    own["size"] = open_clip.get_model_config(architecture)["vision_cfg"]["image_size"]
    theirs = image_transform_v2(PreprocessCfg(**own), is_train=False)
    return open_clip_preprocess(architecture, tag), theirs


@pytest.mark.parametrize("card", NETWORKS, ids=lambda card: card.name)
def test_a_card_sees_what_its_maker_means(card: Any) -> None:
    ours, theirs = ours_and_theirs(card)
    drawn = np.random.default_rng(0).integers(0, 256, (57, 83, 3), dtype=np.uint8)
    picture = Image.fromarray(drawn).resize((415, 285), Image.Resampling.BICUBIC)
    assert torch.equal(ours(picture), theirs(picture))
    if card.name in NEW:
        assert (ours.size[0], ours.settings["mode"]) == NEW[card.name]


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.whole] if "-l1" in name else []) for name in NEW],
)
def test_a_new_card_names_an_architecture_that_is_built_at_its_input(name: str) -> None:
    card = CARDS[name]
    source = "timm" if card.loader.endswith("from_timm") else "open_clip"
    described = NetworkCard(
        name="observer", source=source, architecture=card.parameters["architecture"]
    )
    module: Any = build_module(described, file=None, seed=0, structure=True)
    tower = module.visual if source == "open_clip" else module
    size = getattr(tower, "image_size", None) or tower.pretrained_cfg["input_size"][1]
    assert NEW[name][0] == (size[0] if isinstance(size, tuple) else size)
