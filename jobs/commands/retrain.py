"""Training again when it is due; the champion's successor only where it is better for sure."""

from pathlib import Path
from typing import Annotated

import typer

from jobs.console import opening
from jobs.options import Address, AsJson, CatalogUri, Overrides, ProfileOption, Workdir, open_workspace

app = typer.Typer()


@app.command(
    epilog="Examples: `video2lora retrain -w work --if-due` · `video2lora retrain -w work --dry-run` · "
    '`video2lora retrain -w work --reason "new camera moves"` · `video2lora decisions -w work`'
)
def retrain(
    workdir: Workdir = Path("work"),
    if_due: Annotated[
        bool, typer.Option("--if-due", help="Only where a trigger fired; safe to run every minute, anywhere.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would happen, and do nothing.")
    ] = False,
    reason: Annotated[str | None, typer.Option(help="Why; stands with the decision.")] = None,
    new_holdout: Annotated[
        bool, typer.Option("--new-holdout", help="Freeze another holdout of what is held out now.")
    ] = False,
    profile: ProfileOption = None,
    overrides: Overrides = None,
    catalog: CatalogUri = None,
    address: Address = None,
) -> None:
    """Snapshot the catalogue, train, judge the new model against the champion, promote it if it is better.

    Of several at once one works; one that dies is gone on with by the next. `video2lora settings retrain`
    lists the triggers and what a challenger has to show.
    """
    opening(f"{'Look whether to retrain' if dry_run or if_due else 'Retrain'} on {catalog or workdir}")
    workspace = open_workspace(workdir, profile, overrides, catalog)
    workspace.existing_catalog()
    from jobs.retrain import asked_by, retrain_job

    retrain_job(workspace, address, asked_by(reason, if_due, new_holdout), dry_run)


@app.command(epilog="Examples: `video2lora decisions -w work` · `video2lora decisions --json -w work`")
def decisions(
    workdir: Workdir = Path("work"),
    limit: Annotated[int, typer.Option(min=1, help="How many, the newest first.")] = 20,
    as_json: AsJson = False,
    profile: ProfileOption = None,
    overrides: Overrides = None,
    catalog: CatalogUri = None,
) -> None:
    """List what was decided about retraining and why, "not due" included; each has its page of evidence."""
    opening(f"Decisions on {catalog or workdir}")
    workspace = open_workspace(workdir, profile, overrides, catalog)
    from jobs.retrain import print_decisions

    print_decisions(workspace, limit, as_json)
