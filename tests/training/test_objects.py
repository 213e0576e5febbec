"""Objects in a real S3 server, and what becomes of them when the way there is bad."""

import boto3
import pytest

from tests.faulty_store import BUSY, GONE, RESET, SLOW, now_and_then, read_only
from tests.s3_bucket import new_bucket
from training import objects
from training.objects import Faltered, StoreError, fetch, listed, put, read, remove


@pytest.fixture
def bucket(store, s3_endpoint) -> str:
    return f"s3://{new_bucket(s3_endpoint)}"


def test_what_is_put_is_read_listed_fetched_and_removed(bucket, tmp_path):
    (tmp_path / "file").write_bytes(bytes(range(256)) * 5000)
    put(tmp_path / "file", f"{bucket}/a/file")
    put(b"", f"{bucket}/a/b/empty")
    assert {name: info.size for name, info in listed(f"{bucket}/a").items()} == {
        "file": 1_280_000,
        "b/empty": 0,
    }
    fetch(f"{bucket}/a/file", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "file").read_bytes()
    remove(f"{bucket}/a/file")
    remove(f"{bucket}/a/file")
    assert read(f"{bucket}/a/file") is None and read(f"{bucket}/a/b/empty") == b""
    assert listed(f"{bucket}/nothing/here") == {}


def test_errors_slow_answers_and_resets_lose_no_object_and_alter_none(store, bucket):
    store.fault = now_and_then
    data = {f"{bucket}/{number}": bytes([number]) * (1000 * number + 1) for number in range(7)}
    for uri, content in data.items():
        put(content, uri)
    assert {uri: read(uri) for uri in data} == data
    assert all(store.met[what] > 0 for what in (BUSY, SLOW, RESET))


def test_a_bucket_that_turns_read_only_is_one_sentence_and_keeps_what_it_has(store, bucket):
    put(b"before", f"{bucket}/a")
    store.fault = read_only
    with pytest.raises(StoreError, match=r"refuses access to .*what they may read and write"):
        put(b"after", f"{bucket}/a")
    assert read(f"{bucket}/a") == b"before"


def test_a_bucket_that_is_not_there_is_one_sentence(store):
    with pytest.raises(StoreError, match="There is no bucket 'no-such-bucket-here'"):
        put(b"x", "s3://no-such-bucket-here/a")


def test_a_store_that_stays_away_is_given_up_after_a_while(store, bucket, monkeypatch):
    monkeypatch.setattr(objects, "_TRIES", 1)
    monkeypatch.setattr(objects, "_REQUESTS", 1)
    store.fault = lambda *_: GONE
    with pytest.raises(Faltered, match=r"cannot be reached|failed on"):
        put(b"x", f"{bucket}/a")
    store.fault = lambda *_: "pass"
    assert read(f"{bucket}/a") is None


def test_a_key_that_leads_out_of_the_folder_it_would_be_copied_into_is_refused(bucket, s3_endpoint):
    put(b"fine", f"{bucket}/run/samples/a.mp4")
    s3 = boto3.client("s3", endpoint_url=s3_endpoint)
    s3.put_object(Bucket=bucket.removeprefix("s3://"), Key="run/samples/../../../evil", Body=b"x")
    with pytest.raises(StoreError, match="leads out of its folder"):
        listed(f"{bucket}/run")
