"""`video2lora maintain`, `backup` and `restore`."""

import json
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

from catalog.backup import Backup, backup, restore_backup
from catalog.errors import SpecMismatch
from catalog.maintenance import compact
from catalog.store import Catalog
from jobs.console import out
from jobs.workspace import Workspace

_MEGABYTE = 1e6


def maintain_job(workspace: Workspace, keep_hours: int, as_json: bool) -> None:
    """Make the catalogue small and fast, and say what that brought."""
    done = compact(workspace.existing_catalog(), timedelta(hours=keep_hours))
    if as_json:
        print(json.dumps(asdict(done)))
        return
    out.print(
        f"  {done.files_before} → {done.files_after} files; {done.versions} old versions and "
        f"{done.bytes / _MEGABYTE:.1f} MB are gone, and all that snapshots name stays",
        markup=False,
    )


def backup_job(workspace: Workspace, folder: Path, as_json: bool) -> None:
    """Copy the catalogue."""
    _told(backup(workspace.existing_catalog(), folder), as_json)


def restore_job(workspace: Workspace, folder: Path, as_json: bool) -> None:
    """Make the catalogue of this working directory of a backup."""
    spec = Catalog.open(folder).spec
    if spec != workspace.profile.clip:
        raise SpecMismatch(
            f"The backup {folder} holds clips of {spec.spec_id}, and {workspace.root} is set up for "
            f"{workspace.profile.clip.spec_id}. Restore it into another --workdir, with the profile that it "
            "was made with."
        )
    done = restore_backup(folder, Path(workspace.catalog_uri))
    workspace.remember_profile()
    _told(done, as_json)


def _told(done: Backup, as_json: bool) -> None:
    if as_json:
        print(json.dumps(asdict(done), default=str))
        return
    out.print(
        f"  {done.rows['clips']} clips, {done.files} files, {done.bytes / _MEGABYTE:.1f} MB in {done.path}",
        markup=False,
    )
