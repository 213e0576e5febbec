"""Sources in S3, against a real server that speaks it."""

import json
import urllib.request
from uuid import uuid4

import boto3
import pytest

from catalog.clip_spec import ClipSpec
from catalog.store import Catalog
from catalog.vocabulary import Outcome
from pipeline.errors import PipelineError
from pipeline.ingest import ingest
from pipeline.intake.settings import IngestSettings
from pipeline.sources.survey import discover, survey
from pipeline.video.limits import DecodeLimits
from pipeline.video.normalise import NormaliseSettings
from tests.pipeline.video.video_files import moving, write

SPEC = ClipSpec(num_frames=49, fps=8, height=64, width=96)


@pytest.fixture
def bucket(s3_endpoint):
    """A new bucket; its name, and what puts an object into it."""
    client = boto3.client("s3", endpoint_url=s3_endpoint, region_name="us-east-1")
    name = f"videos-{uuid4().hex[:12]}"
    client.create_bucket(Bucket=name)

    def put(key: str, data: bytes) -> None:
        client.put_object(Bucket=name, Key=key, Body=data)

    return name, put


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """A function of a seed that gives a small MP4's bytes."""
    folder = tmp_path_factory.mktemp("made")
    return lambda seed: write(folder / f"{seed}.mp4", moving(30, seed=seed)).read_bytes()


@pytest.fixture
def settings(s3_endpoint):
    return IngestSettings(s3_endpoint=s3_endpoint)


def fates(catalog: Catalog, name: str) -> dict:
    rows = catalog.scan("sources", ["source_uri", "outcome", "reason_code", "reason"]).to_pylist()
    for row in rows:
        assert row["outcome"] in ("accepted", "duplicate") or row["reason"].endswith(".")
    return {
        row["source_uri"].removeprefix(f"s3://{name}/"): (row["outcome"], row["reason_code"]) for row in rows
    }


def test_a_prefix_is_ingested_and_a_second_run_opens_nothing(
    bucket, video, settings, s3_endpoint, tmp_path, ray_cluster
):
    name, put = bucket
    put("effects/melt/a.mp4", video(1))
    put("effects/crush/b.mp4", video(2))
    put("effects/crush/copy.mp4", video(1))
    put("other/c.mp4", video(3))
    catalog = Catalog.create(tmp_path / "catalog", SPEC)
    sources = discover(f"s3://{name}/effects", endpoint=s3_endpoint)
    assert [source.label for source in sources] == ["crush", "crush", "melt"]
    first = ingest(sources, catalog, settings)
    assert fates(catalog, name) == {
        "effects/crush/b.mp4": ("accepted", None),
        "effects/crush/copy.mp4": ("accepted", None),
        "effects/melt/a.mp4": ("duplicate", "label_conflict"),
    }
    row = catalog.get("sources", [f"s3://{name}/effects/crush/b.mp4"]).to_pylist()[0]
    assert row["etag"]
    assert row["mtime"] is None
    assert row["size"] == len(video(2))
    assert first.counts["decoded"] == 2

    put("effects/crush/b.mp4", video(2))  # written again, the same bytes
    again = ingest(discover(f"s3://{name}/effects/", endpoint=s3_endpoint), catalog, settings)
    assert (again.counts["unchanged"], again.counts["decoded"]) == (3, 0)
    put("effects/crush/b.mp4", video(4))
    changed = ingest(discover(f"s3://{name}/effects", endpoint=s3_endpoint), catalog, settings)
    assert (changed.counts["unchanged"], changed.counts["decoded"]) == (2, 1)
    assert catalog.count("clips") == 3


def test_what_may_hold_videos_in_a_bucket_is_named(bucket, video, s3_endpoint):
    name, put = bucket
    put("melt/a.mp4", video(1))
    put("0.tar", b"x")
    put("data/0.parquet", b"x")
    found = dict(survey(f"s3://{name}", endpoint=s3_endpoint).skipped)
    assert "copy it here first" in found[f"s3://{name}/0.tar"]
    assert "is to be copied here" in found[f"s3://{name}/data/0.parquet"]


def test_odd_keys_end_as_rows_and_cost_nothing_else(
    bucket, video, settings, s3_endpoint, tmp_path, ray_cluster
):
    name, put = bucket
    put("melt/ünï çöde'\"%20?#.mp4", video(1))
    put("melt/back\\slash.mp4", video(2))
    put("melt/../up.mp4", video(3))
    put("melt//empty part.mp4", video(4))
    put("melt/zero.mp4", b"")
    put("melt/folder.mp4/", b"")
    put("melt/page.mp4", b"<html>not here</html>")
    put("melt/list.mp4", f"#EXTM3U\n#EXTINF:1\ns3://{name}/melt/zero.mp4\n".encode())
    put("melt/readme.md", b"no input")
    catalog = Catalog.create(tmp_path / "catalog", SPEC)
    report = ingest(discover(f"s3://{name}", endpoint=s3_endpoint), catalog, settings)
    assert fates(catalog, name) == {
        "melt/ünï çöde'\"%20?#.mp4": ("accepted", None),
        "melt/back\\slash.mp4": ("accepted", None),
        "melt/../up.mp4": ("quarantined", "missing"),
        "melt//empty part.mp4": ("quarantined", "unreachable"),
        "melt/zero.mp4": ("rejected", "empty_file"),
        "melt/folder.mp4/": ("quarantined", "unreachable"),
        "melt/page.mp4": ("rejected", "not_a_video"),
        "melt/list.mp4": ("rejected", "refers_elsewhere"),
    }
    assert report.counts["found"] == sum(report.counts[name] for name in Outcome) == 8


def test_an_object_over_the_size_limit_is_not_fetched(bucket, video, s3_endpoint, tmp_path, ray_cluster):
    name, put = bucket
    put("big.mp4", video(1))
    limits = DecodeLimits(max_bytes=1000)
    settings = IngestSettings(s3_endpoint=s3_endpoint, normalise=NormaliseSettings(limits=limits))
    catalog = Catalog.create(tmp_path / "catalog", SPEC)
    ingest(discover(f"s3://{name}/big.mp4", endpoint=s3_endpoint), catalog, settings)
    assert fates(catalog, name) == {"big.mp4": ("rejected", "too_large")}
    assert catalog.scan("sources", ["sha256"]).to_pylist() == [{"sha256": None}]


def test_a_catalogue_in_s3_takes_an_ingest_and_a_repeat(
    bucket, video, settings, s3_endpoint, s3_options, ray_cluster
):
    name, put = bucket
    put("in/melt/a.mp4", video(1))
    catalog = Catalog.create(f"s3://{name}/catalog", SPEC, storage_options=s3_options)
    sources = discover(f"s3://{name}/in", endpoint=s3_endpoint)
    assert ingest(sources, catalog, settings).counts["accepted"] == 1
    opened = Catalog.open(f"s3://{name}/catalog", storage_options=s3_options)
    (clip,) = opened.scan("clips", ["clip_id", "category_id"]).to_pylist()
    assert clip["category_id"] == "melt"
    assert opened.videos([clip["clip_id"]])[clip["clip_id"]][4:8] == b"ftyp"
    assert ingest(sources, opened, settings).counts["unchanged"] == 1


def test_a_manifest_in_s3_names_its_objects_and_no_others(bucket, s3_endpoint):
    name, put = bucket
    put("set/clips/a.mp4", b"x")
    put("secret.mp4", b"x")
    put(
        "set/list.jsonl", json.dumps({"path": "clips/a.mp4", "caption": "it melts", "label": "melt"}).encode()
    )
    found = survey(f"s3://{name}/set/list.jsonl", endpoint=s3_endpoint)
    (source,) = found.sources
    assert (source.uri, source.label, source.caption) == (
        f"s3://{name}/set/clips/a.mp4",
        "melt",
        "it melts",
    )
    put("set/bad.csv", b"path\nclips/a.mp4\n../secret.mp4\n")
    with pytest.raises(PipelineError, match=r"bad\.csv, line 3: .*leads outside"):
        survey(f"s3://{name}/set/bad.csv", endpoint=s3_endpoint)


def test_a_data_set_in_s3_is_recognised(bucket, s3_endpoint):
    name, put = bucket
    put("omni/Melt-it/a.mp4", b"x")
    put("omni/VFX_data.json", json.dumps([{"file_path": "Melt-it/a.mp4", "text": "t"}]).encode())
    found = survey(f"s3://{name}/omni", endpoint=s3_endpoint)
    assert found.layout == "omni-vfx"
    assert [(source.label, source.caption) for source in found.sources] == [("Melt-it", "t")]


@pytest.mark.parametrize(
    ("location", "says"),
    [
        ("s3://no-such-bucket-here/a", "There is no bucket 'no-such-bucket-here'"),
        ("s3://no-such-bucket-here", "There is no bucket 'no-such-bucket-here'"),
        ("s3://{name}/nothing/here", "There is nothing at"),
        ("s3://{name}/none.mp4", "There is nothing at"),
        ("s3://", "names a bucket"),
        ("s3://{name}/text", "holds no videos"),
    ],
)
def test_a_bad_address_is_one_sentence(bucket, s3_endpoint, location, says):
    name, put = bucket
    put("text/readme.md", b"x")
    with pytest.raises(PipelineError, match=says) as caught:
        survey(location.format(name=name), endpoint=s3_endpoint)
    assert len(str(caught.value).splitlines()) == 1


def let_in(endpoint: str, requests: str) -> None:
    """Tell the server how many requests it answers before it asks for credentials."""
    told = urllib.request.Request(
        f"{endpoint}/moto-api/reset-auth", requests.encode(), {"Content-Type": "text/plain"}, method="POST"
    )
    urllib.request.urlopen(told).close()


def test_a_store_that_refuses_or_is_not_there_is_one_sentence(bucket, s3_endpoint, monkeypatch):
    name, put = bucket
    put("a.mp4", b"x")
    # From now on the server asks who is there, and knows nobody.
    let_in(s3_endpoint, "0")
    try:
        with pytest.raises(PipelineError, match=r"refuses access to .*AWS_ACCESS_KEY_ID") as caught:
            survey(f"s3://{name}", endpoint=s3_endpoint)
        assert len(str(caught.value).splitlines()) == 1
    finally:
        let_in(s3_endpoint, "Infinity")
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
    assert len(discover(f"s3://{name}")) == 1
    with pytest.raises(PipelineError, match="cannot be reached"):
        survey(f"s3://{name}", endpoint="http://127.0.0.1:9")
