"""The tables of a catalogue: their columns and keys; `vocabulary.py` has the words that columns hold.

Scores and times are float64: a filter `motion = 0.2` must find the 0.2 that was written, which a float32
would not be.
"""

from __future__ import annotations

import lance
import pyarrow as pa

TEXT, NUMBER, WHOLE, FLAG, BYTES = pa.string(), pa.float64(), pa.int64(), pa.bool_(), pa.large_binary()
TIME = pa.timestamp("us", tz="UTC")
TEXTS, SHAPE, VECTOR, HASHES = (pa.list_(t) for t in (TEXT, pa.int32(), pa.float32(), pa.uint64()))
LEVELS = pa.list_(pa.uint8())

# Lance reads the primary key from this field metadata. Written with the schema it is there from the
# first version on, so no writer can ever meet the table without its key.
_KEY_METADATA = "lance-schema:unenforced-primary-key:position"

KEYS: dict[str, tuple[str, ...]] = {
    "sources": ("source_uri",),
    "clips": ("clip_id",),
    "media": ("clip_id",),
    "categories": ("category_id",),
    "pairs": ("clip_id", "other_id"),
    "features": ("clip_id", "encoder_id"),
    "adapters": ("clip_id", "model_id"),
    "models": ("model_id",),
    "runs": ("run_id",),
    "events": ("event_id",),
    "snapshots": ("name",),
    "requests": ("request_id",),
    "leases": ("name",),
    "decisions": ("decision_id",),
    "holdouts": ("name",),
}

# Media bytes: smaller payloads stay in the data file, larger ones go to packed side files; never in a scan.
BLOBS: dict[str, tuple[str, ...]] = {"media": ("video", "poster", "strip")}

# Text columns that hold one JSON value; `upsert` and `update` also take dicts and lists for them.
JSON_COLUMNS = frozenset(
    {
        "thresholds",
        "proposal",
        "snapshot",
        "versions",
        "config",
        "metrics",
        "gate",
        "payload",
        "changed",
        "references",
        "asked",
        "result",
        "figures",
        "pairs",
    }
)


def _table(name: str, /, **columns: pa.DataType | None) -> pa.Schema:
    """Arrow schema of one table: its key columns, then the others, all nullable; None marks a blob."""
    fields = [
        pa.field(key, TEXT, nullable=False, metadata={_KEY_METADATA: str(position)})
        for position, key in enumerate(KEYS[name], start=1)
    ]
    for column, kind in columns.items():
        fields.append(lance.blob_field(column) if kind is None else pa.field(column, kind))
    return pa.schema(fields)


SCHEMAS: dict[str, pa.Schema] = {
    "sources": _table(
        "sources",
        size=WHOLE,  # bytes
        mtime=NUMBER,  # seconds since 1970, or null where the store has only an etag
        etag=TEXT,
        sha256=TEXT,
        outcome=TEXT,  # Outcome
        reason=TEXT,  # a short sentence
        reason_code=TEXT,  # a slug to count by
        clip_ids=TEXTS,
        label=TEXT,  # category as the data set names it
        caption=TEXT,
        source=TEXT,  # data set or provider
        licence=TEXT,
        licence_evidence=TEXT,
        generator=TEXT,
        window=TEXT,  # the part that counts, as the data set says: seconds:1.5-4 or frames:10-58
        references=TEXT,  # json: [[source_uri, score], ...] that the data set pairs it with
        run_id=TEXT,
        ingested_at=TIME,
    ),
    "clips": _table(
        "clips",
        source_uri=TEXT,
        sha256=TEXT,  # of the source's bytes
        codec=TEXT,
        container=TEXT,
        source_width=WHOLE,
        source_height=WHOLE,
        source_fps=NUMBER,
        source_frames=WHOLE,
        source_duration=NUMBER,  # seconds
        rotation=WHOLE,  # degrees
        sample_aspect_ratio=NUMBER,
        window_start=NUMBER,  # seconds into the source
        window_end=NUMBER,
        time_policy=TEXT,
        fit=TEXT,
        spec_id=TEXT,
        status=TEXT,  # Status
        reason=TEXT,
        reason_code=TEXT,
        motion=NUMBER,
        brightness=NUMBER,
        blur=NUMBER,
        letterbox=NUMBER,
        flicker=NUMBER,
        cut=NUMBER,
        errors=NUMBER,  # share of the frames that the decoder patched up or could not make
        colours=LEVELS,  # mean Y, Cb, Cr on a grid, of the frames that are hashed
        phash=HASHES,  # 64-bit perceptual hashes of frames across the clip
        caption=TEXT,
        category_id=TEXT,
        category_source=TEXT,  # CategorySource
        category_confidence=NUMBER,
        split=TEXT,  # Split
        split_source=TEXT,  # SplitSource
        reviewed_by=TEXT,  # who looked at it and decided, and when
        reviewed_at=TIME,
        source=TEXT,
        generator=TEXT,
        licence=TEXT,
        licence_evidence=TEXT,
        licence_source=TEXT,  # LicenceSource
        claimed_category=TEXT,  # what the data set says by now, where a person said otherwise: to be decided
        claimed_licence=TEXT,
        embedder_id=TEXT,
        duplicate_of=TEXT,
        duplicate_group=TEXT,
        run_id=TEXT,
        created_at=TIME,
        updated_at=TIME,
    ),
    "media": _table("media", video=None, poster=None, bytes=WHOLE, strip=None),
    "categories": _table(
        "categories",
        name=TEXT,
        aliases=TEXTS,
        group=TEXT,
        description=TEXT,
        prototype=VECTOR,
        state=TEXT,  # CategoryState
        held_out=FLAG,  # a person's word that all its clips are out of domain
        merged_into=TEXT,
        thresholds=TEXT,  # json: cosine from which a clip is assigned, its precision and recall, labels
        proposal=TEXT,  # json of a proposed one: suggested name, medoid, samples, nearest category
        size=WHOLE,
        updated_at=TIME,
    ),
    "pairs": _table(
        "pairs",  # what is known of two clips for ever; clip_id < other_id
        verdict=TEXT,  # PairVerdict
        kept=TEXT,  # of two that show the same: the one that a person chose
        said_by=TEXT,
        said_at=TIME,
    ),
    "features": _table(
        "features",
        latents_mean=BYTES,  # raw little-endian bfloat16, shape latents_shape
        latents_std=BYTES,
        latents_shape=SHAPE,  # [F, C, h, w]
        first_frame_latents=BYTES,
        first_frame_shape=SHAPE,  # [V, …], as the backbone encodes it; variant 0 is clean
        text_embedding=BYTES,
        text_shape=SHAPE,  # [T, D]
        caption=TEXT,  # the text that was embedded
        created_at=TIME,
    ),
    "adapters": _table(
        "adapters",
        vector=VECTOR,  # the adapter itself
        projection=VECTOR,  # a few hundred numbers of it, for comparing: a random projection keeps angles
        created_at=TIME,
    ),
    "models": _table(
        "models",
        run_id=TEXT,
        method=TEXT,
        path=TEXT,  # see `catalog.models`
        snapshot=TEXT,  # json
        config=TEXT,  # json
        code_revision=TEXT,
        metrics=TEXT,  # json
        gate=TEXT,  # json, or null before the gate has spoken
        champion=FLAG,
        bytes=WHOLE,
        created_at=TIME,
    ),
    "runs": _table(
        "runs",
        kind=TEXT,
        status=TEXT,  # RunStatus
        started_at=TIME,
        finished_at=TIME,
        config=TEXT,  # json
        code_revision=TEXT,
        snapshot=TEXT,  # json
        metrics=TEXT,  # json
    ),
    "events": _table(
        "events",  # see `catalog.acts`
        act=TEXT,
        actor=TEXT,
        at=TIME,
        state=TEXT,  # EventState
        payload=TEXT,  # json: what was asked for
        changed=TEXT,  # json: rows by table
        changes=pa.list_(BYTES),  # see `catalog.changes`
    ),
    "snapshots": _table(
        "snapshots",  # see `catalog.snapshots`
        versions=TEXT,  # json
        spec_id=TEXT,
        author=TEXT,
        note=TEXT,
        created_at=TIME,
    ),
    "requests": _table(
        "requests",  # see `catalog.requests`
        owner=TEXT,
        idempotency_key=TEXT,
        state=TEXT,  # RequestState
        asked=TEXT,  # json
        step=WHOLE,  # done, of `steps`
        steps=WHOLE,
        worker=TEXT,  # whose claim it is
        heartbeat=TIME,  # when that worker was last heard of
        attempt=WHOLE,  # how many workers have begun it
        result=TEXT,  # json
        error=TEXT,  # a sentence
        revision=WHOLE,  # how often it was written
        created_at=TIME,
        started_at=TIME,
        finished_at=TIME,
    ),
    "leases": _table(
        "leases",  # see `catalog.leases`
        holder=TEXT,  # null: nobody
        fence=WHOLE,  # grows with every holder
        beat=WHOLE,  # grows with every renewal
        seconds=NUMBER,  # that it lasts after a renewal
        work=TEXT,  # what its holder does, in a few words
        renewed_at=TIME,  # by the holder's clock
    ),
    "decisions": _table(
        "decisions",  # see `catalog.decisions`
        verdict=TEXT,  # Verdict
        triggers=TEXTS,  # Trigger
        reasons=TEXTS,  # sentences
        figures=TEXT,  # json: what the gate was given and found
        champion=TEXT,  # model_id of the one that is used meanwhile
        challenger=TEXT,  # model_id
        holdout=TEXT,  # name of a row of holdouts
        looked=FLAG,  # whether the holdout was looked at
        snapshot=TEXT,  # json: what was trained on
        run_id=TEXT,
        evidence=TEXT,  # a page, as a path from the working directory
        actor=TEXT,
        fence=WHOLE,  # of the lease under which it is written
        attempts=WHOLE,  # processes that have worked on it
        times=WHOLE,  # how often it was decided alike, one time after another
        begun_at=TIME,
        decided_at=TIME,
    ),
    "holdouts": _table(
        "holdouts",  # pairs that champion and challenger are held against each other on, for ever the same
        snapshot=TEXT,  # json
        encoder_id=TEXT,
        pairs=TEXT,  # json: rows of pairing.held_out.HeldOutPair
        author=TEXT,
        created_at=TIME,
    ),
}
