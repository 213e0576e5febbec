"""The Ray side of decoding: a task opens files and has its worker's sandbox normalise them."""

import atexit
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import cache

import pyarrow as pa
import ray.data

from catalog.clip_spec import ClipSpec
from catalog.vocabulary import Outcome
from pipeline.intake.reading import InputChanged, reading
from pipeline.intake.stat import Stat, not_read
from pipeline.sources.source import Source
from pipeline.video.normalise import NormaliseSettings
from pipeline.video.sandbox import Answer, Sandbox
from pipeline.workers.actors import MAX_BLOCKS

BYTES = pa.list_(pa.large_binary())
_INPUT = pa.schema(
    {
        "uri": pa.string(),
        "location": pa.string(),
        "size": pa.int64(),
        "mtime": pa.float64(),
        "etag": pa.string(),
        "window": pa.string(),
    }.items()
)
# What crosses the object store per input: its address, numbers as JSON, compressed videos and pictures.
SCHEMA = pa.schema(
    [
        ("uri", pa.string()),
        ("answer", pa.string()),
        *((name, BYTES) for name in ("videos", "posters", "strips")),
    ]
)


@cache
def _sandbox(spec: str, settings: str) -> Sandbox:
    """One warm decoder per Ray worker process, for as long as that lives."""
    sandbox = Sandbox(ClipSpec.from_json(spec), NormaliseSettings.model_validate_json(settings))
    atexit.register(sandbox.close)
    return sandbox


def _normalise_batch(batch: pa.Table, spec: str, settings: str, endpoint: str | None) -> pa.Table:
    """[uri, location, size, mtime, etag, window] to `SCHEMA`, one row for each."""
    sandbox = _sandbox(spec, settings)
    made = [_normalise_one(sandbox, endpoint, **row) for row in batch.to_pylist()]
    return pa.Table.from_pylist(made, schema=SCHEMA)


def _normalise_one(
    sandbox: Sandbox, endpoint: str | None, uri: str, location: str, window: str | None, **known
) -> dict:
    try:
        with reading(location, Stat(**known), endpoint) as file:
            answer = sandbox.normalise(file, window)
    except InputChanged:
        answer = Answer(Outcome.QUARANTINED, "changed", "The file changed while it was read; run again.")
    except OSError as error:
        answer = Answer(Outcome.QUARANTINED, *not_read(error))
    numbers = {name: getattr(answer, name) for name in ("outcome", "code", "reason", "facts")}
    numbers |= {name: getattr(answer, name) for name in ("seconds", "cpu_seconds", "peak_rss_mb")}
    clips = [{"key": c.key, "start": c.start, "end": c.end, "scores": c.scores} for c in answer.clips]
    return {
        "uri": uri,
        "answer": json.dumps(numbers | {"clips": clips}),
        "videos": [clip.video for clip in answer.clips],
        "posters": [clip.poster for clip in answer.clips],
        "strips": [clip.strip for clip in answer.clips],
    }


def normalise_all(
    sources: Sequence[tuple[Source, Stat]],
    spec: ClipSpec,
    settings: NormaliseSettings,
    batch_files: int,
    memory: int,
    endpoint: str | None = None,
) -> Iterator[pa.Table]:
    """Tables of `SCHEMA` as Ray tasks finish, a few inputs each, in no promised order.

    Args:
        sources: input, and what it was when its content was hashed.
        memory: bytes that a task occupies, its sandbox included.
        endpoint: the store of inputs in S3.
    """
    if not sources:
        return
    size = max(batch_files, -(-len(sources) // MAX_BLOCKS))
    lines = [
        {"uri": source.uri, "location": source.location, "window": source.window, **asdict(known)}
        for source, known in sources
    ]
    parts = [pa.Table.from_pylist(lines[at : at + size], schema=_INPUT) for at in range(0, len(lines), size)]
    made = ray.data.from_arrow(parts).map_batches(
        _normalise_batch,
        fn_kwargs={"spec": spec.to_json(), "settings": settings.model_dump_json(), "endpoint": endpoint},
        batch_format="pyarrow",
        batch_size=batch_files,
        num_cpus=1,
        memory=memory,
    )
    made.context.enable_progress_bars = False
    yield from made.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
