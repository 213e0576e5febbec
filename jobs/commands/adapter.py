"""What a model makes of a reference, as a file."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from jobs.acting import Where
from jobs.console import opening
from jobs.options import (
    LARGEST_SEED,
    Address,
    AsJson,
    CatalogUri,
    Overrides,
    Polish,
    ProfileOption,
    Workdir,
    open_workspace,
)

group = typer.Typer(
    name="adapter",
    no_args_is_help=True,
    help="Adapters: what a model makes of a reference.",
    epilog="Examples: `video2lora adapter predict melt.mp4 --model pocket -o melt.safetensors` · "
    "`video2lora adapter mix melt.safetensors=0.7 glow.safetensors=0.3 --model pocket -o both.safetensors` · "
    "`video2lora adapter export melt.safetensors --to comfyui -o melt.comfyui.safetensors`",
)

Model = Annotated[
    str | None,
    typer.Option(help="A model_id, or pocket for the shipped one [default: the champion or newest]."),
]
Output = Annotated[
    Path,
    typer.Option("--output", "-o", help="A .safetensors file; the LoRA that diffusers loads goes beside it."),
]
Force = Annotated[bool, typer.Option("--force", help="Replace the output where it is there.")]
File = Annotated[Path, typer.Argument(help="A .safetensors file: an adapter, or a LoRA.")]
Seed = Annotated[
    int | None, typer.Option(min=0, max=LARGEST_SEED, help="Of polish: same seed, same adapter.")
]
Tool = Literal["diffusers", "comfyui", "kijai"]


@group.command(
    epilog="Examples: `video2lora adapter predict melt.mp4 --model pocket -o melt.safetensors` · "
    "`video2lora adapter predict melt-1.mp4 melt-2.mp4 -w work --polish 40 -o melt.safetensors`"
)
def predict(
    reference: Annotated[
        list[str],
        typer.Argument(
            help="A video, a GIF, a picture or a clip_id. Of several the adapters are added up, each alike "
            "or as melt.mp4=0.7 says, and polish is on all."
        ),
    ],
    output: Output,
    workdir: Workdir = Path("work"),
    model: Model = None,
    polish: Polish = None,
    seed: Seed = None,
    force: Force = False,
    profile: ProfileOption = None,
    overrides: Overrides = None,
    catalog: CatalogUri = None,
) -> None:
    """Predict the adapter of a reference video and write it, with where it comes from in its header."""
    opening(f"Predict the adapter of {', '.join(reference)}")
    settings = {"generate.polish.steps": polish, "generate.seed": seed}
    workspace = open_workspace(workdir, profile, overrides, catalog, settings)
    from jobs.asked import check_adapter_request, effects_of

    known = workspace.catalog if model == "pocket" else workspace.existing_catalog()
    effects = effects_of(known, reference, [])
    check_adapter_request(effects, output, force)
    from jobs.adapter import predict_job

    predict_job(workspace, effects, output, model)


@group.command(
    epilog="Example: `video2lora adapter polish melt.safetensors melt-1.mp4 melt-2.mp4 --steps 40 -w work "
    "-o melt-40.safetensors`"
)
def polish(
    adapter: Annotated[Path, typer.Argument(help="An adapter that `adapter predict` wrote.")],
    reference: Annotated[
        list[str], typer.Argument(help="What it is fitted to: videos or clip_ids that show the effect.")
    ],
    output: Output,
    workdir: Workdir = Path("work"),
    model: Model = None,
    steps: Annotated[
        int,
        typer.Option(
            min=1,
            max=10_000,
            help="Each costs generate.polish.batch_size forward and backward passes of the model.",
        ),
    ] = 40,
    seed: Seed = None,
    force: Force = False,
    profile: ProfileOption = None,
    overrides: Overrides = None,
    catalog: CatalogUri = None,
) -> None:
    """Fit an adapter to references, from where it is: it stays as small, and shows more of their effect."""
    opening(f"Polish {adapter}")
    settings = {"generate.polish.steps": steps, "generate.seed": seed}
    workspace = open_workspace(workdir, profile, overrides, catalog, settings)
    from jobs.asked import check_adapter_request, effects_of

    known = workspace.catalog if model == "pocket" else workspace.existing_catalog()
    check_adapter_request(effects_of(known, reference, [str(adapter)]), output, force)
    from jobs.adapter import polish_job

    polish_job(workspace, adapter, reference, output, model)


@group.command(
    epilog="Examples: `video2lora adapter mix melt.safetensors=0.7 glow.safetensors=0.3 -w work "
    "-o both.safetensors` · `video2lora adapter mix melt.safetensors=-1 -w work -o away.safetensors`"
)
def mix(
    adapter: Annotated[
        list[str],
        typer.Argument(
            help="Adapters and LoRAs with their weights, as melt.safetensors=0.7; without weights each "
            "counts alike. A weight below 0 leads away."
        ),
    ],
    output: Output,
    workdir: Workdir = Path("work"),
    model: Model = None,
    exact: Annotated[
        bool,
        typer.Option(
            "--exact",
            help="Keep the whole sum, of the rank of all together, in a file as large as all together.",
        ),
    ] = False,
    force: Force = False,
    profile: ProfileOption = None,
    overrides: Overrides = None,
    catalog: CatalogUri = None,
) -> None:
    """Add adapters up by weight, exactly, and write the nearest one of an adapter's size."""
    opening(f"Mix {', '.join(adapter)}")
    workspace = open_workspace(workdir, profile, overrides, catalog)
    from jobs.asked import check_adapter_request, effects_of

    known = workspace.catalog if model == "pocket" else workspace.existing_catalog()
    effects = effects_of(known, [], adapter)
    check_adapter_request(effects, output, force)
    from jobs.adapter import mix_job

    mix_job(workspace, effects, output, model, exact)


@group.command(
    epilog="Examples: `video2lora adapter inspect melt.safetensors` · "
    "`video2lora adapter inspect strangers-lora.safetensors --to comfyui`"
)
def inspect(
    file: File,
    to: Annotated[
        Tool | None,
        typer.Option(help="End with status 2 unless this tool loads all of it: diffusers, comfyui, kijai."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what a file holds, where it comes from, and how much of it each tool would load."""
    opening(f"Look into {file}")
    from jobs.adapter import inspect_job

    inspect_job(file, to, as_json)


@group.command(
    epilog="Examples: `video2lora adapter export melt.lora.safetensors --to comfyui -o "
    "melt.comfyui.safetensors` · `video2lora adapter export melt.safetensors --to diffusers -w work -o"
    " melt.diffusers.safetensors`"
)
def export(
    file: File,
    output: Annotated[Path, typer.Option("--output", "-o", help="The .safetensors file to write.")],
    to: Annotated[
        Tool, typer.Option(help="Who will load it: diffusers, comfyui (its own CogVideoX and Wan), kijai.")
    ] = "diffusers",
    workdir: Workdir = Path("work"),
    model: Model = None,
    force: Force = False,
    profile: ProfileOption = None,
    overrides: Overrides = None,
    catalog: CatalogUri = None,
) -> None:
    """Write an adapter or a LoRA as another tool reads it, and count what that tool loads of it.

    An adapter needs its model, which is loaded; a LoRA needs none.
    """
    opening(f"Export {file} for {to}")
    workspace = open_workspace(workdir, profile, overrides, catalog)
    from jobs.asked import Effect, check_adapter_request

    check_adapter_request([Effect(str(file), adapter=True)], output, force)
    from jobs.adapter import export_job

    export_job(workspace, file, output, to, model)


@group.command(epilog="Example: `video2lora adapter load strangers-lora.safetensors -w work`")
def load(
    file: File,
    workdir: Workdir = Path("work"),
    model: Model = None,
    profile: ProfileOption = None,
    overrides: Overrides = None,
    catalog: CatalogUri = None,
) -> None:
    """Take a file back: does a model of yours take it, and as what? `generate --adapter` then performs it."""
    opening(f"Load {file}")
    workspace = open_workspace(workdir, profile, overrides, catalog)
    from jobs.adapter import load_job

    load_job(workspace, file, model)


@group.command(
    epilog="Examples: `video2lora adapter fill -w work` · `video2lora adapter fill --model pocket -w work` · "
    "`video2lora adapter fill --polish 40 --where \"split = 'train'\" -w work`"
)
def fill(
    workdir: Workdir = Path("work"),
    model: Model = None,
    where: Where = None,
    polish: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=10_000,
            help="Fit each adapter to its own clip in so many steps, and store it under a name of its own: it"
            " teaches by `train --set train.teacher=NAME`. Killed, the same command goes on.",
        ),
    ] = None,
    seed: Seed = None,
    again: Annotated[
        bool, typer.Option("--again", help="Also the clips that have one: they are replaced.")
    ] = False,
    profile: ProfileOption = None,
    overrides: Overrides = None,
    catalog: CatalogUri = None,
    address: Address = None,
) -> None:
    """Store the adapter of every accepted clip: what `search --by adapter` compares, and what teaches."""
    opening(f"{'Polish' if polish else 'Predict'} the adapters of {catalog or workdir}")
    settings = {"generate.polish.steps": polish, "generate.seed": seed}
    workspace = open_workspace(workdir, profile, overrides, catalog, settings)
    from jobs.adapter import fill_job

    fill_job(workspace, model, where, polish is not None, again, address)
