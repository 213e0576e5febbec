"""The one way to a page: a template of this package, and text that never becomes markup."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, select_autoescape

_PAGES = Environment(
    loader=PackageLoader("jobs", "templates"),
    autoescape=select_autoescape(default=True, default_for_string=True),
)


def render(path: Path, template: str, **values: Any) -> Path:
    """Write the page at `path`; its style is `base.html.j2`'s."""
    path.write_text(_PAGES.get_template(template).render(values), "utf-8", errors="surrogateescape")
    return path
