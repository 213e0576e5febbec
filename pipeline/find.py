"""Clips by words, by examples, by filter, or by all of them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from lancedb.expr import col

from catalog.names import CategoryNames
from catalog.search import clip_filter, search_adapter, search_text, search_vector, search_words
from catalog.store import Catalog
from pipeline.embedding.settings import EmbedSettings
from pipeline.errors import BadSource
from pipeline.example import read_look

if TYPE_CHECKING:
    from pipeline.embedding.embedder import Embedder
    from pipeline.studio import Studio
    from training.backbones.settings import BackboneSettings
    from training.release import Release

Aspect = Literal["all", "effect", "subject"]
Example = str | Sequence[float]
# How much what is not wanted counts against what is (Rocchio's formula).
_AGAINST = 0.5
# Of a clip whose vector is shorter in these parts nothing is known but noise.
_STILL = 0.05


def find_clips(
    catalog: Catalog,
    words: str | None = None,
    like: str | Sequence[str] | None = None,
    where: str | None = None,
    limit: int = 10,
    settings: EmbedSettings | None = None,
    unlike: str | Sequence[str] | None = None,
    aspect: Aspect = "all",
    by: "Adapters | None" = None,
    among: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """Rows of `clips` with a `score` and `why`, best first, without their vectors; see `find_hits`.

    Args:
        settings: of the embedder that sees words, and examples from files.
        by: the model by whose adapters examples are compared; None: by what they look like.
    """
    wanted, unwanted = ([each] if isinstance(each, str) else list(each or ()) for each in (like, unlike))
    model = LazyEmbedder(settings or EmbedSettings())
    rows = find_hits(catalog, model, words, wanted, where, limit, unwanted, aspect, by, among)
    facts = {
        row["clip_id"]: row for row in catalog.get("clips", [row["clip_id"] for row in rows]).to_pylist()
    }
    hidden = {"embedding", "phash", "colours"}
    return [{k: v for k, v in facts[r["clip_id"]].items() if k not in hidden} | r for r in rows]


def find_hits(
    catalog: Catalog,
    model: "LazyEmbedder",
    words: str | None = None,
    like: Sequence[Example] = (),
    where: str | None = None,
    limit: int = 10,
    unlike: Sequence[Example] = (),
    aspect: Aspect = "all",
    by: "Adapters | None" = None,
    among: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """`clip_id`, `category` (its name) and, where something was compared, `score` and `why`; best first.

    Words are looked for in captions and categories and, where the clips have vectors of a model that knows
    words, in what the clips show. With words and examples, the words choose the clips and the examples order
    them.

    Args:
        model: sees words, and examples from files.
        words: what to look for.
        like: examples: clip_ids, files of videos or pictures, or vectors of the clips' embedder.
        where: a filter over the clips' columns.
        limit: how many at most.
        unlike: examples of what is not wanted.
        aspect: what of the examples counts: all of it, the same "effect" on other subjects, or the same
            "subject" under other effects.
        by: the model by whose adapters examples are compared, all of each; None: by their vectors.
        among: only these clips; None for all.

    Raises:
        CatalogError: a filter that cannot be read, or vectors of another embedder.
        BadSource: an example that is neither a clip nor a video, or one that has nothing of the aspect.
    """
    if both := {each for each in like if isinstance(each, str)} & {
        each for each in unlike if isinstance(each, str)
    }:
        raise BadSource(f"{min(both)[:80]!r} cannot be both an example and one of what is not wanted.")
    condition = clip_filter(catalog, where) if where else None
    if among is not None:
        chosen = col("clip_id").isin(list(among))
        condition = chosen if condition is None else condition & chosen
    if like or unlike:
        pool = catalog.count("clips") if words else limit
        if by is not None:
            wanted = _combined(*([by.projection(name) for name in names] for names in (like, unlike)))
            rows = search_adapter(catalog, wanted.tolist(), by.model_id, condition, pool)
        else:
            asked = _asked(catalog, model, like, unlike, aspect)
            reason = likeness(len(like), len(unlike), aspect)
            rows = search_vector(catalog, asked, condition, pool, reason=reason)
        if words:
            named = {row["clip_id"]: row["why"] for row in search_text(catalog, words, condition, pool)}
            rows = [row for row in rows if row["clip_id"] in named][:limit]
            rows = [row | {"why": f"{named[row['clip_id']]}; {row['why']}"} for row in rows]
        return rows
    if words is not None:
        return _by_words(catalog, model, words, condition, limit)
    names = CategoryNames.load(catalog)
    found = catalog.scan("clips", ["clip_id", "category_id"], condition).to_pylist()
    rows = sorted(found, key=lambda row: row["clip_id"])[:limit]
    return [{"clip_id": row["clip_id"], "category": names.name_of(row["category_id"])} for row in rows]


class LazyEmbedder:
    """The embedder, loaded when it is first needed: torch takes seconds."""

    def __init__(self, settings: EmbedSettings) -> None:
        self.settings = settings
        self._loaded: Embedder | None = None

    @property
    def embedder(self) -> "Embedder":
        if self._loaded is None:
            from pipeline.embedding.embedder import Embedder

            self._loaded = Embedder(self.settings)
        return self._loaded

    def knows_words_of(self, catalog: Catalog) -> bool:
        """Whether what it makes of words can be compared with the catalogue's vectors, and means anything."""
        if self.settings.pretrained.startswith("random:"):
            return False
        field = "embedding" in catalog.schema("clips").names and catalog.schema("clips").field("embedding")
        return bool(field) and field.type.list_size == self.embedder.dim


class Adapters(Protocol):
    """What a model makes of examples, as numbers that are compared."""

    @property
    def model_id(self) -> str:
        """Whose adapters."""

    def projection(self, name: Example) -> np.ndarray:
        """`adapters.projection` of an example; raises BadSource where there is none."""


class StoredAdapters:
    """Those that are stored of a model, which is not loaded: an example is a clip.

    Args:
        model_id: the model.
    """

    def __init__(self, catalog: Catalog, model_id: str) -> None:
        self.catalog, self.model_id = catalog, model_id

    def find(self, name: str) -> np.ndarray | None:
        """That of a clip; None where none is stored."""
        rows = self.catalog.get("adapters", [name], ["model_id", "projection"]).to_pylist()
        stored = [row["projection"] for row in rows if row["model_id"] == self.model_id]
        return np.asarray(stored[0], np.float64) if stored else None

    def projection(self, name: Example) -> np.ndarray:
        """See `Adapters`."""
        found = self.find(name) if isinstance(name, str) else np.asarray(name, np.float64)
        if found is None:
            raise BadSource(
                f"{str(name)[:80]!r} has no stored adapter of model {self.model_id}; `video2lora adapter fill"
                f" --model {self.model_id}` stores those of all clips."
            )
        return found


class LazyPredictor:
    """A model whose adapters are compared, loaded when something is asked that has no stored one.

    Args:
        release: the model.
        backbone: its backbone.
    """

    def __init__(self, catalog: Catalog, release: "Release", backbone: "BackboneSettings") -> None:
        self.catalog, self.release, self._backbone = catalog, release, backbone
        self._studio: Studio | None = None

    @property
    def model_id(self) -> str:
        """See `Adapters`."""
        return self.release.model_id

    def projection(self, name: Example) -> np.ndarray:
        """`adapters.projection` of an example: a vector of that kind, a clip, or a video's or picture's file.

        Raises:
            BadSource: it is none of these.
        """
        if not isinstance(name, str):
            return np.asarray(name, np.float64)
        if (stored := StoredAdapters(self.catalog, self.model_id).find(name)) is not None:
            return stored
        from pipeline.adapters import projected
        from pipeline.studio import Studio

        if self._studio is None:
            self._studio = Studio(self.catalog, self.release, self._backbone, parts=("vae", "transformer"))
        condition = self._studio.adapter(name, polish=0).condition
        vector = self._studio.method.vector(condition)
        if vector is None:
            raise BadSource(f"Model {self.release.model_id} makes no adapters that could be compared.")
        return projected(vector.numpy()).astype(np.float64)


def _by_words(catalog: Catalog, model: LazyEmbedder, words: str, condition, limit: int) -> list[dict]:
    if not words.strip() or not model.knows_words_of(catalog):
        return search_text(catalog, words, condition, limit)
    return search_words(catalog, words, model.embedder.embed_text([words])[0].tolist(), condition, limit)


def likeness(like: int, unlike: int, aspect: Aspect = "all") -> str:
    """Why a clip is found by so many examples and counter-examples, as a sentence goes on."""
    what = {"all": "it looks", "effect": "its effect looks", "subject": "its subject looks"}[aspect]
    wanted = "" if not like else " like the example" if like == 1 else f" like the {like} examples"
    unwanted = "" if not unlike else f" unlike the {'one' if unlike == 1 else unlike} not wanted"
    return what + (" and".join(filter(None, (wanted, unwanted))))


def _asked(
    catalog: Catalog, model: LazyEmbedder, like: Sequence[Example], unlike: Sequence[Example], aspect: Aspect
) -> list[float]:
    """The vector of a question by examples.

    Raises:
        BadSource: an example of an effect in which nothing changes.
    """
    wanted, unwanted = (
        [np.asarray(_example(catalog, name, model), dtype=np.float64) for name in names]
        for names in (like, unlike)
    )
    vector = _combined(wanted, unwanted)
    if aspect != "all":
        from pipeline.embedding.descriptor import EFFECT, only, share  # torch takes seconds to import

        effect, subject = only(vector, EFFECT), only(vector, ("appearance",))
        looks, happens = share(vector, ("appearance",)), share(vector, EFFECT)
        if aspect == "effect" and happens < _STILL:
            raise BadSource(
                "Nothing changes in the example, so that it has no effect to look for; "
                "give a clip that has one, or ask without --aspect effect."
            )
        if aspect == "effect":
            vector = effect - _AGAINST * subject
        else:
            # Clips in which more happens than is to be seen: what happens must not decide alone.
            vector = subject - _AGAINST * min(1.0, looks / max(happens, _STILL)) * effect
    return vector.tolist()


def _combined(wanted: Sequence[np.ndarray], unwanted: Sequence[np.ndarray]) -> np.ndarray:
    """One vector of what is wanted and what is not."""
    vector = np.mean(wanted, axis=0) if wanted else np.zeros_like(unwanted[0])
    if unwanted:
        vector = vector - (_AGAINST if wanted else 1.0) * np.mean(unwanted, axis=0)
    return vector


def _example(catalog: Catalog, like: Example, model: LazyEmbedder) -> Sequence[float]:
    """The vector of an example: its own, a clip's, or that of a file."""
    if not isinstance(like, str):
        return like
    known = catalog.get("clips", [like]).to_pylist()
    if known and known[0].get("embedding") is not None:
        return known[0]["embedding"]
    frames = read_look(like, catalog.spec)  # before the embedder, which takes seconds to load
    return model.embedder.embed_frames(frames).tolist()
