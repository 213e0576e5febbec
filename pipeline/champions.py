"""Promoting a model whose files are there: a champion that nobody can load serves nobody."""

from pathlib import Path

from catalog import champions
from catalog.acts import Applied
from catalog.champions import Model, before_champion, model_of
from catalog.curation import Author
from catalog.errors import ModelMissing
from catalog.models import model_folder
from catalog.store import Catalog
from pipeline.errors import PipelineError
from training.release import Release, ReleaseError, read_release


class CannotPromote(PipelineError):
    """A model that cannot be the champion: its files are gone or damaged."""


def release_of(catalog: Catalog, models: Path, model: Model) -> Release:
    """A model's files.

    Args:
        models: the working directory's folder of models; see `model_folder`.

    Raises:
        CannotPromote: they are gone, or cannot be read.
    """
    try:
        return read_release(model_folder(catalog, model.path, models))
    except (ModelMissing, ReleaseError) as error:
        raise CannotPromote(f"{model.model_id} cannot be the champion: {error}") from error


def promote(catalog: Catalog, models: Path, model_id: str, author: Author, reason: str = "") -> Applied:
    """Make a model the champion that is there to be loaded.

    Raises:
        UnknownModel: there is none of that id.
        CannotPromote: its files are gone.
        ChangedMeanwhile: another one was promoted at this moment.
    """
    chosen = model_of(catalog, model_id)
    release_of(catalog, models, chosen)
    return champions.promote(catalog, chosen.model_id, author, reason)


def rollback(catalog: Catalog, models: Path, author: Author, reason: str = "") -> Applied:
    """Go back to the champion before this one, if it is there to be loaded.

    Raises:
        NoChampion: there is none before it.
        CannotPromote: its files are gone.
    """
    release_of(catalog, models, model_of(catalog, before_champion(catalog)))
    return champions.rollback(catalog, author, reason)
