"""What became of the inputs of one ingestion."""

from dataclasses import dataclass, field


@dataclass
class IngestReport:
    """What became of the inputs.

    Attributes:
        counts: `found` = `accepted` + `duplicate` + `rejected` + `quarantined` + `gone`; `unchanged` were not
            opened, of which `refreshed` are described otherwise than before; `decoded` files were decoded by
            this run, `clips` were written; `conflicts` are contents that their sources label differently.
        reasons: how many inputs per reason code.
        seconds: wall clock.
        items: inputs.
        steps: name, seconds and items of each step.
        decode_cpu_seconds: processor seconds of the decoding processes.
        peak_rss_mb: the most memory one of them had.
        refused: every input that is not accepted: `source_uri`, `outcome`, `reason_code`, `reason`.
        conflicts: `clips` of each, and its `labels` by source.
        relabelled: inputs whose label is another one than before; see `refresh.relabelled`.
        claims: clips of which a person said otherwise than their data sets do by now, and nobody has decided.
    """

    counts: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    items: int = 0
    steps: list[dict] = field(default_factory=list)
    decode_cpu_seconds: float = 0.0
    peak_rss_mb: float = 0.0
    refused: list[dict] = field(default_factory=list)
    conflicts: list[dict] = field(default_factory=list)
    relabelled: list[dict] = field(default_factory=list)
    claims: int = 0
