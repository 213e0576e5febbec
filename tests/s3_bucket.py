"""A new bucket in the server that stands in for S3."""

import uuid

from pyarrow import fs


def new_bucket(endpoint: str) -> str:
    """Its name, which no other test has."""
    name = f"tests-{uuid.uuid4().hex[:12]}"
    fs.S3FileSystem(endpoint_override=endpoint, allow_bucket_creation=True).create_dir(name)
    return name
