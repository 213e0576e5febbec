"""The data sets that an export can be, each as its tool documents it.

A writer puts everything but the videos into a folder; `file_of` says where each video goes.
"""

import io
import json
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from catalog.clip_spec import ClipSpec

# Clips of a shard of WebDataset: half a gigabyte at half a megabyte each.
_PER_SHARD = 1_000
# What of a clip stands beside its file in every format that has room for it.
SAID = ("label", "caption", "split", "licence", "licence_evidence", "source", "generator", "clip_id")

Videos = Iterator[tuple[dict, bytes]]


@dataclass(frozen=True)
class Format:
    """A way to write a data set.

    Attributes:
        folder: where videos lie in it.
        trains: whether it is a trainer's own: then it holds what trains, and nothing out of domain.
        write: writes what is said of the clips.
        pack: writes the videos too, instead of a file each.
    """

    folder: str
    trains: bool
    write: Callable[[Path, Sequence[dict], ClipSpec], None]
    pack: Callable[[Path, Videos], None] | None = None

    def file_of(self, row: dict) -> str:
        """Where a clip lies, from the data set's folder."""
        return f"{self.folder}/{row['clip_id']}.mp4".lstrip("/")


def _parquet(top: Path, rows: Sequence[dict], spec: ClipSpec) -> None:
    """`metadata.parquet` beside the videos, one row each."""
    pq.write_table(pa.Table.from_pylist(list(rows)), top / "metadata.parquet", compression="zstd")


def _metadata_jsonl(top: Path, rows: Sequence[dict], spec: ClipSpec) -> None:
    """`metadata.jsonl` with `file_name`, for Hugging Face's VideoFolder."""
    _write_lines(top / "metadata.jsonl", rows)


def _finetrainers(top: Path, rows: Sequence[dict], spec: ClipSpec) -> None:
    """The same, in which every `caption` is a text: finetrainers asks each how it begins."""
    _write_lines(top / "metadata.jsonl", [row | {"caption": row["caption"] or ""} for row in rows])


def _videox_fun(top: Path, rows: Sequence[dict], spec: ClipSpec) -> None:
    """`metadata.json`: a list of `file_path`, `text`, `type`, and the size where it is known."""
    size = {"type": "video", "width": spec.width, "height": spec.height}
    entries = []
    for row in rows:
        said = {name: row[name] for name in SAID if name not in ("label", "caption")}
        named = {"file_path": row["file_name"], "text": row["caption"] or "", **size}
        entries.append({**named, "category": row["label"], **said})
    (top / "metadata.json").write_text(json.dumps(entries, indent=1, ensure_ascii=False), "utf-8")


def _fiftyone(top: Path, rows: Sequence[dict], spec: ClipSpec) -> None:
    """FiftyOneDataset, in its form that needs no documents of a database: `samples.json` and `frames/`."""
    (top / "frames").mkdir()
    (top / "frames" / "none.json").write_text('{"frames": {}}', "utf-8")
    samples = []
    for row in rows:
        label = {"_cls": "Classification", "tags": [], "label": row["label"]} if row["label"] else None
        said = {name: row[name] for name in SAID if name != "label"}
        sample = {
            "filepath": row["file_name"],
            "tags": [row["split"]] if row["split"] else [],
            "metadata": None,
        }
        samples.append({**sample, "frames": "frames/none.json", "ground_truth": label, **said})
    (top / "metadata.json").write_text(json.dumps({"media_type": "video"}), "utf-8")
    (top / "samples.json").write_text(json.dumps({"samples": samples}, ensure_ascii=False), "utf-8")


def _nothing(top: Path, rows: Sequence[dict], spec: ClipSpec) -> None:
    """What is said lies in the shards."""


def _shards(top: Path, videos: Videos) -> None:
    """`shard-000000.tar`, …: of every clip KEY.mp4, KEY.txt (the caption) and KEY.json, one after another."""
    shard: tarfile.TarFile | None = None
    try:
        for number, (row, video) in enumerate(videos):
            if number % _PER_SHARD == 0:
                if shard is not None:
                    shard.close()
                shard = tarfile.open(top / f"shard-{number // _PER_SHARD:06d}.tar", "w")  # noqa: SIM115
            assert shard is not None
            key = row["clip_id"]
            said = json.dumps({name: row[name] for name in SAID}, ensure_ascii=False).encode()
            for suffix, data in (("mp4", video), ("txt", (row["caption"] or "").encode()), ("json", said)):
                entry = tarfile.TarInfo(f"{key}.{suffix}")
                entry.size = len(data)
                shard.addfile(entry, io.BytesIO(data))
    finally:
        if shard is not None:
            shard.close()


def _write_lines(path: Path, rows: Sequence[dict]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps({n: row[n] for n in ("file_name", *SAID)}, ensure_ascii=False) + "\n")


FORMATS: dict[str, Format] = {
    "parquet": Format("clips", False, _parquet),
    "huggingface": Format("data", False, _metadata_jsonl),
    "finetrainers": Format("videos", True, _finetrainers),
    "videox-fun": Format("train", True, _videox_fun),
    "webdataset": Format("", False, _nothing, _shards),
    "fiftyone": Format("data", False, _fiftyone),
}
