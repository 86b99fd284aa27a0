"""Pages of the site that are made from the code: the API, the command line, files of the tree.

A hook of mkdocs: `mkdocs build` calls `on_config` and `on_files`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "imi_bench"

# Files of the tree that are pages of the site, too; links to them are turned.
OF_THE_TREE = {
    "imi_bench/glmm/MAP.md": "glmm-map.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the generated pages into the navigation."""
    nav: Any = config["nav"]
    for section in nav:
        if "Reference" in section:
            section["Reference"] += [
                {"The API, by room": [{room: f"reference/api/{room}.md"} for room in rooms()]},
                {"The command line": [{v: f"reference/cli/{v}.md"} for v in verbs()]},
            ]
        if "Explanation" in section:
            section["Explanation"].append({"Equations and their files": "glmm-map.md"})
    nav.append({"Project": [{"Contributing": "contributing.md"}, {"Changelog": "changelog.md"}]})
    return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    for path, text in generated():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Turn links to files of the tree into links to their pages."""
    up = "../" * page.file.src_uri.count("/")
    for source, target in OF_THE_TREE.items():
        markdown = re.sub(rf"\]\((?:\.\./)+{re.escape(source)}\)", f"]({up}{target})", markdown)
    return markdown


def generated() -> Iterator[tuple[str, str]]:
    """Path and Markdown of every generated page."""
    for room in rooms():
        yield f"reference/api/{room}.md", api_page(room)
    for name, command in verbs().items():
        yield f"reference/cli/{name}.md", command_page(name, command)
    for source, target in OF_THE_TREE.items():
        text = re.sub(r"\]\((?:\.\./)*docs/", "](", (ROOT / source).read_text())
        for other, page in OF_THE_TREE.items():
            text = text.replace(f"]({other})", f"]({page})")
        yield target, text


def rooms() -> list[str]:
    """Names of the rooms, in alphabetical order; what no user calls is left out."""
    found = {p.parent.name for p in PACKAGE.glob("*/__init__.py")}
    return sorted(found - {"cli", "pages"})


def api_page(room: str) -> str:
    """The modules of a room, each with its public names."""
    lines = [f"# imi_bench.{room}", "", ast.get_docstring(_parsed(PACKAGE / room)) or "", ""]
    for path in sorted((PACKAGE / room).rglob("*.py")):
        if path.stem.startswith("_"):
            continue
        dotted = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        members = own_names(ast.parse(path.read_text()))
        shown = ["      members:", *(f"        - {name}" for name in members)]
        shown = shown if members else ["      members: false"]
        lines += [f"::: {dotted}", "    options:", *shown, ""]
    return "\n".join(lines)


def own_names(module: ast.Module) -> list[str]:
    """Public names that a module itself defines and describes, not those it passes on."""
    exported: list[str] | None = None
    found = []
    for node, following in zip(module.body, [*module.body[1:], None], strict=True):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found += [node.name] if ast.get_docstring(node) else []
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [one.id for one in targets if isinstance(one, ast.Name)]
            if names == ["__all__"]:
                exported = ast.literal_eval(node.value)
            elif isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
                found += names
    return [n for n in found if not n.startswith("_") and (exported is None or n in exported)]


def _parsed(folder: Path) -> ast.Module:
    return ast.parse((folder / "__init__.py").read_text())


def verbs() -> dict[str, Any]:
    """The commands of `imi-bench`, in the order of its help."""
    import typer

    from imi_bench.cli.app import app

    return dict(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


def command_page(name: str, command: Any) -> str:
    """Help of a verb, or of all verbs of a group."""
    title = f"imi-bench {name}"
    lines = [f"# {title}", "", _prose(command.help), ""]
    if subcommands := getattr(command, "commands", None):
        for sub, found in subcommands.items():
            lines += [f"## {title} {sub}", "", _prose(found.help), ""]
            lines += _parameters(f"{title} {sub}", found)
    else:
        lines += _parameters(title, command)
    return "\n".join(lines)


def _prose(text: str | None) -> str:
    """Help as Markdown: what looks like HTML or a link is text."""
    cleaned = (text or "").replace("\b", "").strip()
    return re.sub(r"([<>\[\]])", r"\\\1", cleaned)


def _parameters(title: str, command: Any) -> list[str]:
    import typer

    context = typer.Context(command, info_name=title)
    pieces = command.collect_usage_pieces(context)
    lines = ["```text", " ".join([title, *pieces]), "```", ""]
    for kind in ("argument", "option"):
        records = [
            record
            for parameter in command.params
            if parameter.param_type_name == kind
            and (record := parameter.get_help_record(context)) is not None
        ]
        if records:
            lines += [f"| {kind} | |", "|---|---|"]
            lines += [f"| `{name}` | {_cell(text)} |" for name, text in records] + [""]
    return lines


def _cell(text: str | None) -> str:
    return _prose(text).replace("\n", " ").replace("|", "\\|")
