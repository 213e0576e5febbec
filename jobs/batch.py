"""`video2lora batch`: a list of clips, made on Ray."""

import json
from dataclasses import asdict
from pathlib import Path

from jobs.asked import BadRequest
from jobs.job import Job, say
from jobs.report.caveats import caveats
from jobs.workspace import Workspace
from pipeline.batch import RESULTS, lineage_of, make_batch
from pipeline.batch_file import read_batch
from pipeline.models import find_model

_SHOWN = 10


def batch_job(
    workspace: Workspace,
    listed: Path,
    output: Path | None,
    model: str | None,
    workers: int | None,
    address: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """`video2lora batch`.

    Raises:
        BadRequest: an output that is there and none of ours, or, at the end, clips that were not made.
    """
    profile, folder = workspace.profile, output or workspace.folder("generated") / listed.stem
    release = find_model(workspace.catalog, workspace.folder("models"), model)
    wanted = read_batch(listed, folder, workspace.catalog, profile.generate, release.model_id)
    for each in wanted:
        if not force and each.output.exists() and "model_id" not in lineage_of(each.output):
            raise BadRequest(
                f"{each.output} is there already, and video2lora did not make it. --force replaces it; or"
                f" give line {each.line} of {listed} another `output`."
            )
    reads = [str(release.path), *(file for each in wanted for file in each.files())]
    with Job("batch", workspace, address, reads=reads, writes=[folder]) as job:
        with job.step("make clips") as progress:
            made = make_batch(
                wanted, folder, job.catalog, release, profile.backbone, profile.generate, workers, progress
            )
        counts = {
            status: sum(each.status == status for each in made) for status in ("made", "kept", "failed")
        }
        job.report["counts"] |= counts
        job.report["clips"] = [asdict(each) for each in made]
        failed = [each for each in made if each.status == "failed"]
        if as_json:
            print(json.dumps(job.report["clips"], indent=2))
        else:
            for each in failed[:_SHOWN]:
                say(f"  line {each.line}: {each.reason}")
            counted = ", ".join(f"{count} {status}" for status, count in counts.items())
            say(f"{folder}: {counted}; a row for each in {folder / RESULTS}")
            for sentence in caveats(profile.backbone, release):
                say(sentence)
        if failed:
            raise BadRequest(
                f"{len(failed)} of {len(made)} clips were not made; {folder / RESULTS} says why. The same"
                " command makes what is missing."
            )
