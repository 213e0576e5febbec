"""What `--set` and profile files may say."""

from pathlib import Path
from typing import Annotated

import typer

from jobs.options import Overrides, ProfileOption, Workdir

app = typer.Typer()


@app.command(
    epilog="Examples: `video2lora settings train` · `video2lora settings -p full` · "
    "`video2lora settings train.lr -w work`"
)
def settings(
    prefix: Annotated[str, typer.Argument(help="A section or a key [default: all].")] = "",
    workdir: Workdir = Path("work"),
    profile: ProfileOption = None,
    overrides: Overrides = None,
) -> None:
    """List the keys of `--set` with their values here, their kinds, and what they are for."""
    from jobs.settings import print_settings

    print_settings(workdir, profile, overrides, prefix)
