"""`video2lora train` on a data set that names its own pairs, as VAP-Data does."""

from pathlib import Path

import pytest

from catalog.snapshot import Snapshot
from catalog.store import Catalog
from jobs.train import train_job
from jobs.workspace import Workspace
from pipeline.pairing.plan import NoGivenPairs
from pipeline.pairing.stream import PairStream
from pipeline.sources.survey import discover
from tests.jobs.test_cli import video2lora
from tests.jobs.test_train import TINY, add_features, workspace
from tests.pipeline.in_process import store
from tests.pipeline.video.video_files import moving, write
from training.backbones.registry import locate_backbone
from training.run.checkpoint import newest_checkpoint, read_checkpoint, read_state

TABLE = (
    "video_paths,kind,tar_video_caption,ref_video_paths,reference_alignment_score,split\n"
    'vfx_videos/1.mp4,melt,a cup,"[""vfx_videos/2.mp4""]",80,train\n'
    'vfx_videos/2.mp4,melt,a mug,"[""vfx_videos/1.mp4""]",4.5,train\n'
    'vfx_videos/3.mp4,melt,a jug,"[""vfx_videos/1.mp4""]",60,train\n'
)
GOOD = {(1, 2), (3, 1)}  # of score 5 and more
RUN = ("train.steps=2", "train.batch_size=2", "train.evaluate_every=50", "pairs.min_alignment=5.0")


@pytest.fixture(scope="module")
def encoder_id() -> str:
    return locate_backbone(TINY).encoder_id


@pytest.fixture
def work(tmp_path, encoder_id) -> Path:
    """A working directory whose catalogue was made from files that lie as VAP-Data's do."""
    for number in (1, 2, 3):
        write(tmp_path / "set" / "vfx_videos" / f"{number}.mp4", moving(30, seed=number))
    (tmp_path / "set" / "vap_data.csv").write_text(TABLE)
    catalog = Catalog.create(str(tmp_path / "catalog"), workspace(tmp_path).profile.clip)
    store(catalog, discover(tmp_path / "set"))
    clips = catalog.scan("clips", ["clip_id"])["clip_id"].to_pylist()
    catalog.update("clips", [{"clip_id": c, "category_id": "melt", "split": "train"} for c in clips])
    add_features(catalog, clips, encoder_id)
    return tmp_path


def paired(catalog: Catalog, encoder_id: str, samples: int, work: Workspace) -> set[tuple[int, int]]:
    """The numbers of the files (target, reference) of the first samples of a stream."""
    rows = catalog.scan("clips", ["clip_id", "source_uri"]).to_pylist()
    number = {row["clip_id"]: int(Path(row["source_uri"]).stem) for row in rows}
    stream = PairStream.open(catalog, encoder_id, work.profile.pairs)
    pairs = [pair.split("<-") for pair in stream.batch(range(samples)).pair_ids]
    return {(number[target], number[reference]) for target, reference in pairs}


@pytest.mark.slow
def test_the_pairs_that_are_trained_on_are_the_given_ones(ray_cluster, work, encoder_id, capsys):
    only = workspace(work, *RUN, "pairs.use_given=only")
    train_job(only, None)
    assert "2 of the 3 pairs that the data set gives are used" in capsys.readouterr().out
    (run,) = (work / "runs").iterdir()
    newest = newest_checkpoint(run / "checkpoints")
    assert read_state(newest)["identity"]["pairs"]["use_given"] == "only"
    samples = read_checkpoint(newest).samples
    assert samples == 4
    catalog = Catalog.open(str(work / "catalog"))
    pinned = catalog.at(Snapshot.from_json((run / "snapshot.json").read_text()))
    assert paired(pinned, encoder_id, samples, only) == GOOD
    assert not paired(pinned, encoder_id, 50, workspace(work, *RUN)) <= GOOD


def test_given_pairs_that_nobody_gave_are_refused_before_workers_start(work):
    catalog = Catalog.open(str(work / "catalog"))
    rows = catalog.scan("sources", ["source_uri"]).to_pylist()
    catalog.update("sources", [row | {"references": None} for row in rows])
    done = video2lora("train", "-w", str(work), "--set", "pairs.use_given=only", cwd=work)
    assert done.returncode == 2
    assert "no data set gave pairs" in done.stderr and "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 3
    assert not list(work.glob("runs/*/ray"))
    with pytest.raises(NoGivenPairs):
        PairStream.open(
            catalog,
            locate_backbone(TINY).encoder_id,
            workspace(work, "pairs.use_given=join").profile.pairs,
        )
