"""How ingestion is set up."""

from pydantic import BaseModel, ConfigDict, Field

from pipeline.curation.policy import QualityPolicy
from pipeline.video.normalise import NormaliseSettings


class IngestSettings(BaseModel):
    """How inputs become clips.

    Attributes:
        normalise: time policy, fit, quality of the stored clips and what one file may cost.
        policy: what a clip's scores must be.
        retry_quarantined: try inputs again that broke the decoder in an earlier run. What could not be read,
            or was not decoded because the machine was busy, is tried again by every run.
        force: do every input again, changed or not.
        batch_files: inputs per Ray task.
        commit_rows: inputs whose results are written together.
        worker_memory_mb: what a worker with its decoder occupies: the measured peak, with room. Ray runs as
            many as fit; a decoder that needs more is stopped by `normalise.limits.memory_mb`.
        set_aside_gone: whether clips whose files are not there any more are kept out of everything; else they
            are told and used as before.
        s3_endpoint: where `s3://` sources are, other than at AWS; None takes AWS_ENDPOINT_URL, if it is set.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    normalise: NormaliseSettings = NormaliseSettings()
    policy: QualityPolicy = QualityPolicy()
    retry_quarantined: bool = False
    force: bool = False
    batch_files: int = Field(4, ge=1)
    commit_rows: int = Field(64, ge=1)
    worker_memory_mb: int = Field(900, ge=64)
    set_aside_gone: bool = False
    s3_endpoint: str | None = None
