"""A driver of its own that ingests a folder:
`python -m tests.pipeline.ingest_process FOLDER CATALOG COMMIT_ROWS`.

It prints `working` when results begin to come, and the counts at the end, or `stopped:` and what is left.
"""

import json
import os
import sys

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")


def main(folder: str, place: str, commit_rows: str) -> None:
    import ray

    from catalog.clip_spec import ClipSpec
    from catalog.store import Catalog
    from jobs.interrupts import leave_once
    from pipeline.errors import Interrupted
    from pipeline.ingest import ingest
    from pipeline.intake.settings import IngestSettings
    from pipeline.sources.survey import discover

    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=128 * 1024**2,
        log_to_driver=False,
    )
    catalog = Catalog.create(place, ClipSpec(num_frames=49, fps=8, height=64, width=96))
    settings = IngestSettings(batch_files=1, commit_rows=int(commit_rows))
    leave_once()
    try:
        report = ingest(
            discover(folder),
            catalog,
            settings,
            progress=lambda done, *_: print("working" if done else "", flush=True),
        )
    except Interrupted as stopped:
        print(f"stopped: {stopped}", flush=True)
        return
    print(json.dumps(report.counts), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
