"""The metrics of an evaluation: their names, what is better, and the paper's figures beside ours."""

from dataclasses import dataclass
from typing import Literal

from pipeline.errors import PipelineError


class UnknownMetric(PipelineError):
    """A metric is asked for that nothing here is called."""


@dataclass(frozen=True)
class Metric:
    """One column.

    Attributes:
        better: which way.
        scale: what a stored value is multiplied by where it is shown.
        digits: shown behind the point.
        unit: shown behind the figure.
        says: what it is, in a sentence.
        of: "clip", a mean over clips; "set", of all clips together; "pair", of losses.
        paper: the paper's average in Table 1, as shown there.
    """

    title: str
    better: Literal["higher", "lower"]
    says: str
    scale: float = 1.0
    digits: int = 3
    unit: str = ""
    of: Literal["clip", "set", "pair"] = "clip"
    paper: float | None = None

    def shown(self, value: float | None) -> str:
        """A figure as a table has it."""
        return "–" if value is None else f"{value * self.scale:.{self.digits}f}{self.unit}"


METRICS: dict[str, Metric] = {
    "fvd_crop": Metric(
        "FVD (crop)",
        "lower",
        "Fréchet distance of I3D logits, short side to 224 and centre crop",
        digits=0,
        of="set",
        paper=1568,
    ),
    "fvd_squash": Metric(
        "FVD (squash)",
        "lower",
        "Fréchet distance of I3D logits, both sides to 224 whatever the shape",
        digits=0,
        of="set",
        paper=1568,
    ),
    "dynamic_degree": Metric(
        "dynamic degree", "higher", "share of clips in which RAFT sees motion", digits=2, paper=0.78
    ),
    "smoothness": Metric(
        "motion smoothness",
        "higher",
        "how well frames are guessed from their neighbours",
        scale=100,
        digits=2,
        paper=98.5,
    ),
    "aesthetic": Metric(
        "aesthetic quality", "higher", "LAION's head on CLIP ViT-L/14, a tenth of it", paper=0.565
    ),
    "consistency": Metric("subject consistency", "higher", "DINO's likeness of frames to earlier ones"),
    "clip_reference": Metric("CLIP to reference", "higher", "cosine of the clips' mean frames"),
    "clip_prompt": Metric("CLIP to prompt", "higher", "mean cosine of frames with the prompt"),
    "effect": Metric(
        "effect accuracy",
        "higher",
        "share of clips in which a classifier finds the reference's effect",
        scale=100,
        digits=1,
        unit=" %",
    ),
    "transfer_gap": Metric(
        "transfer gap",
        "higher",
        "how much better held-out clips are denoised under an adapter of their own effect than of another",
        scale=100,
        digits=2,
        unit=" %",
        of="pair",
    ),
}
# What people type: both preprocessings of FVD together.
GROUPS = {"fvd": ("fvd_crop", "fvd_squash")}


def chosen_metrics(asked: str | None) -> tuple[str, ...]:
    """The metrics that a list of names, parted by commas, means; all of them for None.

    Raises:
        UnknownMetric: a name that no metric has, or none at all.
    """
    if asked is None:
        return tuple(METRICS)
    names = [name.strip().lower().replace("-", "_") for name in asked.split(",") if name.strip()]
    known = [*GROUPS, *METRICS]
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise UnknownMetric(
            f"No metric is called {(unknown or [asked])[0]!r}; name some of {', '.join(known)}, with commas"
            " between."
        )
    wanted = {each for name in names for each in GROUPS.get(name, (name,))}
    return tuple(name for name in METRICS if name in wanted)


# FVD of the chosen row of the paper's Table 2, and what its figures are worth (arXiv 2603.08210).
PAPER_TABLE_2 = 1358.0
WORTH = (
    "The paper's averages are over 15 categories of 5 clips: an FVD of 5 videos has a covariance of rank "
    "4 and is a rank at best; the paper does not say which preprocessing it used, so its figure stands "
    "beside both. Its smoothness averages to 98.38 over its own rows where 98.50 is stated, and Table 2's "
    "1358 is Table 1's row Crumble, not an average. Paired over its categories its lead over Omni-Effects "
    "is -112, 95 % [-275, +40]: not apart. On our side stand other clips, another backbone and another "
    "interpolator: read ours against our real clips and our other models, not against the paper."
)
