"""Which model is the champion, who said so, and which models saw clips that have been withdrawn since.

The champion is the one row of `models` whose flag says so; it changes in one commit of that table, by an act.
The acts are a stack: `promote` puts a model on it, `rollback` goes back to the one beneath.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from lancedb.expr import col

from catalog.acts import Applied
from catalog.changes import Change
from catalog.curation.author import Author
from catalog.errors import NoChampion, SnapshotMissing, UnknownModel
from catalog.events import history
from catalog.fate import LICENCE_WITHDRAWN
from catalog.hints import nearest
from catalog.snapshot import Snapshot
from catalog.store import Catalog
from catalog.vocabulary import NO_LICENCE, Split, Status

PROMOTE, ROLLBACK = "promote", "rollback"
_COLUMNS = ("model_id", "run_id", "method", "path", "snapshot", "config", "code_revision", "metrics", "gate",
            "champion", "bytes", "created_at")  # fmt: skip


@dataclass(frozen=True)
class Model:
    """A row of `models`, its JSON read.

    Attributes:
        started_from: the model that its training began with, where there was one.
        gate: what the gate said when it was last judged, empty before.
    """

    model_id: str
    run_id: str | None
    method: str | None
    path: str
    snapshot: Snapshot
    config: Mapping[str, Any]
    code_revision: str | None
    metrics: Mapping[str, Any]
    gate: Mapping[str, Any]
    champion: bool
    bytes: int | None
    created_at: datetime

    @property
    def started_from(self) -> str | None:
        return self.metrics.get("started_from")

    @property
    def learned_from(self) -> tuple[str, ...]:
        """The models that it has something of: what it began with, and whose adapters taught it."""
        taught_by = (self.metrics.get("taught_by") or "").partition("+")[0]
        return tuple(name for name in (self.started_from, taught_by) if name)

    @property
    def fitted_to(self) -> tuple[str, ...] | None:
        """The clip that it was fitted to, alone, or none where that was a file; None: it is for any."""
        clips = self.config.get("fitted_to")
        return None if clips is None else tuple(clips)

    @property
    def imported_from(self) -> str | None:
        """The folder that it was imported from, where it was trained elsewhere, on no clip of this
        catalogue."""
        return self.config.get("imported_from")


@dataclass(frozen=True)
class Mark:
    """Why a model should not be used any more.

    Attributes:
        clips: that it trained on and that were withdrawn since.
        through: the model that saw them, where this one only learned from it.
        unknown: why it is not known what it saw; "" where it is.
    """

    clips: tuple[str, ...]
    through: str | None = None
    unknown: str = ""

    def sentence(self) -> str:
        """For a person."""
        if self.unknown:
            return f"what it trained on is not known: {self.unknown}"
        count = "1 clip" if len(self.clips) == 1 else f"{len(self.clips)} clips"
        begun = f" (as {self.through}, which it learned from)" if self.through else ""
        return f"trained on {count} whose licence was withdrawn since{begun}"


def models(catalog: Catalog) -> list[Model]:
    """All of them, the newest first."""
    rows = catalog.scan("models", list(_COLUMNS)).to_pylist()
    return sorted(map(_model, rows), key=lambda each: (each.created_at, each.model_id), reverse=True)


def for_any(catalog: Catalog) -> list[Model]:
    """Those that are not fitted to one video, the newest first: one of them is the champion."""
    return [model for model in models(catalog) if model.fitted_to is None]


def model_of(catalog: Catalog, model_id: str) -> Model:
    """One model, by its id or a beginning of it that only one has.

    Raises:
        UnknownModel: none is called that, or several begin like it.
    """
    every = {each.model_id: each for each in models(catalog)}
    if model_id in every:
        return every[model_id]
    found = [name for name in every if model_id and name.startswith(model_id)]
    if len(found) == 1:
        return every[found[0]]
    if found:
        raise UnknownModel(f"{len(found)} models begin with {model_id[:80]!r}: {', '.join(found[:5])}.")
    known = nearest(model_id, every) or "; train one with `video2lora train`"
    raise UnknownModel(f"No model is called {model_id[:80]!r}{known}.")


def champion(catalog: Catalog) -> str | None:
    """The id of the champion, where one was promoted."""
    rows = catalog.scan("models", ["model_id"], col("champion") == True)  # noqa: E712
    return next(iter(rows["model_id"].to_pylist()), None)


def promotion(catalog: Catalog, model_id: str, gate: Mapping[str, Any] | None = None) -> list[Change]:
    """The changes that make a model the champion, and are refused where another one was made it meanwhile.

    Args:
        gate: what the gate said of it, kept in its row.
    """
    rows = catalog.scan("models", ["model_id", "champion", "gate"]).to_pylist()
    wished = []
    for row in rows:
        chosen = row["model_id"] == model_id
        told = gate is not None and chosen
        wished.append(
            {
                "model_id": row["model_id"],
                "champion": True if chosen else row["champion"] and False,
                "gate": json.dumps(gate, sort_keys=True) if told else row["gate"],
            }
        )
    # All rows are named, so that another one's promotion at this moment is seen.
    return [Change("models", wished, seen=rows)]


def promote(catalog: Catalog, model_id: str, author: Author, reason: str = "") -> Applied:
    """Make a model the champion; whether its files are there, the caller knows (`pipeline.champions`).

    Raises:
        UnknownModel: see `model_of`; or it is fitted to one video.
        ChangedMeanwhile: another model was promoted at this moment.
    """
    chosen = model_of(catalog, model_id)
    if chosen.fitted_to is not None:
        raise UnknownModel(
            f"{chosen.model_id} is fitted to one video and is nobody else's model: promote one that"
            " `video2lora train` made."
        )
    payload = {"model": chosen.model_id, "before": champion(catalog), "reason": reason}
    return author.apply(catalog, PROMOTE, promotion(catalog, chosen.model_id), payload)


def before_champion(catalog: Catalog) -> str:
    """The model that `rollback` goes back to.

    Raises:
        NoChampion: none is promoted, or the champion is the first one.
    """
    now, stack = champion(catalog), _stack(catalog)
    if now is None:
        raise NoChampion(
            "No model is the champion: there is nothing to go back from. `models promote ID` makes one."
        )
    if len(stack) < 2 or stack[-1] != now:
        raise NoChampion(
            f"{now} is the first champion: there is none before it to go back to. `models promote ID` takes "
            "another one."
        )
    return stack[-2]


def rollback(catalog: Catalog, author: Author, reason: str = "") -> Applied:
    """Go back to the champion before this one.

    Raises:
        NoChampion: see `before_champion`.
        ChangedMeanwhile: another model was promoted at this moment.
    """
    target = before_champion(catalog)
    payload = {"model": target, "before": champion(catalog), "reason": reason}
    return author.apply(catalog, ROLLBACK, promotion(catalog, target), payload)


def marks(catalog: Catalog) -> dict[str, Mark]:
    """The models that saw withdrawn clips, by id; a model saw what those saw that it has learned from."""
    withdrawn = catalog.scan("clips", ["clip_id"], col("reason_code") == LICENCE_WITHDRAWN)[
        "clip_id"
    ].to_pylist()
    if not withdrawn:
        return {}
    every = {each.model_id: each for each in models(catalog)}
    own = {name: _seen_of(catalog, each, withdrawn) for name, each in every.items()}
    found: dict[str, Mark] = {}
    for name in every:
        passed = [name]  # grows while it is gone through
        for at in passed:
            if own[at].clips or own[at].unknown:
                found[name] = own[at] if at == name else Mark(own[at].clips, at, own[at].unknown)
                break
            passed += [each for each in every[at].learned_from if each in every and each not in passed]
    return found


def trained_on(catalog: Catalog, model: Model, columns: Sequence[str] = ("clip_id",)) -> list[dict[str, Any]]:
    """The clips of a model's snapshot that its settings let train, as they were then.

    Of one that is fitted to a video of the catalogue, that clip as it is now; of one that was imported, none.

    Raises:
        SnapshotMissing: that snapshot is gone.
    """
    if model.imported_from is not None:
        return []
    pairs = model.config.get("pairs", {})
    splits = pairs.get("splits") or [Split.TRAIN]
    read = list(dict.fromkeys(("clip_id", "category_id", "licence", "split", *columns)))
    if model.fitted_to is not None:
        return catalog.get("clips", model.fitted_to, read).to_pylist()
    then, condition = catalog.at(model.snapshot), col("status") == Status.ACCEPTED
    taught = model.config.get("train", {}).get("teacher")
    if taught is None:
        rows = then.scan("clips", read, condition & col("split").isin([str(each) for each in splits]))
        trained = [row for row in rows.to_pylist() if row["category_id"]]
    else:  # each clip by itself, and those alone that have an adapter
        shown = set(then.scan("adapters", ["clip_id"], col("model_id") == taught)["clip_id"].to_pylist())
        rows = then.scan("clips", read, condition)
        rows = rows.filter(pc.is_in(rows["clip_id"], pa.array(sorted(shown), pa.string())))
        trained = [row for row in rows.to_pylist() if row["split"] in (None, *splits)]
    allowed, held_out = pairs.get("licences"), pairs.get("held_out_categories") or ()
    return [
        row
        for row in trained
        if row["category_id"] not in held_out
        and (allowed is None or (row["licence"] or NO_LICENCE) in allowed)
    ]


def _seen_of(catalog: Catalog, model: Model, withdrawn: Sequence[str]) -> Mark:
    try:
        seen = {row["clip_id"] for row in trained_on(catalog, model)}
    except SnapshotMissing as error:
        return Mark((), unknown=str(error))
    return Mark(tuple(sorted(seen.intersection(withdrawn))))


def _stack(catalog: Catalog) -> list[str]:
    """The champions beneath one another, the present one last; what was undone counts for nothing."""
    stack: list[str] = []
    for event in reversed(history(catalog)):
        if event.undone_by or event.act not in (PROMOTE, ROLLBACK) or "models" not in event.changed:
            continue
        if event.act == ROLLBACK:
            stack = stack[:-1]
        if stack[-1:] != [event.payload.get("model")]:
            stack.append(str(event.payload.get("model")))
    return stack


def _model(row: Mapping[str, Any]) -> Model:
    read = {name: json.loads(row[name] or "{}") for name in ("config", "metrics", "gate")}
    snapshot = Snapshot(json.loads(row["snapshot"] or "{}"))
    return Model(**{**row, **read, "snapshot": snapshot, "champion": bool(row["champion"])})
