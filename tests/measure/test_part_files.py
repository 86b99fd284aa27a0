"""Parts of a learned measure whose weights lie in a local file: found again by path and hash."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import imi_bench as imi
from imi_bench.errors import InputError
from imi_bench.observers.learned import LearnedObserver
from imi_bench.observers.protocol import fingerprint, local_file
from imi_bench.provenance import sha256_bytes

NAME = "timm:mine?checkpoint=w.safetensors&image_size=32"


def record(path: Path, sha256: str) -> dict[str, Any]:
    part = {"name": NAME, "fingerprint": fingerprint(imi.load_observer("hog"))}
    return {
        "head": "observer",
        "name": "learned",
        "sha256": "0" * 64,
        "fitted_on": {"study": "", "units": ["net/layer/1"], "networks": ["net"]},
        "features": [],
        "features_from": None,
        "columns": [{**part, "local_file": {"path": str(path), "sha256": sha256}}],
        "final": {
            "linear": True,
            "scales": [0.1],
            "weights": [1.0],
            "gamma": [],
            "centres": [],
            "spreads": [],
            "lapse": 0.02,
        },
    }


def asked(told: dict[str, Any], beside: Path) -> str:
    names: list[str] = []

    def load(name: str) -> Any:
        names.append(name)
        return imi.load_observer("hog")

    LearnedObserver(told, load, beside=beside)
    return names[0]


def test_a_file_is_found_where_it_lay_or_beside_the_record(tmp_path: Path) -> None:
    there, beside = tmp_path / "weights", tmp_path / "learned"
    for folder in (there, beside):
        folder.mkdir()
    file = there / "w.safetensors"
    file.write_bytes(b"mine")
    told = record(file, sha256_bytes(b"mine"))
    assert asked(told, beside) == f"timm:mine?checkpoint={file}&image_size=32"
    moved = file.rename(beside / file.name)
    assert asked(told, beside) == f"timm:mine?checkpoint={moved}&image_size=32"
    file.write_bytes(b"other")
    assert asked(told, beside) == f"timm:mine?checkpoint={moved}&image_size=32"
    del told["columns"][0]["local_file"]["path"]  # as submissions leave it out
    assert asked(told, beside) == f"timm:mine?checkpoint={moved}&image_size=32"


def test_no_file_and_another_file_are_refused_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    told = record(file, sha256_bytes(b"mine"))
    with pytest.raises(InputError, match=rf"not there: timm:mine.*no {file}.*SHA-256") as gone:
        asked(told, tmp_path)
    file.write_bytes(b"other")
    with pytest.raises(InputError, match=rf"not the checkpoint .* another file: {file}") as other:
        asked(told, tmp_path)
    assert not any("\n" in str(one.value) for one in (gone, other))
    with pytest.raises(InputError, match="not there"):
        asked(record(Path("x" * 5000), ""), tmp_path / "elsewhere")


@pytest.mark.whole
@pytest.mark.vision
def test_learnt_in_one_folder_and_run_from_another(
    tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "weights" / "mine.safetensors"
    file.parent.mkdir()
    file.write_bytes((shared / "nets" / "test_resnet.safetensors").read_bytes())
    trials, people = imi.demo_data(n_networks=2, n_batches=1, n_scenes=200, size=16)
    monkeypatch.chdir(file.parent)
    name = "timm:test_resnet?checkpoint=mine.safetensors&image_size=32&num_classes=10"
    runs = [
        imi.answer(one, trials, out=tmp_path / f"run{i}") for i, one in enumerate((name, "hog"))
    ]
    said = json.loads((tmp_path / "run0" / "run.json").read_text())["observer"]
    assert said["local_file"]["path"] == str(file)
    assert "local_file" not in runs[1].record["observer"]
    imi.learn(runs, people, n_boot=0).write(tmp_path / "learned")
    monkeypatch.chdir(tmp_path)
    found = imi.load_observer(str(tmp_path / "learned"))
    assert isinstance(found, LearnedObserver)
    assert local_file(found.parts[0])["local_file"]["path"] == str(file)
