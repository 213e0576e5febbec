"""Ingestion: inputs to rows of `sources`, `clips` and `media`, each input to exactly one row of `sources`.

The driver never sees a frame, nor does Ray's object store: a task hashes a file, or has a sandboxed process
decode, score and encode it, and hands on numbers and compressed bytes. What is done is in the catalogue and
nowhere else: clips and media are written before the row of `sources` that says so, so a run that is killed
repeats at most the inputs of its last, unwritten batch.
"""

import time
from collections.abc import Sequence

from catalog.store import Catalog
from pipeline.intake.fingerprint import hash_all, stat_all
from pipeline.intake.inputs import Input, group_by_content, retire, settle
from pipeline.intake.normaliser import normalise_all
from pipeline.intake.run import IngestReport, IngestRun
from pipeline.intake.settings import IngestSettings
from pipeline.progress import Progress
from pipeline.sources.source import Source

# What a task occupies beside its processor: the measured peak of a worker and its sandbox, with room.
TASK_MEMORY = 900 * 1024**2


def ingest(
    sources: Sequence[Source],
    catalog: Catalog,
    settings: IngestSettings | None = None,
    run_id: str = "",
    progress: Progress | None = None,
) -> IngestReport:
    """Bring inputs into the catalogue; those that are there and have not changed are not opened.

    Args:
        sources: what `discover` found.
        catalog: where the rows go; its spec is the geometry of the clips.
        run_id: written into every new row.
        progress: called with inputs done, all inputs, and counts by outcome.

    Returns:
        The report; it counts every input once, also those of earlier runs.
    """
    settings = settings or IngestSettings()
    sources = list({source.uri: source for source in sources}.values())
    began = time.monotonic()
    run = IngestRun(catalog, settings, run_id, progress, len(sources))
    stats = stat_all([source.uri for source in sources], settings.s3_endpoint)
    inputs = run.skip_known([Input(source, stat) for source, stat in zip(sources, stats, strict=True)])
    inputs = run.skip_too_large(inputs)
    with run.step("hash", inputs):
        hashes = hash_all([item.source for item in inputs], settings.s3_endpoint)
        groups = run.skip_copies(group_by_content(inputs, hashes))
    with run.step("normalise", groups):
        made = normalise_all(
            [(group[0].source, group[0].stat) for group in groups],
            catalog.spec,
            settings.normalise,
            settings.batch_files,
            TASK_MEMORY,
            settings.s3_endpoint,
        )
        by_uri = {group[0].source.uri: group for group in groups}
        for table in made:
            run.take(table, by_uri)
        run.commit()
    with run.step("settle", groups):
        settle(catalog, [group[0].sha256 for group in groups])
        retire(catalog, [item.source.uri for item in inputs])
    return run.finished(time.monotonic() - began)
