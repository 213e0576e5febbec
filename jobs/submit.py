"""`--submit`: a command runs on a cluster, and this machine shows what it prints."""

import typer

from jobs.console import err, opening
from jobs.sending import Sending, named_paths, require_seen, sent_words

DETACHED = 130


def submit(app: typer.Typer, sending: Sending) -> int:
    """Send a command and follow it to its end; its exit status.

    Ctrl-C ends the following, and not the job.

    Raises:
        JobError: it cannot be sent, or what was sent never came to an end of its own.
        typer.TyperException: words that the command does not understand.
    """
    paths = named_paths(app, sending.words)
    at = f"at {sending.address}" if sending.address else "of this machine"
    opening(f"Send `video2lora {sending.words[0]}` to the cluster {at}")
    from jobs.ray_jobs import RayJobs, exit_status, here

    cluster = RayJobs(sending.address)
    require_seen(paths, cluster.nodes(), here())
    job_id, known = cluster.submit(sending, sent_words(sending.words, paths))
    err.print(f"Job {job_id} {'is there already' if known else 'is sent'}.", markup=False)
    words = f"{job_id} --address {cluster.url}"
    later = f"`video2lora job logs --follow {words}` follows it, `video2lora job stop {words}` ends it."
    if sending.detach:
        err.print(later, markup=False)
        return 0
    try:
        return exit_status(cluster.follow(job_id))
    except KeyboardInterrupt:
        err.print(f"\nThe job goes on there: {later}", markup=False)
        return DETACHED
