"""Pages from templates: each room has its own, all of them extend ``shell.html.j2``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imi_bench.provenance import PAGES, check_name, package_versions, write_text
from imi_bench.results import Result
from imi_bench.text import html

if TYPE_CHECKING:
    import jinja2
    from markupsafe import Markup

__all__ = ["WrittenPage", "asset", "code", "environment", "rendered", "write_page"]


@dataclass(frozen=True, eq=False, repr=False)
class WrittenPage(Result):
    """A page that was written, and what it shows.

    Attributes
    ----------
    path : Path
    """

    path: Path

    @property
    def title(self) -> str:
        """Title of the page."""
        raise NotImplementedError(type(self).__name__)

    def _repr_html_(self) -> str:
        """A link to the page."""
        return f'<a href="{html(self.path.absolute().as_uri())}">{html(self.title)}</a>'


def rendered(room: str, template: str, page: Mapping[str, Any]) -> str:
    """HTML of a room's template, given what it shows and who wrote it."""
    footer = f"Written by imi_bench {package_versions().get('imi-bench', '')}."
    return environment(room).get_template(template).render(page={**page, "footer": footer})


def write_page(path: Path, room: str, template: str, page: Mapping[str, Any]) -> Path:
    """Write what `rendered` gives, into a file whose name says so."""
    check_name(path, *PAGES, what="page")
    write_text(path, rendered(room, template, page))
    return path


@cache
def environment(room: str) -> jinja2.Environment:
    """Templates of a room, beside the shell, its style and its scripts.

    Every text is escaped (see `imi_bench.text.html`), a name without a value is an error, and no
    page loads anything from elsewhere (its content security policy forbids it).

    Parameters
    ----------
    room : str
        Package whose folder ``templates`` is looked in first.

    Examples
    --------
    >>> page = environment("imi_bench.report").from_string("<b>{{ name }}</b>")
    >>> page.render(name="<i>")
    '<b>&lt;i&gt;</b>'
    """
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [jinja2.PackageLoader(room), jinja2.PackageLoader("imi_bench.pages")]
        ),
        autoescape=True,
        finalize=lambda value: html(value) if isinstance(value, str) else value,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    made.filters["code"] = code
    made.globals["asset"] = lambda name: asset(room, name)
    return made


def code(text: str) -> Markup:
    """Escaped text in which what stands between backticks is set as code.

    Examples
    --------
    >>> str(code("run `a < b` twice"))
    'run <code>a &lt; b</code> twice'
    >>> str(code("one ` alone"))
    'one ` alone'
    """
    from markupsafe import Markup

    parts = text.split("`")
    if len(parts) % 2 == 0:
        return html(text)
    return Markup("").join(
        Markup("<code>{}</code>").format(html(part)) if place % 2 else html(part)
        for place, part in enumerate(parts)
    )


@cache
def asset(room: str, name: str) -> Markup:
    """A style or script of the room or of the shell, as it is."""
    from markupsafe import Markup

    for package in (room, "imi_bench.pages"):
        file = resources.files(package) / "templates" / name
        if file.is_file():
            return Markup(file.read_text(encoding="utf-8"))
    raise FileNotFoundError(name)
