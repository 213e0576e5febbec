"""Schedules: as systemd, cron and Kubernetes read them, handed to them, and run in the foreground."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from kubernetes_validate import validate

from jobs.cli import main
from jobs.schedules.book import BadSchedule, Book, NoSchedule, Schedule
from jobs.schedules.when import BadTime, When
from jobs.schedules.written import NoTemplate, cron_job, cron_line, ray_cron_job, systemd_units

NIGHTLY = Schedule("nightly", "0 2 * * *", ("retrain", "--if-due", "--workdir", "/data/my work"))


@pytest.mark.parametrize(
    ("cron", "systemd"),
    [
        ("17 * * * *", "*-*-* *:17:00 UTC"),
        ("*/15 2-4 * * *", "*-*-* 02,03,04:00,15,30,45:00 UTC"),
        ("0 2 * * 1-5", "Mon,Tue,Wed,Thu,Fri *-*-* 02:00:00 UTC"),
        ("0 2 * * sun", "Sun *-*-* 02:00:00 UTC"),
        ("0 2 * * 7", "Sun *-*-* 02:00:00 UTC"),
        ("0 0 1 jan,7 *", "*-01,07-01 00:00:00 UTC"),
        ("* * * * *", "*-*-* *:*:00 UTC"),
    ],
)
def test_a_time_of_cron_is_the_same_time_to_systemd(cron, systemd):
    assert When.parse(cron).systemd() == systemd


@pytest.mark.parametrize(
    "text",
    ["", "daily", "* * * *", "60 * * * *", "5-1 * * * *", "*/0 * * * *", "x * * * *", "0 0 * * funday"],
)
def test_what_is_no_time_is_a_sentence(text):
    with pytest.raises(BadTime):
        When.parse(text)


def test_days_of_the_month_and_of_the_week_together_are_refused_for_schedulers_disagree():
    with pytest.raises(BadTime, match="cron runs on either, systemd only on both"):
        When.parse("0 0 1 * mon")


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 59),
    st.integers(0, 23),
    st.integers(0, 6),
    st.datetimes(datetime(2026, 1, 1), datetime(2029, 1, 1)),
)
def test_the_next_time_is_at_that_minute_hour_and_weekday_within_a_week(minute, hour, weekday, now):
    now = now.replace(tzinfo=UTC)
    found = When.parse(f"{minute} {hour} * * {weekday}").next(now)
    assert (found.minute, found.hour, (found.weekday() + 1) % 7) == (minute, hour, weekday)
    assert now <= found <= now + timedelta(days=7, minutes=1)


def test_a_kubernetes_cron_job_is_valid_and_makes_a_ray_job_of_the_clusters_template():
    made = cron_job(NIGHTLY, "registry.example/video2lora:2")
    validate(made, "1.32", strict=True)
    [container] = made["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    [script] = container["args"]
    assert made["spec"]["concurrencyPolicy"] == "Forbid"
    assert container["image"] == "registry.example/video2lora:2"
    assert "kubectl get raycronjob video2lora-retrain" in script
    assert "retrain --if-due --workdir /workspace" in script
    assert "my work" not in script  # the cluster has a working directory of its own


KUBECTL = """#!/bin/sh
case "$*" in
  "get rayjobs"*) printf '%s' "$STATES" ;;
  *metadata.labels*) printf '{"kueue.x-k8s.io/queue-name": "ours", "video2lora/schedule": "retrain"}' ;;
  "get raycronjob"*) printf '{"entrypoint": "of the template", "backoffLimit": 2}' ;;
  patch*) exec "$REAL" "$@" ;;
  create*) cat > "$MADE" ;;
esac
"""


@pytest.mark.parametrize("states", ["", "a=Complete b=Failed ", "a=Complete b=Running "])
def test_the_cron_jobs_shell_makes_one_ray_job_at_a_time_with_the_real_kubectls_patch(tmp_path, states):
    schedule = Schedule("odd", "0 2 * * *", ("search", 'it\'s $(touch bad) "x" %', "-w", "w"))
    [container] = cron_job(schedule)["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    real = subprocess.run(["which", "kubectl"], capture_output=True, text=True, check=True).stdout.strip()
    (tmp_path / "kubectl").write_text(KUBECTL)
    (tmp_path / "kubectl").chmod(0o755)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "STATES": states, "REAL": real, "MADE": "made.json"}
    subprocess.run(["/bin/sh", "-euc", *container["args"]], cwd=tmp_path, env=env, check=True, timeout=60)
    if "Running" in states:
        assert not (tmp_path / "made.json").exists()
        return
    made = json.loads((tmp_path / "made.json").read_text())
    assert made["kind"] == "RayJob"
    assert made["metadata"]["generateName"] == "video2lora-odd-"
    assert "name" not in made["metadata"]
    assert made["metadata"]["labels"]["video2lora/schedule"] == "odd"
    assert made["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "ours"
    assert made["spec"]["backoffLimit"] == 2
    assert shlex.split(made["spec"]["entrypoint"])[:3] == ["video2lora", "search", 'it\'s $(touch bad) "x" %']
    assert not (tmp_path / "bad").exists()


def test_a_ray_cron_job_is_the_clusters_template_with_another_time_and_command():
    template = {
        "kind": "RayCronJob",
        "metadata": {"labels": {"kueue.x-k8s.io/queue-name": "ours", "video2lora/schedule": "retrain"}},
        "spec": {"schedule": "x", "suspend": True, "jobTemplate": {"backoffLimit": 2}},
    }
    made = ray_cron_job(NIGHTLY, template)
    assert made["spec"]["schedule"] == "0 2 * * *"
    assert not made["spec"]["suspend"]
    labels = made["metadata"]["labels"]
    assert (labels["kueue.x-k8s.io/queue-name"], labels["video2lora/schedule"]) == ("ours", "nightly")
    assert made["spec"]["jobTemplate"]["backoffLimit"] == 2
    assert made["spec"]["jobTemplate"]["entrypoint"].startswith(
        "video2lora retrain --if-due --workdir /workspace"
    )
    with pytest.raises(NoTemplate, match="kubectl kustomize"):
        ray_cron_job(NIGHTLY, {"kind": "CronJob"})


def test_units_and_lines_keep_words_whole():
    units = systemd_units(NIGHTLY, ["/opt/100% v/video2lora"], Path("/data"))
    assert "OnCalendar=*-*-* 02:00:00 UTC" in units["video2lora-nightly.timer"]
    assert (
        'ExecStart="/opt/100%% v/video2lora" retrain --if-due --workdir "/data/my work"'
        in (units["video2lora-nightly.service"])
    )
    line = cron_line(NIGHTLY, ["video2lora"], Path("/data"))
    assert line.startswith("0 2 * * * cd /data && video2lora retrain --if-due --workdir '/data/my work' 2>&1")
    assert line.endswith("# video2lora nightly /data")


def cli(capsys, *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main([*words])
    printed = capsys.readouterr()
    return int(left.value.code or 0), printed.out, printed.err


def test_schedules_are_added_listed_paused_resumed_and_removed(tmp_path, capsys):
    work = str(tmp_path / "work")
    status, text, _ = cli(capsys, "schedule", "add", "nightly", "--on", "kubernetes", "-w", work)
    assert status == 0
    assert "--address auto" in text
    validate(next(yaml.safe_load_all(text)), "1.32", strict=True)
    assert (
        cli(capsys, "schedule", "add", "tidy", "--cron", "0 4 * * sun", "-w", work, "--", "maintain")[0] == 0
    )
    assert cli(capsys, "schedule", "pause", "tidy", "-w", work)[0] == 0
    rows = {row["name"]: row for row in json.loads(cli(capsys, "schedule", "list", "-w", work, "--json")[1])}
    assert rows["tidy"]["next"] == "when resumed"
    assert rows["tidy"]["command"] == ["maintain", "--workdir", work]
    assert cli(capsys, "schedule", "resume", "tidy", "-w", work)[0] == 0
    assert cli(capsys, "schedule", "remove", "nightly", "-w", work)[0] == 0
    assert [each.name for each in Book(Path(work)).all()] == ["tidy"]
    with pytest.raises(NoSchedule, match="there are: tidy"):
        Book(Path(work)).one("nightly")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["add", "Night!"], "no name of a schedule"),
        (["add", "a", "--cron", "never"], "no time of cron's five fields"),
        (["add", "a", "--on", "mars"], "none of systemd, cron, kubernetes, here"),
        (["add", "a", "--install"], "`schedule run` runs it here"),
        (["add", "a", "--ray-cron-job"], "add --on kubernetes"),
        (["add", "a", "--image", "b/c:1"], "add --on kubernetes"),
        (["add", "a", "--", "retran"], "retrain"),
        (["add", "a", "--", "retrain", "--iff-due"], "--if"),
        (["pause", "a"], "No schedule is called 'a'"),
        (["run"], "No schedule is to run here"),
    ],
)
def test_what_nobody_could_run_is_a_sentence(tmp_path, capsys, words, says):
    status, _, err = cli(capsys, "schedule", *words[:1], "-w", str(tmp_path / "work"), *words[1:])
    assert status == 2
    assert says in err


def test_a_damaged_file_of_schedules_is_a_sentence(tmp_path):
    (tmp_path / "schedules.json").write_text("[{")
    with pytest.raises(BadSchedule, match=r"schedules\.json cannot be read"):
        Book(tmp_path).all()


CRONTAB = """#!/bin/sh
if [ "$1" = -l ]; then cat "$TABLE" 2>/dev/null; else cat > "$TABLE"; fi
"""


def test_an_installed_line_of_cron_is_paused_resumed_and_taken_away_and_others_stay(
    tmp_path, capsys, monkeypatch
):
    (tmp_path / "crontab").write_text(CRONTAB)
    (tmp_path / "crontab").chmod(0o755)
    table = tmp_path / "table"
    table.write_text("5 5 * * * somebody else's\n")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("TABLE", str(table))
    work = str(tmp_path / "w")
    assert cli(capsys, "schedule", "add", "nightly", "--on", "cron", "--install", "-w", work)[0] == 0
    assert len(table.read_text().splitlines()) == 2
    assert cli(capsys, "schedule", "pause", "nightly", "-w", work)[0] == 0
    assert "# paused: 17 * * * *" in table.read_text()
    assert cli(capsys, "schedule", "resume", "nightly", "-w", work)[0] == 0
    assert "paused" not in table.read_text()
    assert cli(capsys, "schedule", "remove", "nightly", "-w", work)[0] == 0
    assert table.read_text() == "5 5 * * * somebody else's\n"


def test_a_tool_that_is_not_there_or_refuses_leaves_no_schedule_behind(tmp_path, capsys, monkeypatch):
    work = str(tmp_path / "w")
    monkeypatch.setenv("PATH", str(tmp_path))
    for place in ("systemd", "cron", "kubernetes"):
        monkeypatch.setattr("jobs.schedule.UNITS", tmp_path / "units")
        status, _, err = cli(capsys, "schedule", "add", "a", "--on", place, "--install", "-w", work)
        assert status == 2
        assert "is not on this machine" in err
    assert Book(Path(work)).all() == []


@pytest.mark.slow
def test_schedule_run_runs_what_is_due_and_ctrl_c_ends_it(tmp_path):
    Book(tmp_path).put(Schedule("often", "* * * * *", ("schedule", "list", "--workdir", str(tmp_path))))
    process = subprocess.Popen(
        [sys.executable, "-c", "from jobs.cli import main; main()", "schedule", "run", "-w", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    lines = []
    over = time.monotonic() + 240
    while time.monotonic() < over and not any("status 0" in line for line in lines):
        lines.append(process.stdout.readline())
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert any("often: status 0" in line for line in lines)
