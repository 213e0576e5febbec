"""What is done with categories."""

from pathlib import Path
from typing import Annotated

import typer

from jobs.acting import Acting, Clips, Expect, Where, acting, selected
from jobs.console import opening
from jobs.options import AsJson, CatalogUri, Overrides, ProfileOption, Workdir, open_workspace

app = typer.Typer(no_args_is_help=True)
group = typer.Typer()
group.add_typer(app, name="category", help="Make, rename, merge, split and hold out categories.")


@app.command(
    "list", epilog="Examples: `video2lora category list -w work` · `video2lora category list --json`"
)
def list_(
    workdir: Workdir = Path("work"),
    as_json: AsJson = False,
    profile: ProfileOption = None,
    overrides: Overrides = None,
    catalog: CatalogUri = None,
) -> None:
    """List the categories: size, variety, purity, what they are mistaken for, copies."""
    opening(f"Categories of {catalog or workdir}")
    workspace = open_workspace(workdir, profile, overrides, catalog)
    from jobs.categories import list_categories

    list_categories(workspace, as_json)


Category = Annotated[str, typer.Argument(help="A category, by any of its names.")]


@app.command(
    epilog='Example: `video2lora category add "Turns to gold" --alias goldify --group material -w work`'
)
@acting
def add(
    act: Acting,
    name: Annotated[str, typer.Argument(help="What to call it.")],
    alias: Annotated[list[str] | None, typer.Option(help="Another name of it; may be repeated.")] = None,
    group: Annotated[str | None, typer.Option(help="The heading that it stands under.")] = None,
    description: Annotated[str | None, typer.Option(help="What can be seen.")] = None,
) -> None:
    """Make a category that has no clips yet."""
    from catalog.curation.categories import add

    act.do(lambda catalog, by: add(catalog, name, by, alias or (), group, description))


@app.command(epilog='Example: `video2lora category adopt cluster-004 --name "Ink spreads" -w work`')
@acting
def adopt(
    act: Acting,
    category: Category,
    name: Annotated[str | None, typer.Option(help="What to call it from now on.")] = None,
) -> None:
    """Make a proposal of clustering a category."""
    from catalog.curation.categories import adopt

    act.do(lambda catalog, by: adopt(catalog, category, by, name))


@app.command(epilog="Example: `video2lora category dismiss cluster-005 -w work`")
@acting
def dismiss(act: Acting, category: Category) -> None:
    """Take a proposal away; its clips are without a category again."""
    from catalog.curation.categories import dismiss

    act.do(lambda catalog, by: dismiss(catalog, category, by))


@app.command(epilog='Example: `video2lora category rename cakeify "Turns to cake" -w work`')
@acting
def rename(
    act: Acting, category: Category, name: Annotated[str, typer.Argument(help="What to call it.")]
) -> None:
    """Call a category otherwise; its old name stays an alias."""
    from catalog.curation.categories import rename

    act.do(lambda catalog, by: rename(catalog, category, name, by))


@app.command(epilog="Example: `video2lora category alias melt --add liquefy --remove goo -w work`")
@acting
def alias(
    act: Acting,
    category: Category,
    add: Annotated[list[str] | None, typer.Option(help="A further name; may be repeated.")] = None,
    remove: Annotated[list[str] | None, typer.Option(help="A name to take away; may be repeated.")] = None,
) -> None:
    """Give a category further names, which labels and searches find it by, or take some away."""
    from catalog.curation.categories import set_aliases

    act.do(lambda catalog, by: set_aliases(catalog, category, by, add or (), remove or ()))


@app.command(epilog="Example: `video2lora category merge 'turn to cake' cake-ify --into cakeify -w work`")
@acting
def merge(
    act: Acting,
    categories: Annotated[list[str], typer.Argument(help="Categories that go into another.")],
    into: Annotated[str, typer.Option(help="The category that stays.")],
) -> None:
    """Make several categories one; their names stay, as names of the one that is kept."""
    from catalog.curation.categories import merge

    act.do(lambda catalog, by: merge(catalog, categories, into, by))


@app.command(
    epilog="Example: `video2lora category split melt --name 'melts to gold' "
    "--where \"category = 'melt' and caption contains 'gold'\" -w work`"
)
@acting
def split(
    act: Acting,
    category: Category,
    name: Annotated[str, typer.Option(help="What to call the new one.")],
    clips: Clips = None,
    where: Where = None,
    expect: Expect = None,
) -> None:
    """Take some clips of a category out into a new one."""
    from catalog.curation.categories import split

    chosen = selected(clips, where, expect)
    act.do(lambda catalog, by: split(catalog, category, name, chosen, by))


@app.command("group", epilog="Example: `video2lora category group melt drip ooze --under liquids -w work`")
@acting
def group_(
    act: Acting,
    categories: Annotated[list[str], typer.Argument(help="Categories.")],
    under: Annotated[str | None, typer.Option(help="The heading; left away, they stand under none.")] = None,
) -> None:
    """Put categories under one heading."""
    from catalog.curation.categories import set_group

    act.do(lambda catalog, by: set_group(catalog, categories, under, by))


@app.command("hold-out", epilog="Example: `video2lora category hold-out 'ink spreads' -w work`")
@acting
def hold_out(act: Acting, category: Category) -> None:
    """Keep a whole category out of training: an effect that no model has seen."""
    from catalog.curation.categories import hold_out

    act.do(lambda catalog, by: hold_out(catalog, category, by))


@app.command("take-in", epilog="Example: `video2lora category take-in 'ink spreads' -w work`")
@acting
def take_in(act: Acting, category: Category) -> None:
    """Let a category train that was held out."""
    from catalog.curation.categories import hold_out

    act.do(lambda catalog, by: hold_out(catalog, category, by, held_out=False))
