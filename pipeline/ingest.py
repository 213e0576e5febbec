"""Ingestion: inputs to rows of `sources`, `clips` and `media`, each input to exactly one row of `sources`.

The driver never sees a frame, nor does Ray's object store: a task hashes a file, or has a sandboxed process
decode, score and encode it, and hands on numbers and compressed bytes. What is done is in the catalogue and
nowhere else: clips and media are written before the row of `sources` that says so, so a run that is killed
repeats at most the inputs of its last, unwritten batch.
"""

import time
from collections.abc import Callable, Sequence

from catalog.store import Catalog
from pipeline.intake.inputs import Input, group_by_content
from pipeline.intake.normaliser import normalise_all
from pipeline.intake.run import IngestReport, IngestRun
from pipeline.intake.settings import IngestSettings
from pipeline.intake.stat import hash_all, stat_all
from pipeline.sources.source import Source
from pipeline.workers.room import WaitingWatch, require_memory
from training.progress import Progress


def ingest(
    sources: Sequence[Source],
    catalog: Catalog,
    settings: IngestSettings | None = None,
    run_id: str = "",
    progress: Progress | None = None,
    scope: str | None = None,
    start_workers: Callable[[], None] | None = None,
) -> IngestReport:
    """Bring inputs into the catalogue; those that are there and have not changed are not opened.

    Args:
        sources: what `discover` found.
        catalog: where the rows go; its spec is the geometry of the clips.
        run_id: written into every new row.
        progress: called with inputs done, all inputs, and counts by outcome.
        scope: the folder that the sources are all of (`Survey.scope`): what an earlier run took from there
            and is not there any more is told, and a file that moved takes its clips along.
        start_workers: called before the first work for Ray; where nothing is new, none is needed.

    Returns:
        The report; it counts every input once, also those of earlier runs.

    Raises:
        NoRoom: no machine has the memory that a worker asks for.
        Interrupted: somebody stopped it; what was decoded is in the catalogue.
    """
    settings = settings or IngestSettings()
    sources = list({source.uri: source for source in sources}.values())
    began = time.monotonic()
    run = IngestRun(catalog, settings, run_id, progress, len(sources))
    stats = stat_all([source.location for source in sources], settings.s3_endpoint)
    inputs = [Input(source, stat) for source, stat in zip(sources, stats, strict=True)]
    with run.keeping():
        inputs = run.skip_too_large(run.skip_refused(run.skip_known(inputs)))
        if inputs and start_workers:
            start_workers()
        with run.step("hash", inputs):
            hashes = hash_all((item.source.location for item in inputs), settings.s3_endpoint)
            groups = run.skip_copies(group_by_content(inputs, hashes))
        with run.step("normalise", groups):
            _normalise(run, groups)
        with run.step("settle", groups):
            run.settle(groups, inputs, scope)
    return run.finished(time.monotonic() - began)


def _normalise(run: IngestRun, groups: list[list[Input]]) -> None:
    """Decode the first of each group, and write what comes as it comes."""
    if not groups:
        return
    settings = run.settings
    memory = settings.worker_memory_mb * 1024**2
    require_memory(memory, "ingest.worker_memory_mb")
    made = normalise_all(
        [(group[0].source, group[0].stat) for group in groups],
        run.catalog.spec,
        settings.normalise,
        settings.batch_files,
        memory,
        settings.s3_endpoint,
    )
    by_uri = {group[0].source.uri: group for group in groups}
    with WaitingWatch(memory, run.tell) as watch:
        for table in made:
            watch.came()
            run.take(table, by_uri)
    run.commit()
