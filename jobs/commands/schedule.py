"""Commands that run by themselves."""

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from jobs.bucket_dir import require_folder
from jobs.console import opening
from jobs.options import AsJson, Workdir

group = typer.Typer(
    name="schedule",
    no_args_is_help=True,
    help="Commands that run by themselves: by systemd, cron, Kubernetes, or `schedule run`.",
    epilog="Example: `video2lora schedule add nightly --cron '0 2 * * *' --on systemd -w work`",
)

Name = Annotated[str, typer.Argument(help="A schedule's name.")]


@group.command(
    epilog="Examples: `video2lora schedule add nightly -w work` · "
    "`video2lora schedule add nightly --on systemd --install -w work` · "
    "`video2lora schedule add nightly --on kubernetes -w work > nightly.yaml` · "
    "`video2lora schedule add tidy --cron '0 4 * * sun' -w work -- maintain`"
)
def add(
    name: Annotated[str, typer.Argument(help="What to call it: small letters, digits, dashes.")],
    command: Annotated[
        list[str] | None, typer.Argument(help="The words after `video2lora` [default: retrain --if-due].")
    ] = None,
    cron: Annotated[
        str, typer.Option(help="Minute, hour, day, month, weekday, in UTC (cron itself: local).")
    ] = "17 * * * *",
    on: Annotated[
        str, typer.Option(help="Who runs it: systemd, cron, kubernetes, or here (`schedule run`).")
    ] = "here",
    install: Annotated[
        bool, typer.Option("--install", help="Hand it to them, instead of printing what they read.")
    ] = False,
    ray_cron_job: Annotated[
        bool,
        typer.Option("--ray-cron-job", help="On Kubernetes: a RayCronJob, where its gate is on."),
    ] = False,
    template: Annotated[
        Path | None,
        typer.Option(
            help="On Kubernetes: a rendered overlay, whose image is taken, and for --ray-cron-job its job "
            "[default: ask the cluster with kubectl, where that is needed]."
        ),
    ] = None,
    image: Annotated[
        str | None,
        typer.Option(
            help="On Kubernetes: of the pod that makes the job, as REGISTRY/video2lora:TAG [default: the "
            "template's, or video2lora where it is only printed]."
        ),
    ] = None,
    workdir: Workdir = Path("work"),
) -> None:
    """Keep a schedule, and print it as systemd, cron or Kubernetes reads it; --install hands it to them."""
    opening(f"Schedule {name[:40]}")
    require_folder(workdir, "The list of schedules")
    from jobs.cli import app
    from jobs.errors import JobError
    from jobs.schedule import add
    from jobs.schedules.book import Schedule
    from jobs.sending import named_paths, sent_words
    from jobs.troubles import usable_folder

    if ray_cron_job and on != "kubernetes":
        raise JobError("--ray-cron-job is a kind of schedule on Kubernetes: add --on kubernetes.")
    if image is not None and (on != "kubernetes" or ray_cron_job):
        raise JobError("--image is a CronJob's, on Kubernetes: add --on kubernetes, and no --ray-cron-job.")
    words = [*(command or ["retrain", "--if-due"])]
    if not {"-w", "--workdir"} & set(words):
        words += ["--workdir", str(workdir.absolute())]
    # Words that the command does not understand are said now, and not at night.
    words = sent_words(words, named_paths(app, words))
    if on == "kubernetes":
        with suppress(typer.TyperException):  # a command that needs no Ray
            named_paths(app, [*words, "--address", "auto"])
            words += ["--address", "auto"]
    schedule = Schedule(name, cron, tuple(words), on)
    usable_folder(workdir, "--workdir")
    add(workdir, schedule, install, template, ray_cron_job, image)


@group.command("list", epilog="Example: `video2lora schedule list -w work`")
def list_(workdir: Workdir = Path("work"), as_json: AsJson = False) -> None:
    """List the schedules, and when each runs next."""
    opening(f"Schedules of {workdir}")
    require_folder(workdir, "The list of schedules")
    from jobs.schedule import list_schedules

    list_schedules(workdir, as_json)


@group.command(epilog="Example: `video2lora schedule pause nightly -w work`")
def pause(name: Name, workdir: Workdir = Path("work")) -> None:
    """Have one run no more until it is resumed, also where it is installed."""
    opening(f"Pause {name[:40]}")
    require_folder(workdir, "The list of schedules")
    from jobs.schedule import pause

    pause(workdir, name, True)


@group.command(epilog="Example: `video2lora schedule resume nightly -w work`")
def resume(name: Name, workdir: Workdir = Path("work")) -> None:
    """Have one run again."""
    opening(f"Resume {name[:40]}")
    require_folder(workdir, "The list of schedules")
    from jobs.schedule import pause

    pause(workdir, name, False)


@group.command(epilog="Example: `video2lora schedule remove nightly -w work`")
def remove(name: Name, workdir: Workdir = Path("work")) -> None:
    """Forget one, and take it away from where it is installed."""
    opening(f"Remove {name[:40]}")
    require_folder(workdir, "The list of schedules")
    from jobs.schedule import remove

    remove(workdir, name)


@group.command(epilog="Example: `video2lora schedule run -w work`")
def run(workdir: Workdir = Path("work")) -> None:
    """Run the schedules in the foreground until Ctrl-C, where nothing else does."""
    opening(f"Run the schedules of {workdir}")
    require_folder(workdir, "The list of schedules")
    from jobs.schedule import run_here

    run_here(workdir)
