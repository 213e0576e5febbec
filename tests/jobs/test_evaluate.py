"""`video2lora evaluate`: clips of the pocket model and of another one, measured, compared, chosen between."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from catalog.errors import SnapshotMissing
from catalog.models import keep_model
from catalog.snapshots.named import NOW, take
from jobs.errors import JobError
from jobs.evaluate import choices_job, evaluate_job
from jobs.workspace import Workspace
from pipeline.encode import encode
from pipeline.evaluation.choices import BadChoices
from pipeline.evaluation.evaluate import contestant
from pipeline.evaluation.make import make_clips
from pipeline.evaluation.metrics import METRICS
from pipeline.evaluation.plan import plan_evaluation
from pipeline.evaluation.store import EvaluationStore
from pipeline.models import NoModel
from tests.jobs.web.browser import CHROMIUM
from tests.pipeline.made import make_catalog
from training.release import publish_tensors, shipped_model
from training.run.checkpoint import read_tensors

pytestmark = pytest.mark.slow

CLIPS = {
    "melt": ("train", "train", "val"),
    "explode": ("train", "train", "val"),
    "freeze": ("ood", "ood", "ood"),
}
METRICS_ASKED = "fvd,smoothness,clip_reference,clip_prompt,effect,transfer_gap"


def workspace(folder: Path) -> Workspace:
    settings = ["clip.height=64", "clip.width=96", "generate.steps=1"]
    settings += ["evaluate.per_category=1", "evaluate.draws=1", "evaluate.effect_epochs=8"]
    return Workspace(folder, None, settings)


def other_model(space: Workspace) -> str:
    """A second model in the catalogue: the shipped one with smaller weights."""
    shipped = shipped_model()
    tensors = {name: 0.5 * value for name, value in read_tensors(shipped.path / "model.safetensors").items()}
    facts = {
        name: value for name, value in shipped.facts.items() if name not in ("model_id", "tensors_sha256")
    }
    made = publish_tensors(tensors, space.folder("models"), next(iter(tensors.values())).dtype, facts)
    path = keep_model(space.catalog, made.path)
    row = {"model_id": made.model_id, "path": path, "champion": False, "created_at": datetime.now(UTC)}
    space.catalog.upsert("models", [row])
    return made.model_id


class Evaluated:
    """A catalogue of nine clips; an evaluation of two models that was stopped after its first clip."""

    def __init__(self, folder: Path) -> None:
        self.space = workspace(folder)
        names = {f"{look}{n}": (look, look) for look, splits in CLIPS.items() for n in range(len(splits))}
        catalog = make_catalog(folder, names)
        rows = [
            {"clip_id": f"{look}{n}", "category_id": look, "split": split}
            for look, splits in CLIPS.items()
            for n, split in enumerate(splits)
        ]
        catalog.update("clips", rows)
        profile = self.space.profile
        encode(catalog, profile.backbone, profile.encode)
        take(catalog, "v1", "tests")
        self.other = other_model(self.space)
        self.store = EvaluationStore((folder / "evaluations").absolute())
        self.before = self._stopped(catalog, profile)
        evaluate_job(self.space, "pocket", self.other, "v1", METRICS_ASKED, False, None)
        self.page = next(
            file for file in self.store.folder.glob("*.html") if not file.name.endswith("-blind.html")
        )
        self.found = json.loads(self.page.with_suffix(".json").read_text())

    def _stopped(self, catalog, profile) -> dict[Path, int]:
        """Clips that were there when it was stopped, and when each was written."""
        view = catalog.at(catalog.snapshot())
        plan = plan_evaluation(view, profile.pairs, 1, 0, 64, NOW)
        side = contestant(
            view, shipped_model(), profile.backbone, profile.generate, profile.pairs, list(METRICS)
        )

        def stop(done: int, total: int | None, facts: dict) -> None:
            if done:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            make_clips(catalog, self.store, side, plan.cases, profile.evaluate, stop)
        return {file: file.stat().st_mtime_ns for file in (self.store.folder / "made").glob("*.mp4")}


@pytest.fixture(scope="module")
def evaluated(ray_cluster, tmp_path_factory) -> Evaluated:
    return Evaluated(tmp_path_factory.mktemp("evaluated"))


def test_no_clip_is_generated_twice_by_whoever_goes_on_after_a_stop(evaluated):
    assert evaluated.before
    assert {file: file.stat().st_mtime_ns for file in evaluated.before} == evaluated.before
    made = list((evaluated.store.folder / "made").glob("*.mp4"))
    assert len(made) == 2 * len(evaluated.found["cases"]) == 6, "two models, three held-out clips"
    for file in made:
        row = json.loads(file.with_suffix(".json").read_text())
        assert row["case"]["target_id"] in {case["target_id"] for case in evaluated.found["cases"]}
        assert b"video2lora-" not in file.read_bytes(), "a blind page's video does not name its model"


def test_figures_are_of_both_domains_and_what_lacks_weights_is_unavailable_and_never_zero(evaluated):
    found = evaluated.found
    assert {case["domain"] for case in found["cases"]} == {"in", "out"}
    assert found["metrics"]["fvd_crop"]["unavailable"] == "no weights of I3D are set (evaluate.i3d)"
    for model in found["models"]:
        assert model["figures"]["fvd_crop"]["all"] is None
        for name in ("smoothness", "clip_reference", "clip_prompt", "effect", "transfer_gap"):
            for part in ("all", "in", "out"):
                assert model["figures"][name][part]["items"] >= 1, (name, part)
        assert model["figures"]["smoothness"]["all"]["low"] <= model["figures"]["smoothness"]["all"]["value"]
    assert found["real"]["smoothness"]["all"]["items"] == 3
    assert found["snapshot"] == "v1" and found["caveats"]


def test_page_and_markdown_say_the_same_and_name_what_the_papers_figures_are_worth(evaluated):
    page, text = evaluated.page.read_text(), evaluated.page.with_suffix(".md").read_text()
    for words in (
        "the paper, average",
        "98.50",
        "unavailable, because no weights of I3D",
        "covariance of rank 4",
    ):
        assert words in page and words in text
    assert "out of domain" in page and "the real clips themselves" in text
    for source in re.findall(r'data-src="([^"]+)"', page):
        assert (evaluated.page.parent / source).is_file()


def test_two_models_are_compared_on_the_same_clips_and_noise(evaluated):
    comparison = evaluated.found["comparison"]
    assert comparison["models"] == [shipped_model().model_id, evaluated.other]
    smooth = comparison["metrics"]["smoothness"]["all"]
    assert smooth["difference"]["items"] == 3 and 0 <= smooth["wins"]["value"] <= 1
    assert comparison["metrics"]["fvd_crop"]["all"] is None
    assert len(comparison["pairs"]) == 3


@pytest.mark.skipif(not CHROMIUM.exists(), reason="Chromium is not installed")
def test_a_person_chooses_blind_and_the_file_that_the_page_gives_is_read(evaluated, tmp_path, capsys):
    from playwright.sync_api import sync_playwright

    blind = evaluated.page.with_name(evaluated.page.stem + "-blind.html")
    for model in evaluated.found["comparison"]["models"]:
        assert model not in blind.read_text(), "the page does not know which model made what"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        page = browser.new_page(accept_downloads=True)
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(blind.as_uri())
        page.fill("#person", "Ada")
        for section in page.query_selector_all("section")[:2]:
            section.query_selector("button[value=left]").click()
        page.reload()
        assert page.inner_text("#count") == "2 of 3 chosen", "what was chosen is still there"
        with page.expect_download() as download:
            page.click("#download")
        download.value.save_as(tmp_path / "choices.json")
        browser.close()
    assert not errors
    choices_job(evaluated.space, tmp_path / "choices.json", False)
    assert "Ada preferred" in capsys.readouterr().out
    found = json.loads(evaluated.page.with_suffix(".json").read_text())
    assert found["comparison"]["people"][0]["all"]["items"] == 2
    assert "Ada" in evaluated.page.read_text()


def test_choices_that_belong_to_no_evaluation_here_are_refused(evaluated, tmp_path):
    (tmp_path / "c.json").write_text('{"comparison": "0000", "choices": {"a": "left"}}')
    with pytest.raises(BadChoices, match="no evaluation in"):
        choices_job(evaluated.space, tmp_path / "c.json", False)


def test_a_second_time_nothing_is_made_or_measured_and_programs_get_json_alone(evaluated, capsys):
    measured = {f: f.stat().st_mtime_ns for f in (evaluated.store.folder / "measured").iterdir()}
    capsys.readouterr()
    evaluate_job(evaluated.space, "pocket", evaluated.other, "v1", METRICS_ASKED, True, None)
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["models"][0]["clips"] == 3
    assert {f: f.stat().st_mtime_ns for f in measured} == measured


def test_a_model_or_snapshot_that_is_not_there_and_one_against_itself_are_said(evaluated):
    with pytest.raises(NoModel, match="No model named 'nobody'"):
        evaluate_job(evaluated.space, "nobody", None, None, None, False, None)
    with pytest.raises(SnapshotMissing, match="No snapshot is called 'v9'"):
        evaluate_job(evaluated.space, "pocket", None, "v9", None, False, None)
    with pytest.raises(JobError, match="which is the model itself"):
        evaluate_job(evaluated.space, "pocket", "pocket", None, None, False, None)
