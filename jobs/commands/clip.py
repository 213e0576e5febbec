"""What is done with single clips, or with all that match a filter."""

from pathlib import Path
from typing import Annotated

import typer

from jobs.acting import Acting, Clips, Expect, Where, acting, selected
from jobs.console import opening
from jobs.options import AsJson, CatalogUri, Overrides, ProfileOption, Workdir, open_workspace

app = typer.Typer(no_args_is_help=True)
group = typer.Typer()
group.add_typer(app, name="clip", help="Approve, reject and move clips, state their terms and their split.")


@app.command(
    epilog="Examples: `video2lora clip approve 3f2a90c1 -w work` · "
    "`video2lora clip approve --where \"category = 'melt' and category_confidence > 0.9\" -w work`"
)
@acting
def approve(act: Acting, clips: Clips = None, where: Where = None, expect: Expect = None) -> None:
    """Use clips, and take the category that a machine gave them for theirs."""
    from catalog.curation.clips import approve

    act.do(lambda catalog, by: approve(catalog, selected(clips, where, expect), by))


@app.command(
    epilog='Examples: `video2lora clip reject 3f2a90c1 --reason "no effect to be seen" -w work` · '
    "`video2lora clip reject --where 'motion < 0.001' --dry-run -w work`"
)
@acting
def reject(
    act: Acting,
    clips: Clips = None,
    where: Where = None,
    expect: Expect = None,
    reason: Annotated[str | None, typer.Option(help="Why; stands with the clip.")] = None,
) -> None:
    """Keep clips out of everything; nothing is deleted."""
    from catalog.curation.clips import reject

    act.do(lambda catalog, by: reject(catalog, selected(clips, where, expect), by, reason))


@app.command(
    epilog="Example: `video2lora clip withdraw --where \"licence = 'CC-BY-4.0' and source = 'open-vfx'\" "
    '--reason "the author withdrew it" -w work`'
)
@acting
def withdraw(
    act: Acting,
    clips: Clips = None,
    where: Where = None,
    expect: Expect = None,
    reason: Annotated[str | None, typer.Option(help="Why; stands with the clip.")] = None,
) -> None:
    """Keep clips out of everything whose licence was withdrawn; models that trained on them are marked."""
    from catalog.curation.clips import withdraw

    act.do(lambda catalog, by: withdraw(catalog, selected(clips, where, expect), by, reason))


@app.command(
    epilog="Examples: `video2lora clip move 3f2a90c1 77b0e4d2 --to 'melt it' -w work` · "
    "`video2lora clip move 3f2a90c1 --to 'melts upwards' --new -w work`"
)
@acting
def move(
    act: Acting,
    to: Annotated[str, typer.Option(help="The category, by any of its names.")],
    clips: Clips = None,
    where: Where = None,
    expect: Expect = None,
    new: Annotated[bool, typer.Option("--new", help="Make the category where there is none.")] = False,
) -> None:
    """Put clips into a category; no later `cluster` takes them out."""
    from catalog.curation.clips import move

    act.do(lambda catalog, by: move(catalog, selected(clips, where, expect), to, by, new))


@app.command(epilog="Example: `video2lora clip decide 3f2a90c1 --to melt -w work`")
@acting
def decide(
    act: Acting,
    to: Annotated[str, typer.Option(help="The category, by any of its names.")],
    clips: Clips = None,
    where: Where = None,
) -> None:
    """Say which category a content belongs to that its sources label differently."""
    from catalog.curation.conflicts import decide

    act.do(lambda catalog, by: decide(catalog, selected(clips, where), to, by))


@app.command(
    epilog="Example: `video2lora clip licence CC-BY-4.0 --where \"source = 'open-vfx'\" "
    "--evidence https://example.org/terms -w work`"
)
@acting
def licence(
    act: Acting,
    terms: Annotated[str, typer.Argument(help="The terms of use; `unknown` where nothing is stated.")],
    clips: Clips = None,
    where: Where = None,
    expect: Expect = None,
    evidence: Annotated[str | None, typer.Option(help="Where the terms are stated.")] = None,
) -> None:
    """State the terms of clips, and where these are stated."""
    from catalog.curation.clips import set_licence
    from catalog.vocabulary import NO_LICENCE

    stated = None if terms == NO_LICENCE else terms
    chosen = selected(clips, where, expect)
    act.do(lambda catalog, by: set_licence(catalog, chosen, stated, by, evidence))


@app.command(epilog="Example: `video2lora clip split val 3f2a90c1 77b0e4d2 -w work`")
@acting
def split(
    act: Acting,
    split: Annotated[str, typer.Argument(help="train or val; a whole category: `category hold-out`.")],
    clips: Clips = None,
    where: Where = None,
    expect: Expect = None,
) -> None:
    """Say which clips train and which validate; no later `cluster` changes it."""
    from catalog.curation.clips import set_split

    act.do(lambda catalog, by: set_split(catalog, selected(clips, where, expect), split, by))


@app.command(
    epilog="Examples: `video2lora clip queue -w work` · `video2lora clip queue --category melt --json`"
)
def queue(
    category: Annotated[str | None, typer.Option(help="Only clips of this one.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Also clips that were looked at.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="How many.")] = 20,
    workdir: Workdir = Path("work"),
    as_json: AsJson = False,
    profile: ProfileOption = None,
    overrides: Overrides = None,
    catalog: CatalogUri = None,
) -> None:
    """List what waits for a person: clips without a category, then those that look least like theirs."""
    opening(f"Review queue of {catalog or workdir}")
    workspace = open_workspace(workdir, profile, overrides, catalog)
    from jobs.categories import print_queue

    print_queue(workspace, category, limit, again, as_json)


@app.command(epilog="Example: `video2lora clip conflicts -w work`")
def conflicts(
    workdir: Workdir = Path("work"),
    as_json: AsJson = False,
    profile: ProfileOption = None,
    overrides: Overrides = None,
    catalog: CatalogUri = None,
) -> None:
    """List what data sets say of clips against each other, or by now against a person."""
    opening(f"Conflicts of {catalog or workdir}")
    workspace = open_workspace(workdir, profile, overrides, catalog)
    from jobs.conflicts import print_conflicts

    print_conflicts(workspace, as_json)
