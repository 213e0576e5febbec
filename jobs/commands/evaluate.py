"""What a trained model is worth, on clips that it was not trained on."""

from pathlib import Path
from typing import Annotated

import typer

from jobs.console import opening
from jobs.options import Address, AsJson, CatalogUri, Overrides, ProfileOption, Workdir, open_workspace

app = typer.Typer()


@app.command(
    epilog="Examples: `video2lora evaluate -w work` · `video2lora evaluate -w work --model pocket "
    "--per-category 2 --steps 10` · `video2lora evaluate -w work --against pocket --snapshot v1` · "
    "`video2lora evaluate -w work --choices choices.json`"
)
def evaluate(
    workdir: Workdir = Path("work"),
    model: Annotated[
        str | None,
        typer.Option(help="A model_id, or pocket for the shipped one [default: the champion or newest]."),
    ] = None,
    snapshot: Annotated[
        str | None,
        typer.Option(
            help="Whose held-out clips: a named snapshot, or model:ID for what that model was trained on "
            "[default: the catalogue as it is now]."
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            help="A second model, on the same clips: paired differences, and a page to choose blindly."
        ),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            help="Some of fvd, dynamic_degree, smoothness, aesthetic, consistency, clip_reference, "
            "clip_prompt, effect, transfer_gap, with commas between [default: all]."
        ),
    ] = None,
    per_category: Annotated[
        int | None, typer.Option(min=1, help="Held-out clips of each category [default: 4].")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, max=1000, help="Denoising steps.")] = None,
    choices: Annotated[
        Path | None,
        typer.Option(help="What somebody chose on a blind page, as it was downloaded; nothing is generated."),
    ] = None,
    as_json: AsJson = False,
    profile: ProfileOption = None,
    overrides: Overrides = None,
    catalog: CatalogUri = None,
    address: Address = None,
) -> None:
    """Generate clips for held-out ones, measure them, and write a page; killed, it goes on."""
    opening(f"Evaluate {model or 'the newest model'} on {snapshot or catalog or workdir}")
    settings = {"evaluate.per_category": per_category, "generate.steps": steps}
    workspace = open_workspace(workdir, profile, overrides, catalog, settings)
    if choices is not None:
        given = {"--model": model, "--snapshot": snapshot, "--against": against, "--metrics": metrics}
        if said := [name for name, value in given.items() if value is not None]:
            raise typer.BadParameter(
                f"it brings a person's choices to the comparison they were made of, and {said[0]} asks for"
                " another evaluation; leave one away",
                param_hint="--choices",
            )
        from jobs.evaluate import choices_job

        choices_job(workspace, choices, as_json)
        return
    from jobs.evaluate import evaluate_job

    evaluate_job(workspace, model, against, snapshot, metrics, as_json, address)
