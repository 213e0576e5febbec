"""`video2lora clip conflicts`: what waits for a person to say which of two it is."""

import json
from dataclasses import asdict

from catalog.curation.conflicts import claims, open_conflicts
from jobs.console import out, print_table
from jobs.workspace import Workspace


def print_conflicts(workspace: Workspace, as_json: bool) -> None:
    """Contents of several labels, and what data sets say by now otherwise than a person did."""
    catalog = workspace.existing_catalog()
    torn, said = open_conflicts(catalog), claims(catalog)
    if as_json:
        print(
            json.dumps(
                {"labels": [asdict(each) for each in torn], "claims": list(map(asdict, said))}, indent=2
            )
        )
        return
    rows = [
        (each.clip_ids[0], ", ".join(f"{uri} ({label})" for uri, label in each.labels.items()))
        for each in torn
    ]
    print_table(("clip_id", "labels"), rows, f"{len(torn)} contents of several labels")
    if torn:
        out.print("`video2lora clip decide CLIP --to CATEGORY` says which it is", markup=False)
    rows = [(each.clip_id, each.what, each.stands or "not known", each.claimed) for each in said]
    print_table(
        ("clip_id", "of", "a person said", "its data set says"), rows, f"{len(said)} claims against a person"
    )
    if said:
        out.print(
            "`video2lora clip decide CLIP --to CATEGORY` is about a category, "
            "`video2lora clip licence TERMS CLIP` about a licence",
            markup=False,
        )
