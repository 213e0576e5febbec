"""What the catalogue holds."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from jobs.console import opening
from jobs.options import CatalogUri, Overrides, ProfileOption, Workdir, open_workspace

app = typer.Typer()
Aspect = Literal["all", "effect", "subject"]

# What people filter by; the catalogue's schema, which holds more, is not loaded for a help text.
CLIP_COLUMNS = (
    *("clip_id", "category", "caption", "split", "status", "source", "licence", "generator", "source_uri"),
    *("motion", "brightness", "blur", "letterbox", "flicker", "cut", "errors", "source_width"),
    *("source_height", "source_fps", "source_duration", "codec", "category_source", "created_at"),
)


@app.command(
    epilog="Examples: `video2lora search 'red mug' -w demo --open` · "
    "`video2lora search --like melt.mp4 -w demo` · "
    "`video2lora search --like melt.mp4 --unlike smoke.mp4 --aspect effect -w demo` · "
    "`video2lora search --like melt.mp4 --by adapter -w demo` · "
    "`video2lora search -w demo --where \"category_id = 'melt' and motion > 0.1\"` · "
    "`video2lora search -w demo --facets`"
)
def search(
    query: Annotated[str | None, typer.Argument(help="Words to look for in captions and categories.")] = None,
    like: Annotated[
        list[str] | None,
        typer.Option(help="An example: a clip_id, or a file of a video or picture. Give it again for more."),
    ] = None,
    unlike: Annotated[
        list[str] | None, typer.Option(help="An example of what is not wanted; may be given again too.")
    ] = None,
    aspect: Annotated[
        Aspect,
        typer.Option(help="What of the examples counts: the effect on other subjects, or the subject."),
    ] = "all",
    by: Annotated[
        Literal["look", "adapter"],
        typer.Option(
            help="What makes clips alike: look, their vectors; adapter, what a model predicts of them "
            "(`adapter fill` stores it)."
        ),
    ] = "look",
    model: Annotated[
        str | None,
        typer.Option(help="Whose adapters: a model_id, or pocket [default: the champion or newest]."),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(
            help="A filter, as in `motion > 0.02 and category = 'melt'`. Columns: "
            f"{', '.join(CLIP_COLUMNS)}. "
            "Tests: = != < <= > >=, in (…), contains 'text', is null; and, or, not, ( ).",
        ),
    ] = None,
    lasso: Annotated[
        str | None, typer.Option(help="A line around clips on the map, as `video2lora serve` prints it.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 10,
    workdir: Workdir = Path("work"),
    show: Annotated[
        bool, typer.Option("--open", help="Write WORKDIR/search.html, where the clips play, and open it.")
    ] = False,
    facets: Annotated[
        bool, typer.Option("--facets", help="Count what --where leaves by category, status, split, terms.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
    profile: ProfileOption = None,
    overrides: Overrides = None,
    catalog: CatalogUri = None,
) -> None:
    """Find clips by text, by an example video, by a filter, or by any of them together."""
    opening(f"Search {catalog or workdir}")
    workspace = open_workspace(workdir, profile, overrides, catalog)
    from jobs.search import Asked, count_job, search_job

    if facets:
        count_job(workspace, where, as_json)
        return
    asked = Asked(query, tuple(like or ()), tuple(unlike or ()), aspect, where, lasso, by, model)
    search_job(workspace, asked, limit, as_json, show)
