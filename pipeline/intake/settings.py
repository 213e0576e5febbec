"""How ingestion is set up."""

from pydantic import BaseModel, ConfigDict, Field

from pipeline.curation.policy import QualityPolicy
from pipeline.video.normalise import NormaliseSettings


class IngestSettings(BaseModel):
    """How inputs become clips.

    Attributes:
        normalise: time policy, fit, quality of the stored clips and what one file may cost.
        policy: what a clip's scores must be.
        retry_quarantined: try inputs again that broke the decoder in an earlier run.
        force: do every input again, changed or not.
        batch_files: inputs per Ray task.
        commit_rows: inputs whose results are written together.
        s3_endpoint: where `s3://` sources are, other than at AWS; None takes AWS_ENDPOINT_URL, if it is set.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    normalise: NormaliseSettings = NormaliseSettings()
    policy: QualityPolicy = QualityPolicy()
    retry_quarantined: bool = False
    force: bool = False
    batch_files: int = Field(4, ge=1)
    commit_rows: int = Field(64, ge=1)
    s3_endpoint: str | None = None
