"""A model's files are found again after the working directory, the catalogue or both were moved."""

import shutil
from pathlib import Path
from uuid import uuid4

import boto3
import pytest

from catalog.errors import CatalogError, ModelMissing
from catalog.models import keep_model, model_folder
from catalog.store import Catalog


def make_model(folder: Path) -> Path:
    (folder / "deep").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"tensors" * 1000)
    (folder / "deep" / "facts.json").write_text("{}")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {f.relative_to(folder).as_posix(): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


@pytest.mark.parametrize("moved", ["", "catalog", "models"])
def test_a_model_is_found_where_it_is_after_all_the_catalogue_or_the_models_moved(tmp_path, spec, moved):
    work, elsewhere = tmp_path / "place", tmp_path / "else" / "where"
    catalog = Catalog.create(work / "catalog", spec)
    path = keep_model(catalog, make_model(work / "models" / "m1"))
    assert not Path(path).is_absolute()
    (elsewhere / moved).parent.mkdir(parents=True)
    shutil.move(work / moved, elsewhere / moved)
    catalog = Catalog.open((work if moved == "models" else elsewhere) / "catalog")
    beside = (work if moved == "catalog" else elsewhere) / "models"
    assert contents(model_folder(catalog, path, beside)).keys() == {"model.safetensors", "deep/facts.json"}


def test_a_model_whose_files_are_gone_is_a_sentence_with_both_places(tmp_path, spec):
    catalog = Catalog.create(tmp_path / "catalog", spec)
    path = keep_model(catalog, make_model(tmp_path / "models" / "m1"))
    shutil.rmtree(tmp_path / "models")
    with pytest.raises(ModelMissing, match=r"model m1 are neither in .*/models/m1 nor in .*/place/models/m1"):
        model_folder(catalog, path, tmp_path / "place" / "models")


def test_a_catalogue_in_a_bucket_has_its_models_beside_it(tmp_path, spec, s3_endpoint, s3_options):
    name = f"models-{uuid4().hex[:12]}"
    boto3.client("s3", endpoint_url=s3_endpoint, region_name="us-east-1").create_bucket(Bucket=name)
    catalog = Catalog.create(f"s3://{name}/team/catalog", spec, storage_options=s3_options)
    made = make_model(tmp_path / "here" / "m1")
    path = keep_model(catalog, made)
    there = model_folder(catalog, path, tmp_path / "other-machine" / "models")
    assert there == tmp_path / "other-machine" / "models" / "m1"
    assert contents(there) == contents(made)
    assert [entry.name for entry in there.parent.iterdir()] == ["m1"]
    with pytest.raises(ModelMissing, match=r"model m2 cannot be fetched from s3://.*/team/catalog/models/m2"):
        model_folder(catalog, "models/m2", tmp_path / "other-machine" / "models")
    lost = Catalog(f"s3://{name}-lost/catalog", spec, s3_options)
    with pytest.raises(CatalogError, match="cannot be copied"):
        keep_model(lost, made)
