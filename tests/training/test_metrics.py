"""What the exporter can be told, and that telling it costs nothing where there is none."""

import subprocess
import sys

import pytest

from training.metrics import CLIPS, LOSS, Counter, known, tell_row


def test_every_metric_has_a_name_of_its_own_that_prometheus_takes():
    names = [metric.name for metric in known()]
    assert len(set(names)) == len(names)
    for metric in known():
        assert metric.name.startswith("video2lora_")
        assert metric.exported == f"ray_{metric.name}" + ("_total" if isinstance(metric, Counter) else "")
        assert metric.help
        assert metric.name.replace("_", "").isalnum()


def test_without_ray_telling_a_metric_does_not_even_import_it():
    told = "from training.metrics import CLIPS, LOSS; CLIPS.add(3, stage='ingest'); LOSS.set(1.0, run='r')"
    looked = "import sys; assert 'ray' not in sys.modules"
    subprocess.run([sys.executable, "-c", f"{told}\n{looked}"], check=True)


def test_values_that_say_nothing_are_not_told(ray_cluster):
    CLIPS.add(0, stage="ingest")
    LOSS.set(float("nan"), run="r")
    tell_row("r", {"step": 3, "loss": 0.5, "eval/note": "no clip is held out"})


def test_a_tag_that_a_metric_does_not_have_is_a_mistake(ray_cluster):
    with pytest.raises(ValueError):
        CLIPS.add(1)
