"""Keys through a pool of Ray actors, results back in batches: how embedding and encoding are spread."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import pyarrow as pa
import ray.data
from ray.data import ActorPoolStrategy

from pipeline.workers.quiet import quiet
from pipeline.workers.room import require_devices

# More blocks than this cost the scheduler more than they give in balance.
MAX_BLOCKS = 2_000


def map_keys(
    keys: Sequence[str],
    actor: type,
    arguments: dict,
    *,
    batch_size: int,
    actors: int,
    cpus: float,
    gpus: float = 0.0,
    setting: str,
) -> Iterator[pa.Table]:
    """Yield what `actor` makes of the keys, a block at a time, as soon as it is made, in no promised order.

    Args:
        keys: what each actor call takes `batch_size` of; only keys travel, the actor fetches what they name.
        actor: a class; `__init__(**arguments)` loads, `__call__(pa.Table[key]) -> pa.Table` maps one batch.
        actors: size of the pool, at most one per block.
        cpus, gpus: what one actor occupies.
        setting: the section of the profile that says so.

    Raises:
        NoRoom: no machine has that.
    """
    if not keys:
        return
    require_devices(cpus, gpus, setting)
    blocks = min(MAX_BLOCKS, -(-len(keys) // batch_size))
    rows = quiet(ray.data.from_blocks([pa.table({"key": part}) for part in _parts(sorted(keys), blocks)]))
    made = rows.map_batches(
        actor,
        fn_constructor_kwargs=arguments,
        batch_size=batch_size,
        batch_format="pyarrow",
        zero_copy_batch=True,
        compute=ActorPoolStrategy(size=min(actors, blocks)),
        num_cpus=cpus,
        num_gpus=gpus,
    )
    yield from made.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)


def gather(tables: Iterable[pa.Table], rows: int, size: int = 2**30) -> Iterator[pa.Table]:
    """Join tables until they have `rows` rows or `size` bytes, or are the last: one commit each."""
    held: list[pa.Table] = []
    for table in tables:
        held.append(table)
        if sum(part.num_rows for part in held) >= rows or sum(part.nbytes for part in held) >= size:
            yield pa.concat_tables(held)
            held = []
    if any(part.num_rows for part in held):
        yield pa.concat_tables(held)


def _parts(keys: Sequence[str], count: int) -> list[Sequence[str]]:
    bounds = [len(keys) * i // count for i in range(count + 1)]
    return [keys[a:b] for a, b in pairwise(bounds)]
