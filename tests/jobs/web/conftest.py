"""A served catalogue of twelve clips in four categories, small enough for a test and like a real one."""

import copy
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from starlette.testclient import TestClient

from catalog.requests import unfinished
from catalog.store import Catalog
from catalog.vectors import ensure_vectors
from jobs import troubles
from jobs.web.access import Access
from jobs.web.app import create_app
from jobs.web.site import Site
from pipeline.embedding.descriptor import descriptor_size
from pipeline.embedding.settings import EmbedSettings
from pipeline.find import LazyEmbedder
from pipeline.serving.desk import Desk
from pipeline.serving.dispatch import Dispatcher
from pipeline.serving.replicas import Work
from pipeline.serving.settings import ServeSettings
from pipeline.serving.worker import Worker
from pipeline.studio import Studio
from pipeline.video.transcode import encode_poster
from tests.pipeline.made import LOOKS, SPEC, frames, make_catalog
from training.backbones.settings import BackboneSettings
from training.release import shipped_model
from training.settings import GenerateSettings

# Of a descriptor whose frames have vectors of eight.
DIM = descriptor_size(8)
HERE = "http://localhost"
# The vectors are made up: no model has to be loaded, and none would know words of them.
MADE = EmbedSettings(model="tiny", pretrained="random:0")


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Catalog:
    """Three clips of each look; the last look has no label, and its clips no category."""
    folder = tmp_path_factory.mktemp("served")
    labels = {look: None if look == "glow" else look for look in LOOKS}
    clips = {f"{look}{number}": (look, labels[look]) for number in range(3) for look in LOOKS}
    catalog = make_catalog(folder, clips)
    ensure_vectors(catalog, "clips", "embedding", DIM, "made")
    rng = np.random.default_rng(0)
    rows = []
    for number, (clip, (look, label)) in enumerate(sorted(clips.items())):
        vector = np.eye(DIM)[list(LOOKS).index(look)] + rng.normal(0, 0.015, DIM)
        rows.append(
            {
                "clip_id": clip,
                "category_id": label,
                "category_source": "label" if label else None,
                "category_confidence": None if label is None else 0.5 + number / 100,
                "split": "val" if clip.endswith("2") else "train",
                "licence": "cc0" if number % 2 else None,
                "source": "made",
                "motion": number / 100,
                "embedding": (vector / np.linalg.norm(vector)).astype(np.float32).tolist(),
                "embedder_id": "made",
                "created_at": datetime(2026, 11, 1, tzinfo=UTC) + timedelta(hours=number),
            }
        )
    catalog.update("clips", rows)
    catalog.update(
        "media",
        [
            {"clip_id": clip, "poster": encode_poster(frames(look, number)[24])}
            for number, (clip, (look, _)) in enumerate(clips.items())
        ],
    )
    categories = [
        {
            "category_id": look,
            "name": look,
            "aliases": [],
            "state": "active",
            "size": 3,
            "prototype": np.eye(DIM)[number].tolist(),
        }
        for number, look in enumerate(LOOKS)
        if look != "glow"
    ]
    catalog.upsert("categories", categories)
    return catalog


@pytest.fixture
def catalog(made, tmp_path) -> Catalog:
    """A copy that a test may change."""
    shutil.copytree(made.uri, tmp_path / "catalog")
    return Catalog.open(tmp_path / "catalog")


def site_for(catalog: Catalog, folder, access: Access | None = None, desk: Desk | None = None) -> Site:
    access = access or Access("s" * 32, author="ada")
    return Site(
        catalog, "demo", folder / "pictures", access, LazyEmbedder(MADE), desk or desk_for(catalog, folder)
    )


def desk_for(catalog: Catalog, folder, fresh: bool = False, **settings) -> Desk:
    """Takes requests in for the pocket model, in two steps; started, its one worker is of this process.

    Args:
        fresh: the worker loads the model itself; else it has one that a test before it loaded.
    """
    work = Work(
        catalog,
        folder / "requests",
        folder / "models",
        ServeSettings(**{"claim_seconds": 5, **settings}),
        BackboneSettings.model_validate(shipped_model().facts["backbone"]),
        GenerateSettings(steps=2, guidance=1.0),
        "pocket",
        troubles.sentence,
    )
    return Desk(work, Dispatcher(catalog, lambda: here(work, fresh), work.settings.patience))


@contextmanager
def here(work: Work, fresh: bool):
    worker = work.worker()
    if not fresh:
        worker._studio = copy.copy(loaded())
        worker._studio.catalog = work.catalog
    yield Here(worker)


@lru_cache
def loaded() -> Studio:
    """The pocket model, read once: weights that no request changes."""
    with TemporaryDirectory() as folder:
        return Studio(Catalog.create(f"{folder}/catalog", SPEC), shipped_model())


@dataclass(frozen=True)
class Here:
    """A worker in this process, as Ray Serve's replicas have it in theirs."""

    worker: Worker
    places: int = 1

    def work_off(self, request_id: str) -> str | None:
        return self.worker.work_off(request_id)


@contextmanager
def serving(desk: Desk):
    """The desk with its worker at work."""
    desk.dispatcher.start()
    try:
        yield desk
    finally:
        desk.dispatcher.stop()


@pytest.fixture(scope="session")
def reading(made, tmp_path_factory):
    """A client of the catalogue that nobody changes."""
    site = site_for(made, tmp_path_factory.mktemp("site"))
    return TestClient(create_app(site), HERE, follow_redirects=False)


@pytest.fixture
def client(catalog, tmp_path):
    """A client of a catalogue of its own, on loopback: a curator."""
    return TestClient(create_app(site_for(catalog, tmp_path)), HERE, follow_redirects=False)


@pytest.fixture
def desk(catalog, tmp_path) -> Desk:
    """Takes requests in; no worker is at work."""
    return desk_for(catalog, tmp_path)


@pytest.fixture
def asking(catalog, tmp_path, desk) -> TestClient:
    """A client of the desk."""
    return TestClient(create_app(site_for(catalog, tmp_path, desk=desk)), HERE, follow_redirects=False)


@pytest.fixture(scope="session")
def refusing(made, tmp_path_factory) -> TestClient:
    """A client of a desk that is asked for nothing but what it refuses."""
    folder = tmp_path_factory.mktemp("refusing")
    desk = desk_for(made, folder, per_minute=10_000)
    yield TestClient(create_app(site_for(made, folder, desk=desk)), HERE, follow_redirects=False)
    assert unfinished(made) == []
