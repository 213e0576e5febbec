"""Things to try the others on: rendered videos, and a backbone that a CPU can train."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from jobs.console import opening
from jobs.options import LARGEST_SEED

app = typer.Typer()


@app.command(epilog="Example: `video2lora sample demo/videos --categories 6 --per-category 6 --seed 0`")
def sample(
    folder: Annotated[Path, typer.Argument(help="Where the labelled folders of videos go.")],
    categories: Annotated[
        int, typer.Option(min=1, help="How many effect categories; there are over 300, 48 simple ones first.")
    ] = 6,
    per_category: Annotated[int, typer.Option(min=1, help="Clips in each.")] = 6,
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="Same seed, same pixels.")] = 0,
    sheets: Annotated[
        Path | None, typer.Option(help="Also draw five frames of each category, as pictures in this folder.")
    ] = None,
) -> None:
    """Render procedural effect clips as real video files of many formats, in labelled folders.

    One category is one effect: a camera that pans up left, a subject that melts, snow that falls sideways,
    or two of these at once or in turn.
    """
    opening(f"Sample videos for {folder}")
    from jobs.sample import sample_videos

    sample_videos(folder, categories, per_category, seed, sheets)


@app.command(
    epilog="Examples: `video2lora pocket training/pocket --work pocket-work` · "
    "`video2lora pocket training/pocket-wan --family wan --work pocket-work` · "
    "`video2lora pocket mine --start training/pocket --dit-steps 8000 --batch 8`"
)
def pocket(
    folder: Annotated[Path, typer.Argument(help="Where the backbone goes, in the hub's layout.")],
    work: Annotated[
        Path, typer.Option(help="States and encoded clips; the same folder goes on from there.")
    ] = Path("pocket-work"),
    family: Annotated[
        Literal["cogvideox", "wan"], typer.Option(help="Of the backbone; both learn from the same clips.")
    ] = "cogvideox",
    start: Annotated[
        Path | None,
        typer.Option(help="A trained pocket backbone to go on from, for more effects: its VAE is kept."),
    ] = None,
    vae_steps: Annotated[int | None, typer.Option(min=1, help="Steps of the VAE.")] = None,
    clips: Annotated[int | None, typer.Option(min=2, help="Of each category.")] = None,
    dit_steps: Annotated[int | None, typer.Option(min=1, help="Steps of the DiT.")] = None,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Clips of a step, of DiT and hypernetwork; a CPU wants few.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Steps of the hypernetwork, which a CogVideoX gets.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="Of the weights and every draw.")] = 0,
) -> None:
    """Train a small CogVideoX-I2V from nothing on procedural effects, and a hypernetwork for it; or a small
    Wan I2V."""
    opening(f"Pocket backbone for {folder}")
    from jobs.pocket import pocket_backbone, pocket_wan

    if start is not None and vae_steps is not None:
        raise typer.BadParameter("The VAE of --start is kept: leave it off.", param_hint="--vae-steps")
    backbone = {"vae_steps": vae_steps, "clips": clips, "dit_steps": dit_steps, "batch": batch}
    if family == "wan":
        if steps is not None:
            raise typer.BadParameter("A Wan gets no hypernetwork: leave it off.", param_hint="--steps")
        pocket_wan(folder, work, seed, backbone, start)
    else:
        pocket_backbone(folder, work, seed, backbone, {"steps": steps, "batch": batch}, start)
