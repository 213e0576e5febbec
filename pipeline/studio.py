"""A trained model, loaded once, for any number of clips: reference, first frame and prompt in, video out."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from pydantic import ValidationError

from catalog.store import Catalog
from pipeline.adapters import Adapter, Reference, blend_adapters, load_adapter, predict_adapter
from pipeline.errors import BadSource, PipelineError
from pipeline.example import read_first_frame
from pipeline.generated import Draft, GeneratedClip
from pipeline.models import find_model
from pipeline.polish import polish_adapter
from pipeline.workers.overlap import overlapped
from training.backbones.parts import PARTS
from training.backbones.registry import load_backbone
from training.backbones.settings import BackboneSettings
from training.generate import sample
from training.progress import Progress
from training.release import Release, load_release
from training.settings import GenerateSettings, PolishSettings

# What an effect may be given by: a video, picture or clip_id, read or by name, or an adapter.
Given = str | Reference | Adapter


class BadSetting(PipelineError):
    """A setting of sampling that there is not, or a value that it cannot take."""


class Studio:
    """A model and its backbone.

    Args:
        catalog: whose clips may be named, and where their adapters are stored.
        release: the model.
        backbone: None takes the one that the model was trained on.
        settings: of sampling; None takes those that the model was trained beside.
        parts: of the backbone; what reads adapters from files alone needs no "text" and no "vae".

    Raises:
        ReleaseError, WeightsUnreachable: see `load_release` and `load_backbone`.
    """

    def __init__(
        self,
        catalog: Catalog,
        release: Release,
        backbone: BackboneSettings | None = None,
        settings: GenerateSettings | None = None,
        parts: Collection[str] = PARTS,
    ) -> None:
        self.catalog = catalog
        self.release = release
        self.settings = settings or GenerateSettings.model_validate(release.facts.get("generate", {}))
        device = "cuda" if torch.cuda.is_available() else "cpu"
        wanted = backbone or BackboneSettings.model_validate(release.facts["backbone"])
        self.backbone = load_backbone(wanted, parts, device)
        self.method = load_release(release, self.backbone).to(device)

    @classmethod
    def open(cls, workdir: Path | str, model_id: str | None = None) -> Self:
        """The champion or newest model of a working directory, or the one of that name.

        Raises:
            CatalogNotFound, NoModel: there is none.
        """
        catalog = Catalog.open(Path(workdir) / "catalog")
        return cls(catalog, find_model(catalog, Path(workdir) / "models", model_id))

    def make(
        self,
        reference: Given | Sequence[Given],
        first_frame: str | np.ndarray,
        prompt: str,
        progress: Progress | None = None,
        polish: int | None = None,
        *,
        weights: Sequence[float] | None = None,
        **settings: Any,
    ) -> GeneratedClip:
        """The effect of `reference` on `first_frame`.

        Args:
            reference: a video, a picture or a clip_id, what `Reference.read` made of one, or an adapter; of
                several the adapters are added up, see `adapter`.
            first_frame: an image, a video file or a clip_id (of these two the first frame), or pixels uint8
                [H, W, 3].
            prompt: what the scene shows.
            progress: called after each step of polish and of denoising; what it raises ends the work at once.
            polish: steps of polish; None takes those of the settings.
            weights: of the references, one each.
            settings: of `GenerateSettings`, for this clip alone: seed=3, strength=0.5, steps=20,
                guidance=6.0.

        Raises:
            BadSource: a name that is neither, or a file that cannot be read.
            BadSetting: a setting that there is not, or a value that it cannot take.
            CannotPolish: see `training.polish.polish`.
        """
        return self.draft(
            reference, first_frame, prompt, progress, polish, weights=weights, **settings
        ).develop()

    def draft(
        self,
        reference: Given | Sequence[Given],
        first_frame: str | np.ndarray,
        prompt: str,
        progress: Progress | None = None,
        polish: int | None = None,
        *,
        weights: Sequence[float] | None = None,
        **settings: Any,
    ) -> Draft:
        """The same, not yet decoded; see `make`."""
        chosen = self.chosen(**settings)
        given = self.read(reference)
        shown = next((each for each in given if isinstance(each, Reference)), None)
        picture = read_first_frame(self.catalog, first_frame) if isinstance(first_frame, str) else first_frame
        polishing = chosen.polish.steps if polish is None else polish
        every = polishing + chosen.steps
        adapter = self.adapter(
            given, _share(progress, 0, every), polishing, weights=weights, seed=chosen.seed
        )
        if chosen.strength != 1:
            facts = adapter.facts | {"strength": chosen.strength}
            adapter = blend_adapters(self.method, [adapter], [chosen.strength]).told(**facts)
        latents = sample(
            self.backbone,
            self.method,
            adapter.condition,
            picture,
            prompt,
            chosen.steps,
            chosen.guidance,
            chosen.seed,
            _share(progress, polishing, every),
            negative_prompt=chosen.negative_prompt,
            dynamic_guidance=chosen.dynamic_guidance,
            adapter_guidance=chosen.adapter_guidance,
        )
        ready = None
        if latents.is_cuda:
            ready = torch.cuda.Event()
            ready.record()
        notes = (*(shown.notes() if shown else ()), *self._notes(prompt, adapter, chosen))
        facts = chosen.model_dump(mode="json", exclude={"polish"})
        adapter = adapter.told(**facts, prompt=prompt)
        return Draft(self.backbone, latents, self.catalog.spec.fps, shown, picture, adapter, notes, ready)

    def seeds(
        self,
        reference: Given | Sequence[Given],
        first_frame: str | np.ndarray,
        prompt: str,
        seeds: Sequence[int],
        progress: Progress | None = None,
        polish: int | None = None,
        *,
        keep: Callable[[int, GeneratedClip], object] | None = None,
        weights: Sequence[float] | None = None,
        **settings: Any,
    ) -> Iterator[tuple[int, GeneratedClip]]:
        """One clip a seed, in their order, all under one adapter; each is decoded while the next is denoised.

        Args, Raises: see `make`; progress counts the steps of all of them. `keep` is called with each seed
        and clip as soon as it is there, in another thread and also where the next one is interrupted.
        """
        chosen = self.chosen(**settings)
        picture = read_first_frame(self.catalog, first_frame) if isinstance(first_frame, str) else first_frame
        polishing = chosen.polish.steps if polish is None else polish
        every = polishing + chosen.steps * len(seeds)
        given = self.read(reference)
        adapter = self.adapter(
            given, _share(progress, 0, every), polishing, weights=weights, seed=chosen.seed
        )
        remarks = next((tuple(each.notes()) for each in given if isinstance(each, Reference)), ())

        def drafts() -> Iterator[tuple[int, Draft]]:
            for number, seed in enumerate(seeds):
                told = _share(progress, polishing + number * chosen.steps, every)
                yield seed, self.draft(adapter, picture, prompt, told, 0, **settings | {"seed": seed})

        def developed(draft: tuple[int, Draft]) -> tuple[int, GeneratedClip]:
            clip = draft[1].develop()
            clip = replace(clip, notes=(*remarks, *clip.notes))
            if keep is not None:
                keep(draft[0], clip)
            return draft[0], clip

        return overlapped(drafts(), developed)

    def chosen(self, **settings: Any) -> GenerateSettings:
        """This studio's settings with some of them changed; raises BadSetting."""
        if not settings:
            return self.settings
        try:
            return GenerateSettings.model_validate(self.settings.model_dump() | settings)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(map(str, first["loc"]))
            known = ", ".join(GenerateSettings.model_fields)
            raise BadSetting(
                f"{name}={first['input']!r}: {first['msg'][:1].lower()}{first['msg'][1:]}. Settings are"
                f" {known}."
            ) from None

    def read(self, reference: Given | Sequence[Given]) -> list[Reference | Adapter]:
        """References by name; raises BadSource where one is neither a video, a picture nor a clip_id."""
        given = [reference] if isinstance(reference, Given) else reference
        if not given:
            raise BadSource("No reference is named: name a video, a picture or a clip_id.")
        return [Reference.read(self.catalog, each) if isinstance(each, str) else each for each in given]

    def load(self, path: Path | str) -> Adapter:
        """An adapter or LoRA from a file; see `load_adapter`."""
        return load_adapter(path, self.backbone, self.method, self.release)

    def adapter(
        self,
        reference: Given | Sequence[Given],
        progress: Progress | None = None,
        polish: int | None = None,
        *,
        weights: Sequence[float] | None = None,
        seed: int | None = None,
    ) -> Adapter:
        """What the model makes of a reference: predicted, then polished in as many steps as `polish` or
        the settings say.

        Of several each is predicted by itself and the adapters are added up by their weights, exactly (see
        `training.methods.lightlora.blend`); a model that reads several references of an effect together does
        so where there are no weights. Before polish a sum is brought to the size of a prediction, and all
        references are polished on alike.

        Args:
            weights: one each, of any sign; None: 1 / n each.
            seed: of polish; None: that of the settings.

        Raises:
            BadSource, CannotPolish: see `make`; weights that are not one each.
            BadMethodSettings: the model's conditions cannot be added up.
        """
        given = self.read(reference)
        polishing = self.settings.polish
        if polish is not None:
            polishing = PolishSettings.model_validate(polishing.model_dump() | {"steps": polish})
        references = [each for each in given if isinstance(each, Reference)]
        together = len(references) == len(given) <= self.method.settings.references_per_target
        if together and weights is None:
            adapter = self._predicted(*references)
        else:
            shares = [1 / len(given)] * len(given) if weights is None else list(weights)
            parts = [self._predicted(each) if isinstance(each, Reference) else each for each in given]
            adapter = blend_adapters(self.method, parts, shares)
        if not polishing.steps:
            return adapter
        return self.polish(adapter, references, polishing.steps, progress, seed)

    def polish(
        self,
        adapter: Adapter,
        references: Sequence[Reference],
        steps: int | None = None,
        progress: Progress | None = None,
        seed: int | None = None,
    ) -> Adapter:
        """An adapter fitted to references, all alike, from where it is; brought to a prediction's size first.

        Raises:
            BadSource: no references.
            BadMethodSettings, CannotPolish: see `training.polish.polish`.
        """
        if not references:
            raise BadSource("Polish fits an adapter to references, and none is named: name one, or polish=0.")
        polishing = self.settings.polish
        if steps is not None:
            polishing = PolishSettings.model_validate(polishing.model_dump() | {"steps": steps})
        small, _ = self.reduce(adapter)
        seed = self.settings.seed if seed is None else seed
        return polish_adapter(self.backbone, self.method, small, references, polishing, seed, progress)

    def reduce(self, adapter: Adapter) -> tuple[Adapter, float]:
        """The nearest adapter of a prediction's size, and the share of the squared norm of all residuals that
        it keeps."""
        condition, kept = self.method.reduce(adapter.condition)
        if kept == 1:
            return adapter, kept
        return Adapter(condition, self.method.export(condition), adapter.facts), kept

    def _predicted(self, *references: Reference) -> Adapter:
        return predict_adapter(self.backbone, self.method, self.release, self.catalog, *references)

    def _notes(self, prompt: str, adapter: Adapter, settings: GenerateSettings) -> list[str]:
        said = []
        for name, text in (("prompt", prompt), ("negative prompt", settings.negative_prompt)):
            if unread := self.backbone.unread(text):
                said.append(
                    f"The {name} is longer than what this backbone reads"
                    f" ({self.backbone.settings.max_text_tokens} tokens): nothing of {unread!r} counts."
                )
        if settings.guidance <= 1 and (settings.negative_prompt or settings.dynamic_guidance):
            said.append(
                f"Guidance is {settings.guidance:g}: a negative prompt and dynamic guidance count above 1"
                " only."
            )
        if settings.strength < 0:
            said.append(f"Strength {settings.strength:g} leads away from the effect.")
        if adapter.lora is not None and settings.adapter_guidance != 1:
            said.append(
                f"The clip was led by adapter guidance {settings.adapter_guidance:g}; the LoRA beside"
                " it, at weight 1 in another tool, shows less of the effect."
            )
        return said


def _share(progress: Progress | None, before: int, of: int) -> Progress | None:
    """The progress of a work that is one of several, `before` steps of which `of` went before."""
    if progress is None:
        return None
    return lambda done, _, facts: progress(before + done, of, facts)
