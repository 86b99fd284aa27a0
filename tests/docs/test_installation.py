"""What `doctor --self` says, and what it keeps to itself."""

from __future__ import annotations

import json
from importlib import metadata

import pytest
from typer.testing import CliRunner

from imi_bench.cli.app import app
from imi_bench.errors import InputError
from imi_bench.installation import Installation


def test_versions_are_those_installed() -> None:
    packages = {p.name: p for p in Installation.of_this_process().packages}
    assert packages["numpy"].version == metadata.version("numpy")
    assert packages["numpy"].extra == ""
    assert packages["ray"].extra == "cluster"
    assert {"vision", "vlm", "collect", "cluster"} <= set(Installation.of_this_process().extras())


def test_nothing_of_the_person_is_printed(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "a-person"))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("IMI_BENCH_RECORD_URL", "https://token@example.org")
    monkeypatch.setenv("IMI_BENCH_CACHE", str(tmp_path / "a-person" / "cache"))
    printed = CliRunner().invoke(app, ["doctor", "--self"]).output
    facts = CliRunner().invoke(app, ["doctor", "--self", "--json"]).output
    assert json.loads(facts)["cache"] == "~/cache"
    for secret in ("a-person", "sk-secret", "OPENAI", "token"):
        assert secret not in printed + facts


@pytest.mark.parametrize("given", [[], ["--self", "--observer", "chance"]])
def test_one_of_self_and_observer(given: list[str]) -> None:
    assert isinstance(CliRunner().invoke(app, ["doctor", *given]).exception, InputError)
