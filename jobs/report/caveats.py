"""What a person has to know to judge the clips of a run."""

from training.backbones.settings import BackboneSettings
from training.release import Release, shipped_model

RANDOM = (
    "The backbone of this profile has random weights, made on the spot: every step is the real one, "
    "but what it generates is noise. Name real weights with --set backbone.model=FOLDER."
)
POCKET = (
    "The pocket backbone is a small {kind} that this project trained on its own rendered effects, 49"
    " frames of 64×96: it shows what the method does, not what {published} can do."
    " It has seen no filmed picture: from those it makes little more than grey."
)
POCKETS = {
    "cogvideox": {"kind": "CogVideoX", "published": "CogVideoX-5B"},
    "wan": {"kind": "Wan", "published": "Wan2.1-14B"},
}


def caveats(backbone: BackboneSettings, release: Release) -> list[str]:
    """Sentences about the backbone, and about what the model began with."""
    said = []
    if backbone.random_weights:
        said.append(RANDOM)
    elif backbone.model == "pocket":
        said.append(POCKET.format(**POCKETS[backbone.family]))
    if release.facts.get("started_from"):
        said.append(_start(release.facts["started_from"], release.facts["steps"]))
    return said


def _start(model_id: str, steps: int) -> str:
    text = f"The model began with {model_id} and took {steps} steps on this catalogue."
    shipped = shipped_model()
    if shipped.model_id == model_id:
        text += (
            f" That is the shipped one, trained on other clips of {len(shipped.facts['categories'])} of the"
            " rendered effects."
        )
    return text
