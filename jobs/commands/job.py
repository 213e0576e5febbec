"""Commands that run on a cluster as jobs: `--submit` sends one, these look after it."""

import json
from datetime import UTC, datetime
from typing import Annotated

import typer

from jobs.console import opening, out, print_table
from jobs.options import AsJson

group = typer.Typer(
    name="job",
    no_args_is_help=True,
    help="Commands that run on a Ray cluster as jobs."
    "\n\n`--submit` with any command sends it there: `--address` names the cluster (its dashboard or its "
    "head; a cluster on this machine where it is left away), `--job-id NAME` names the job, so that sending "
    "it twice runs it once, `--code image` runs the code that the cluster has and not this machine's, "
    "`--detach` does not wait for the end. Ctrl-C ends the waiting, and not the job.",
    epilog="Example: `video2lora train -w /shared/work --address http://head:8265 --submit --job-id friday`",
)

JobId = Annotated[str, typer.Argument(help="The job, as `video2lora job list` names it.")]
Cluster = Annotated[
    str | None,
    typer.Option(
        "--address",
        help="The cluster's dashboard or head [default: RAY_API_SERVER_ADDRESS, RAY_ADDRESS, this machine].",
    ),
]


@group.command("list", epilog="Examples: `video2lora job list` · `video2lora job list --json`")
def list_(address: Cluster = None, as_json: AsJson = False) -> None:
    """List the jobs that were sent to the cluster, the newest first."""
    opening("Jobs of the cluster")
    from jobs.ray_jobs import RayJobs

    found = RayJobs(address).all()
    if as_json:
        print(json.dumps([job.facts() for job in found], indent=2))
        return
    rows = [[job.job_id, job.status, _age(job.began), job.command] for job in found]
    print_table(["job", "status", "began", "command"], rows, f"{len(found)} jobs")


@group.command(epilog="Examples: `video2lora job status friday` · `video2lora job status friday --json`")
def status(job_id: JobId, address: Cluster = None, as_json: AsJson = False) -> None:
    """Say how a job stands."""
    opening(f"Job {job_id[:60]}")
    from jobs.ray_jobs import RayJobs

    job = RayJobs(address).get(job_id)
    if as_json:
        print(json.dumps(job.facts(), indent=2))
        return
    out.print(f"{job.job_id}: {job.status}, began {_age(job.began)}", markup=False)
    out.print(job.command, markup=False)
    if job.message:
        out.print(job.message.strip(), markup=False)


@group.command(epilog="Examples: `video2lora job logs friday` · `video2lora job logs friday --follow`")
def logs(
    job_id: JobId,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until it ends, and end with its status.")
    ] = False,
    address: Cluster = None,
) -> None:
    """Print what a job has printed."""
    opening(f"Logs of job {job_id[:60]}")
    from jobs.ray_jobs import RayJobs, exit_status

    cluster = RayJobs(address)
    if not follow:
        print(cluster.logs(job_id), end="")
        return
    cluster.get(job_id)
    raise typer.Exit(exit_status(cluster.follow(job_id)))


@group.command(epilog="Example: `video2lora job stop friday`")
def stop(job_id: JobId, address: Cluster = None) -> None:
    """Have a job write down what it did and end; the same command goes on from there."""
    opening(f"Stop job {job_id[:60]}")
    from jobs.ray_jobs import RayJobs

    job = RayJobs(address).stop(job_id)
    out.print(f"{job.job_id}: {job.status}", markup=False)


def _age(began: datetime | None) -> str:
    if began is None:
        return "not yet"
    seconds = int((datetime.now(UTC) - began).total_seconds())
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02} ago"
