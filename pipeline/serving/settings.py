"""How requests are taken in and worked off; apart from what does it, so that a command line can check it."""

from datetime import timedelta

from pydantic import BaseModel, ConfigDict, Field, PositiveInt


class ServeSettings(BaseModel):
    """What a server takes, and how it works it off."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    replicas: PositiveInt | None = Field(
        None, le=1024, description="workers, each with a model in memory; null: one a GPU, one without any"
    )
    max_queued: PositiveInt = Field(200, description="requests that wait or run; one more has to wait")
    max_per_user: PositiveInt = Field(50, description="requests of one user that wait or run")
    per_minute: PositiveInt = Field(60, description="requests that one user may begin in a minute")
    max_upload_mb: PositiveInt = Field(256, description="of one uploaded file")
    claim_seconds: float = Field(
        30.0, ge=1, le=3600, description="a worker not heard of for so long loses its request to another"
    )

    @property
    def patience(self) -> timedelta:
        """`claim_seconds`, as a time."""
        return timedelta(seconds=self.claim_seconds)
