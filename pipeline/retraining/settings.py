"""When training is due, and what a challenger has to show."""

from pydantic import BaseModel, ConfigDict, Field


class RetrainSettings(BaseModel):
    """The section `retrain` of a profile."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_age_days: float | None = Field(
        7.0, gt=0, description="due when the last training is older; null: never"
    )
    new_clips: int | None = Field(
        50, ge=1, description="due when so many clips that train came since the last training; null: never"
    )
    drift: float | None = Field(
        0.15,
        gt=0,
        le=2,
        description="due when a category's prototype has turned so far (cosine distance) since; null: never",
    )
    withdrawn: bool = Field(True, description="due when clips that trained have lost their licence")
    delta: float = Field(
        0.005,
        ge=0,
        lt=1,
        description="share by which the challenger's loss is to be lower on the whole, for sure",
    )
    margin: float = Field(0.05, ge=0, description="share by which a category may be worse, at most")
    margins: dict[str, float] = Field(
        default_factory=dict, description="the same of single categories, by name, as {melt = 0.02}"
    )
    unseen_margin: float = Field(
        0.01, ge=0, description="share by which categories that never trained may be worse together, at most"
    )
    confidence: float = Field(
        0.95,
        gt=0.5,
        lt=1,
        description="of all looks at one holdout together; each gets its share of the rest",
    )
    looks: int = Field(5, ge=1, description="challengers that one holdout may judge for one champion")
    holdout_pairs: int = Field(
        64, ge=2, description="pairs of a holdout, of seen and of unseen categories each"
    )
    draws: int = Field(4, ge=1, description="noises and timesteps of each pair")
    attempts: int = Field(
        3, ge=1, description="processes that may die of one decision before it counts as failed"
    )
    lease_seconds: float = Field(60.0, ge=1, description="until a dead process's work is taken up")
