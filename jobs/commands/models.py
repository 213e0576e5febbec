"""Models: listed, compared, promoted, rolled back; and where a generated file comes from."""

from pathlib import Path
from typing import Annotated

import typer

from jobs.acting import Acting, acting
from jobs.console import opening
from jobs.options import AsJson, CatalogUri, Overrides, ProfileOption, Workdir, open_workspace

app = typer.Typer()
group = typer.Typer(
    name="models",
    no_args_is_help=True,
    help="Models: which there are, and which one is the champion.",
    epilog="Example: `video2lora models list -w work`",
)

ModelId = Annotated[str, typer.Argument(help="A model_id, or a beginning that only one has.")]
Reason = Annotated[str, typer.Option(help="Why; stands in the history.")]


@group.command("list", epilog="Examples: `video2lora models list -w work` · `video2lora models list --json`")
def list_(
    workdir: Workdir = Path("work"),
    as_json: AsJson = False,
    profile: ProfileOption = None,
    overrides: Overrides = None,
    catalog: CatalogUri = None,
) -> None:
    """List the models, the champion, and which trained on clips that were withdrawn since."""
    opening(f"Models of {catalog or workdir}")
    workspace = open_workspace(workdir, profile, overrides, catalog)
    from jobs.models import list_models

    list_models(workspace, as_json)


@group.command(epilog="Example: `video2lora models show video2lora-3fa9 -w work`")
def show(
    model: ModelId,
    workdir: Workdir = Path("work"),
    as_json: AsJson = False,
    profile: ProfileOption = None,
    overrides: Overrides = None,
    catalog: CatalogUri = None,
) -> None:
    """Show one: what it was trained on and how, what the gate said, who promoted it."""
    opening(f"Model {model[:40]} of {catalog or workdir}")
    workspace = open_workspace(workdir, profile, overrides, catalog)
    from jobs.models import show_model

    show_model(workspace, model, as_json)


@group.command(epilog="Example: `video2lora models compare video2lora-3fa9 video2lora-77b0 -w work`")
def compare(
    one: ModelId,
    other: ModelId,
    workdir: Workdir = Path("work"),
    as_json: AsJson = False,
    profile: ProfileOption = None,
    overrides: Overrides = None,
    catalog: CatalogUri = None,
) -> None:
    """Say what differs between two: settings, figures, the clips that they were trained on."""
    opening(f"Compare {one[:40]} with {other[:40]} in {catalog or workdir}")
    workspace = open_workspace(workdir, profile, overrides, catalog)
    from jobs.models import compare_models

    compare_models(workspace, one, other, as_json)


@group.command(
    "import",
    epilog="Example: `video2lora models import Video-As-Prompt-CogVideoX-5B -p video-as-prompt -w work`",
)
def import_(
    folder: Annotated[
        Path, typer.Argument(help="Of a checkpoint that Video-As-Prompt's authors released, safetensors.")
    ],
    workdir: Workdir = Path("work"),
    profile: ProfileOption = None,
    overrides: Overrides = None,
    catalog: CatalogUri = None,
) -> None:
    """Take in a checkpoint that a method's authors released, beside the backbone that it was trained with."""
    opening(f"Import {folder} into {catalog or workdir}")
    workspace = open_workspace(workdir, profile, overrides, catalog)
    from jobs.models import import_released

    import_released(workspace, folder)


@group.command(
    epilog='Example: `video2lora models promote video2lora-3fa9 --reason "looked at fifty clips" -w work`'
)
@acting
def promote(act: Acting, model: ModelId, reason: Reason = "") -> None:
    """Make a model the champion, which everything uses from then on; this is an act, and can be undone."""
    from pipeline.champions import promote

    act.do(lambda catalog, by: promote(catalog, act.workdir / "models", model, by, reason))


@group.command(epilog='Example: `video2lora models rollback --reason "melts too early" -w work`')
@acting
def rollback(act: Acting, reason: Reason = "") -> None:
    """Go back to the champion before this one; this is an act, and can be undone."""
    from pipeline.champions import rollback

    act.do(lambda catalog, by: rollback(catalog, act.workdir / "models", by, reason))


@app.command(
    epilog="Examples: `video2lora trace out.mp4 -w work` · `video2lora trace out.lora.safetensors --json`"
)
def trace(
    file: Annotated[Path, typer.Argument(help="A generated mp4, a LoRA, an adapter, or a model's tensors.")],
    workdir: Workdir = Path("work"),
    as_json: AsJson = False,
    profile: ProfileOption = None,
    overrides: Overrides = None,
    catalog: CatalogUri = None,
) -> None:
    """Say where a generated file comes from: adapter, model, snapshot, clips, licences."""
    opening(f"Trace {file} in {catalog or workdir}")
    workspace = open_workspace(workdir, profile, overrides, catalog)
    from jobs.models import trace_file

    trace_file(workspace, file, as_json)
