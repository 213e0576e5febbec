import pytest

from catalog.acts import undo
from catalog.clip_spec import ClipSpec
from catalog.store import Catalog
from pipeline.curation.policy import Bounds, QualityPolicy
from pipeline.curation.rejudge import rejudge
from pipeline.sources.survey import discover
from tests.pipeline.in_process import store
from tests.pipeline.video.video_files import moving, write

SPEC = ClipSpec(num_frames=49, fps=8, height=64, width=96)
STRICT = QualityPolicy(scores={"motion": Bounds(min=0.9)})
STRICT_BUT_CRUSH = QualityPolicy(
    scores={"motion": Bounds(min=0.9)}, categories={"Crush it": {"motion": Bounds(min=0.0)}}
)


@pytest.fixture
def catalog(tmp_path):
    for label, seed in (("melt", 1), ("crush", 2)):
        write(tmp_path / "videos" / label / f"{seed}.mp4", moving(30, seed=seed))
    catalog = Catalog.create(tmp_path / "catalog", SPEC)
    store(catalog, discover(tmp_path / "videos"))
    for video in (tmp_path / "videos").rglob("*.mp4"):
        video.unlink()  # nothing is read again
    return catalog


def standing(catalog):
    rows = catalog.scan("clips", ["category_id", "status", "reason_code"]).to_pylist()
    return {row["category_id"]: (row["status"], row["reason_code"]) for row in rows}


def outcomes(catalog):
    rows = catalog.scan("sources", ["label", "outcome", "reason_code"]).to_pylist()
    return {row["label"]: (row["outcome"], row["reason_code"]) for row in rows}


def test_a_stricter_policy_rejects_and_a_milder_one_takes_back(catalog):
    before = standing(catalog)
    assert rejudge(catalog, STRICT).reasons == {"motion_low": 2}
    assert set(standing(catalog).values()) == {("rejected", "motion_low")}
    assert rejudge(catalog, QualityPolicy()).counts["accepted"] == 2
    assert standing(catalog) == before


def test_a_category_may_have_bounds_of_its_own(catalog):
    rejudge(catalog, STRICT_BUT_CRUSH)
    assert standing(catalog) == {"melt": ("rejected", "motion_low"), "crush": ("accepted", None)}


def test_the_outcome_of_the_sources_follows(catalog):
    rejudge(catalog, STRICT_BUT_CRUSH)
    assert outcomes(catalog) == {"melt": ("rejected", "motion_low"), "crush": ("accepted", None)}
    rejudge(catalog, QualityPolicy())
    assert set(outcomes(catalog).values()) == {("accepted", None)}


def test_judging_again_by_the_same_policy_changes_nothing(catalog):
    rejudge(catalog, STRICT)
    before = catalog.versions()
    assert rejudge(catalog, STRICT).event is None
    assert catalog.versions() == before


def test_a_judgement_can_be_taken_back(catalog):
    before = standing(catalog)
    event = rejudge(catalog, STRICT).event
    assert undo(catalog, event, actor="somebody").changed["clips"] == 2
    assert standing(catalog) == before
    assert set(outcomes(catalog).values()) == {("accepted", None)}
