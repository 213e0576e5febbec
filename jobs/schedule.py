"""`video2lora schedule`: written for systemd, cron or Kubernetes, or run in the foreground."""

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import yaml

from jobs.console import out, print_table
from jobs.errors import JobError
from jobs.schedules.book import Book, Schedule
from jobs.schedules.when import When
from jobs.schedules.written import (
    IMAGE,
    TEMPLATE,
    cron_job,
    cron_line,
    image_of,
    mark,
    ray_cron_job,
    systemd_units,
    unit_names,
)

UNITS = Path("~/.config/systemd/user")
# Seconds after which `schedule run` reads the file again.
_AGAIN = 5


class CannotInstall(JobError):
    """Who was to run a schedule is not there, or refuses it."""


def add(
    root: Path,
    schedule: Schedule,
    install: bool,
    template: Path | None,
    ray_cron: bool,
    image: str | None = None,
) -> None:
    """Keep a schedule, and print it as its place reads it, or hand it to that place."""
    book = Book(root)
    if image is None and schedule.place == "kubernetes" and not ray_cron and (install or template):
        image = image_of(_template(template))
    text = written(schedule, template, ray_cron, image)
    book.put(schedule, new=True)
    if not install:
        print(text, end="")
        for line in _how(schedule, bare=image is None and not ray_cron):
            out.print(line, markup=False)
        return
    try:
        _install(schedule, text)
    except JobError:
        book.remove(schedule.name)
        raise
    book.put(replace(schedule, installed=True))
    out.print(f"  {schedule.name} is with {schedule.place}; next: {_next(schedule)}", markup=False)


def written(
    schedule: Schedule, template: Path | None = None, ray_cron: bool = False, image: str | None = None
) -> str:
    """A schedule as its place reads it."""
    here = Path.cwd()
    if schedule.place == "systemd":
        units = systemd_units(schedule, program(), here)
        return "\n".join(f"# {name}\n{text}" for name, text in units.items())
    if schedule.place == "cron":
        return cron_line(schedule, program(), here) + "\n"
    if schedule.place == "kubernetes":
        made = ray_cron_job(schedule, _template(template)) if ray_cron else cron_job(schedule, image or IMAGE)
        return yaml.safe_dump(made, sort_keys=False, width=110)
    return ""


def program() -> list[str]:
    """How this project's command is called from anywhere."""
    found = Path(sys.executable).with_name("video2lora")
    return [str(found)] if found.exists() else [sys.executable, "-c", "from jobs.cli import main; main()"]


def list_schedules(root: Path, as_json: bool) -> None:
    """Print all."""
    found = Book(root).all()
    if as_json:
        print(json.dumps([asdict(each) | {"next": _next(each)} for each in found], indent=2, default=str))
        return
    rows = [
        (each.name, each.cron, each.place, _state(each), _next(each), " ".join(each.command))
        for each in found
    ]
    heads = ("name", "when (UTC)", "on", "state", "next", "command")
    print_table(heads, rows, f"{len(found)} schedules" if found else "No schedule yet.")


def pause(root: Path, name: str, paused: bool) -> None:
    """Have one run no more, or again."""
    book = Book(root)
    schedule = replace(book.one(name), paused=paused)
    if schedule.installed:
        _set_paused(schedule)
    book.put(schedule)
    out.print(f"  {name} is {'paused' if paused else f'resumed; next: {_next(schedule)}'}", markup=False)
    if schedule.place != "here" and not schedule.installed:
        out.print(f"  what {schedule.place} was given by hand is to be changed there", markup=False)


def remove(root: Path, name: str) -> None:
    """Forget one, and take it away from where it runs."""
    book = Book(root)
    schedule = book.one(name)
    if schedule.installed:
        _uninstall(schedule)
    book.remove(name)
    out.print(f"  {name} is removed", markup=False)


def run_here(root: Path) -> None:
    """Run the schedules in the foreground until Ctrl-C; what changes in their file meanwhile counts."""
    from apscheduler.schedulers.blocking import BlockingScheduler

    book, running = Book(root), {}
    if not (found := [each for each in book.all() if each.place == "here"]):
        raise JobError("No schedule is to run here; `video2lora schedule add NAME --on here` makes one.")
    scheduler = BlockingScheduler(timezone="UTC")

    def renewed() -> None:
        wanted = {each.name: each for each in book.all() if each.place == "here" and not each.paused}
        for name in running.keys() - wanted.keys():
            scheduler.remove_job(name)
            del running[name]
        for name, schedule in wanted.items():
            if running.get(name) != schedule:
                trigger = When.parse(schedule.cron).trigger()
                # Never beside itself; what was missed while it ran is done once.
                options: dict[str, Any] = {"coalesce": True, "max_instances": 1, "misfire_grace_time": 600}
                scheduler.add_job(_run, trigger, [schedule], id=name, replace_existing=True, **options)
                running[name] = schedule

    renewed()
    scheduler.add_job(renewed, "interval", seconds=_AGAIN)
    for each in found:
        out.print(f"  {each.name}: {_state(each)}, next {_next(each)}", markup=False)
    try:
        scheduler.start()
    finally:
        if scheduler.running:
            scheduler.shutdown(wait=True)


def _run(schedule: Schedule) -> None:
    out.print(f"{schedule.name}: video2lora {' '.join(schedule.command)}", markup=False)
    done = subprocess.run([*program(), *schedule.command], check=False)
    out.print(f"{schedule.name}: status {done.returncode}", markup=False)


def _install(schedule: Schedule, text: str) -> None:
    if schedule.place == "here":
        raise CannotInstall(
            "--install hands it to systemd, cron or Kubernetes (--on); `schedule run` runs it here."
        )
    if schedule.place == "kubernetes":
        _tool(["kubectl", "apply", "--filename", "-"], text)
    elif schedule.place == "cron":
        _write_crontab([*_crontab(), text.rstrip("\n")])
    else:
        folder = UNITS.expanduser()
        folder.mkdir(parents=True, exist_ok=True)
        for name, unit in systemd_units(schedule, program(), Path.cwd()).items():
            (folder / name).write_text(unit, "utf-8")
        _tool(["systemctl", "--user", "daemon-reload"])
        _tool(["systemctl", "--user", "enable", "--now", unit_names(schedule)[1]])


def _set_paused(schedule: Schedule) -> None:
    if schedule.place == "kubernetes":
        patch = json.dumps({"spec": {"suspend": schedule.paused}})
        _tool(["kubectl", "patch", *_object(schedule), "--type", "merge", "--patch", patch])
    elif schedule.place == "systemd":
        _tool(["systemctl", "--user", "stop" if schedule.paused else "start", unit_names(schedule)[1]])
    else:
        kept = _without(schedule)
        line = cron_line(schedule, program(), Path.cwd())
        _write_crontab([*kept, f"# paused: {line}" if schedule.paused else line])


def _uninstall(schedule: Schedule) -> None:
    if schedule.place == "kubernetes":
        _tool(["kubectl", "delete", *_object(schedule), "--ignore-not-found"])
    elif schedule.place == "systemd":
        _tool(["systemctl", "--user", "disable", "--now", unit_names(schedule)[1]])
        for name in unit_names(schedule):
            (UNITS.expanduser() / name).unlink(missing_ok=True)
    else:
        _write_crontab(_without(schedule))


def _object(schedule: Schedule) -> tuple[str, str]:
    return "cronjob", f"video2lora-{schedule.name}"


def _crontab() -> list[str]:
    _require("crontab")
    done = subprocess.run(["crontab", "-l"], capture_output=True, text=True, check=False)
    return done.stdout.splitlines() if done.returncode == 0 else []


def _without(schedule: Schedule) -> list[str]:
    return [line for line in _crontab() if not line.endswith(mark(schedule, Path.cwd()))]


def _write_crontab(lines: Sequence[str]) -> None:
    _tool(["crontab", "-"], "".join(f"{line}\n" for line in lines))


def _template(path: Path | None) -> dict[str, Any]:
    if path is None:
        return json.loads(_tool(["kubectl", "get", "raycronjob", TEMPLATE, "--output", "json"]))
    try:
        objects = list(yaml.safe_load_all(path.read_text("utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0]
        raise CannotInstall(f"--template {path} cannot be read as YAML: {reason}.") from error
    found = [each for each in objects if isinstance(each, dict) and each.get("kind") == "RayCronJob"]
    return found[0] if found else {}


def _tool(words: list[str], given: str | None = None) -> str:
    _require(words[0])
    done = subprocess.run(words, input=given, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise CannotInstall(f"`{' '.join(words)}` refused: {said[-1] if said else done.returncode}.")
    return done.stdout


def _require(tool: str) -> None:
    if shutil.which(tool) is None:
        raise CannotInstall(
            f"{tool} is not on this machine; without --install the schedule is printed, or take another --on."
        )


def _how(schedule: Schedule, bare: bool) -> list[str]:
    """What to do with what was printed; `bare`: its image has no registry."""
    named = f"; its image is {IMAGE}: --image says which, with registry and tag" if bare else ""
    clock = "; cron's clock is this machine's" if schedule.place == "cron" else ""
    told = {
        "systemd": f"# for {UNITS}; --install puts it there",
        "cron": f"# for `crontab -e`; --install puts it there{clock}",
        "kubernetes": f"# for `kubectl apply -f -`; --install does that{named}",
        "here": f"  kept; `video2lora schedule run` runs it, next {_next(schedule)}",
    }
    return [told[schedule.place]]


def _state(schedule: Schedule) -> str:
    if schedule.paused:
        return "paused"
    return "installed" if schedule.installed else "kept" if schedule.place == "here" else "printed"


def _next(schedule: Schedule) -> str:
    if schedule.paused:
        return "when resumed"
    found = When.parse(schedule.cron).next()
    return f"{found:%Y-%m-%d %H:%M} UTC" if found else "never"
