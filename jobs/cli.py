"""The `video2lora` command: every step by itself, and `run`, which does them all."""

import sys
import warnings
from pathlib import Path
from typing import Annotated

import click
import typer

from catalog.errors import CatalogError
from jobs.console import err
from jobs.errors import JobError
from jobs.options import (
    Address,
    CatalogUri,
    Columns,
    Generator,
    Layout,
    Licence,
    LicenceEvidence,
    Overrides,
    ProfileOption,
    SourceName,
    Workdir,
)
from pipeline.errors import PipelineError
from training.errors import TrainingError

app = typer.Typer(
    name="video2lora",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Curate visual-effect videos, train a hypernetwork on them, turn any reference video into a LoRA."
    "\n\nStart with `video2lora sample demo/videos` and `video2lora run demo/videos --workdir demo`.",
)

INTERRUPTED = 130


def _place(location: str, layout: str | None, columns: list[str] | None, **defaults: str | None):
    from jobs.place import Place

    return Place.of(location, layout, columns or [], defaults)


def _workspace(workdir: Path, profile: str | None, overrides: list[str] | None, catalog: str | None):
    from jobs.workspace import Workspace

    return Workspace(workdir, profile, overrides, catalog)


@app.command(epilog="Example: `video2lora sample demo/videos --categories 6 --per-category 6 --seed 0`")
def sample(
    folder: Annotated[Path, typer.Argument(help="Where the labelled folders of videos go.")],
    categories: Annotated[int, typer.Option(help="How many effect categories.")] = 6,
    per_category: Annotated[int, typer.Option(help="Clips in each.")] = 6,
    seed: Annotated[int, typer.Option(help="Same seed, same pixels.")] = 0,
) -> None:
    """Render procedural effect clips as real video files of many formats, in labelled folders."""
    from jobs.sample import sample_videos

    sample_videos(folder, categories, per_category, seed)


@app.command(epilog="Example: `video2lora pocket training/pocket --work pocket-work`")
def pocket(
    folder: Annotated[Path, typer.Argument(help="Where the backbone goes, in the hub's layout.")],
    work: Annotated[
        Path, typer.Option(help="States and encoded clips; the same folder goes on from there.")
    ] = Path("pocket-work"),
    vae_steps: Annotated[int | None, typer.Option(min=1, help="Steps of the VAE.")] = None,
    clips: Annotated[int | None, typer.Option(min=1, help="Clips that the DiT learns from.")] = None,
    dit_steps: Annotated[int | None, typer.Option(min=1, help="Steps of the DiT.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps of the hypernetwork.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the first weights and of every draw.")] = 0,
) -> None:
    """Train a small CogVideoX-I2V from nothing on procedural effects, and a hypernetwork for it."""
    from jobs.pocket import pocket_backbone
    from pipeline.pocket.backbone import PocketSettings
    from pipeline.pocket.hypernetwork import Lessons

    def given(**options: int | None) -> dict[str, int]:
        return {name: value for name, value in options.items() if value is not None}

    settings = PocketSettings(**given(vae_steps=vae_steps, clips=clips, dit_steps=dit_steps), seed=seed)
    pocket_backbone(folder, work, settings, Lessons(**given(steps=steps), seed=seed))


@app.command(
    epilog="Examples: `video2lora run demo/videos --workdir demo` · "
    "`video2lora run videos/ -w work -p full --set backbone.model=/models/CogVideoX-5b-I2V --workers 8`"
)
def run(
    source: Annotated[
        str,
        typer.Argument(help="A folder, glob, video, manifest (CSV, JSON, JSONL, Parquet) or s3:// prefix."),
    ],
    workdir: Workdir = Path("work"),
    profile: ProfileOption = None,
    overrides: Overrides = None,
    catalog: CatalogUri = None,
    address: Address = None,
    layout: Layout = None,
    columns: Columns = None,
    source_name: SourceName = None,
    licence: Licence = None,
    licence_evidence: LicenceEvidence = None,
    generator: Generator = None,
    workers: Annotated[int | None, typer.Option(help="Training workers.")] = None,
) -> None:
    """Do everything: raw videos, catalogue, trained hypernetwork, generated videos, report.

    What was done before is not done again: a second run over the same sources goes on where the first ended.
    """
    from jobs.run import run_all

    if workers is not None:
        overrides = [*(overrides or []), f"train.workers={workers}"]
    said = {"source": source_name, "licence": licence, "generator": generator}
    place = _place(source, layout, columns, **said, licence_evidence=licence_evidence)
    run_all(_workspace(workdir, profile, overrides, catalog), place, address)


@app.command(
    epilog="Examples: `video2lora ingest videos/ -w work` · `video2lora ingest 'clips/**/*.mp4' -w work` · "
    "`video2lora ingest clips.csv -w work --column path=mp4 --column label=fx --licence CC-BY-4.0`"
)
def ingest(
    source: Annotated[
        str,
        typer.Argument(help="A folder, glob, video, manifest (CSV, JSON, JSONL, Parquet) or s3:// prefix."),
    ],
    workdir: Workdir = Path("work"),
    profile: ProfileOption = None,
    overrides: Overrides = None,
    catalog: CatalogUri = None,
    address: Address = None,
    layout: Layout = None,
    columns: Columns = None,
    source_name: SourceName = None,
    licence: Licence = None,
    licence_evidence: LicenceEvidence = None,
    generator: Generator = None,
) -> None:
    """Normalise raw videos into the catalogue: 49 frames, 8 fps, 480×720; every input gets its row."""
    from jobs.curate import ingest_job

    said = {"source": source_name, "licence": licence, "generator": generator}
    place = _place(source, layout, columns, **said, licence_evidence=licence_evidence)
    ingest_job(_workspace(workdir, profile, overrides, catalog), place, address)


@app.command(
    epilog="Examples: `video2lora dedup -w work` · "
    "`video2lora dedup -w work --undo dedup-20261120T101500-ab12cd`"
)
def dedup(
    workdir: Workdir = Path("work"),
    undo: Annotated[
        str | None, typer.Option(help="Take back an event of `dedup`; what it marked stays apart.")
    ] = None,
    profile: ProfileOption = None,
    overrides: Overrides = None,
    catalog: CatalogUri = None,
) -> None:
    """Mark near-duplicates (re-encoded, resized, trimmed, mirrored) of better clips; nothing is deleted."""
    from jobs.review import dedup_job

    dedup_job(_workspace(workdir, profile, overrides, catalog), undo)


@app.command(epilog="Example: `video2lora judge -w work --policy policy.toml`")
def judge(
    workdir: Workdir = Path("work"),
    policy: Annotated[
        str | None, typer.Option(help="A TOML file of bounds, by score and by category [default: as before]")
    ] = None,
    undo: Annotated[str | None, typer.Option(help="Take back an event of `judge`.")] = None,
    profile: ProfileOption = None,
    overrides: Overrides = None,
    catalog: CatalogUri = None,
) -> None:
    """Accept and reject clips again by their stored scores; nothing is decoded."""
    from jobs.review import judge_job

    judge_job(_workspace(workdir, profile, overrides, catalog), policy, undo)


@app.command(epilog="Example: `video2lora embed -w work`")
def embed(
    workdir: Workdir = Path("work"),
    profile: ProfileOption = None,
    overrides: Overrides = None,
    catalog: CatalogUri = None,
    address: Address = None,
) -> None:
    """Compute the CLIP embedding of every accepted clip that has none."""
    from jobs.curate import embed_job

    embed_job(_workspace(workdir, profile, overrides, catalog), address)


@app.command(epilog="Example: `video2lora cluster -w work --set cluster.val_fraction=0.2`")
def cluster(
    workdir: Workdir = Path("work"),
    profile: ProfileOption = None,
    overrides: Overrides = None,
    catalog: CatalogUri = None,
    address: Address = None,
) -> None:
    """Put clips into categories: by their label where they have one, by their embedding where not."""
    from jobs.curate import cluster_job

    cluster_job(_workspace(workdir, profile, overrides, catalog), address)


@app.command(epilog="Example: `video2lora encode -w work`")
def encode(
    workdir: Workdir = Path("work"),
    profile: ProfileOption = None,
    overrides: Overrides = None,
    catalog: CatalogUri = None,
    address: Address = None,
) -> None:
    """Compute VAE latents and text embeddings once, and store them for training."""
    from jobs.curate import encode_job

    encode_job(_workspace(workdir, profile, overrides, catalog), address)


@app.command(
    epilog="Examples: `video2lora train -w work --steps 2000` · "
    "`video2lora train -w work --workers 2 --set train.lr=5e-5`"
)
def train(
    workdir: Workdir = Path("work"),
    steps: Annotated[int | None, typer.Option(help="Optimizer steps.")] = None,
    workers: Annotated[
        int | None, typer.Option(help="Training workers, one GPU each where there are GPUs.")
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Print the memory that a worker would need, and stop.")
    ] = False,
    profile: ProfileOption = None,
    overrides: Overrides = None,
    catalog: CatalogUri = None,
    address: Address = None,
) -> None:
    """Train the hypernetwork on reference/target pairs; killed, it goes on from its last checkpoint."""
    from jobs.train import train_job

    overrides = list(overrides or [])
    overrides += [f"train.steps={steps}"] if steps is not None else []
    overrides += [f"train.workers={workers}"] if workers is not None else []
    train_job(_workspace(workdir, profile, overrides, catalog), address, plan)


@app.command(
    epilog="Example: `video2lora generate -w demo --reference melt.mp4 --first-frame mug.png "
    "--prompt 'a red mug' -o out.mp4`"
)
def generate(
    reference: Annotated[
        str, typer.Option(help="The effect to copy: a video file, or a clip_id of the catalogue.")
    ],
    first_frame: Annotated[
        str, typer.Option(help="Where to begin: an image, a video (its first frame) or a clip_id.")
    ],
    prompt: Annotated[str, typer.Option(help="What the scene shows.")],
    workdir: Workdir = Path("work"),
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="The mp4 [default: WORKDIR/generated/…]; a LoRA file goes beside it."
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="A model_id of the catalogue [default: the champion or newest].")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps.")] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same video.")] = None,
    profile: ProfileOption = None,
    overrides: Overrides = None,
    catalog: CatalogUri = None,
) -> None:
    """Predict a LoRA from a reference video and make the frozen model perform its effect on a first frame."""
    from jobs.generate import generate_job

    overrides = list(overrides or [])
    overrides += [f"generate.steps={steps}"] if steps is not None else []
    overrides += [f"generate.seed={seed}"] if seed is not None else []
    workspace = _workspace(workdir, profile, overrides, catalog)
    generate_job(workspace, reference, first_frame, prompt, output, model)


@app.command(
    epilog="Examples: `video2lora search 'red mug' -w demo` · `video2lora search --like melt.mp4 -w demo` · "
    "`video2lora search -w demo --where \"category_id = 'melt' and motion > 0.1\"`"
)
def search(
    query: Annotated[str | None, typer.Argument(help="Words to look for in captions and categories.")] = None,
    like: Annotated[str | None, typer.Option(help="An example: a video file or a clip_id.")] = None,
    where: Annotated[str | None, typer.Option(help="A filter over the clips' columns.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 10,
    workdir: Workdir = Path("work"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
    profile: ProfileOption = None,
    overrides: Overrides = None,
    catalog: CatalogUri = None,
) -> None:
    """Find clips by text, by an example video, by a filter, or by any of them together."""
    from jobs.search import search_job

    search_job(_workspace(workdir, profile, overrides, catalog), query, like, where, limit, as_json)


def main() -> None:
    """Run the command line; a bad request ends with one sentence and status 2, an interrupt with 130."""
    # Lance warns about every child process, though ours are executed anew and never use the parent's handles.
    warnings.filterwarnings("ignore", message=".*(fork-safe|fork support)")
    try:
        status = app(standalone_mode=False) or 0
    except (CatalogError, PipelineError, TrainingError, JobError) as error:
        err.print(f"video2lora: {error}", markup=False)
        sys.exit(2)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        status = INTERRUPTED
    # Typer turns Ctrl-C into this status by itself.
    if status == INTERRUPTED:
        err.print("Stopped. Nothing is lost: the same command goes on from here.")
    sys.exit(status)
