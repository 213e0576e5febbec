"""What a grid of clips shows, as its address says it: a link to a page is the page."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import urlencode

from starlette.datastructures import QueryParams

from catalog.predicates import quote
from jobs.errors import JobError
from jobs.web.lasso import Lasso, read_lasso, write_lasso

# The columns that clips are counted by; `category` means all ids of a category, as in filters.
FACETS = ("category", "status", "split", "licence", "source", "category_source", "generator")
# A facet's value for clips that have none.
NONE = "(none)"
SORTS = {
    "best": "best match",
    "newest": "newest",
    "unsure": "least certain category",
    "category": "category",
    "motion": "most motion",
}
PAGE = 48
# Characters of words or of a filter, and clips that are named one by one: what an address can hold.
LONGEST, MOST_NAMED = 4_000, 200
# What of the examples counts; without one of these, all of it.
ASPECTS = {"effect": "same effect, other subject", "subject": "same subject, other effect"}
MOST_EXAMPLES = 20


class BadAddress(JobError):
    """An address that no page has."""


@dataclass(frozen=True)
class View:
    """A grid of clips.

    Attributes:
        words: to look for in captions and categories.
        like: clips and uploaded examples that others are to be like.
        unlike: those that others are not to be like.
        aspect: one of `ASPECTS`, or empty for all of the examples.
        model: by whose adapters examples are compared; empty: by what they look like.
        where: a filter as people type it.
        lasso: a polygon on the map, within which the clips lie.
        chosen: by facet, the values of which one has to hold.
        sort: one of `SORTS`, or empty for the best order of what was asked.
        page: from 1.
        everything: all that match are selected, but for `left_out`.
        selected: the clips that are selected one by one.
    """

    words: str = ""
    like: tuple[str, ...] = ()
    unlike: tuple[str, ...] = ()
    aspect: str = ""
    model: str = ""
    where: str = ""
    lasso: Lasso = ()
    chosen: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sort: str = ""
    page: int = 1
    everything: bool = False
    selected: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    @classmethod
    def of(cls, asked: QueryParams) -> View:
        """Read an address; what it does not say is as at the beginning, and what is unknown is no part of it.

        Raises:
            BadAddress, BadLasso: something in it cannot be meant.
        """
        words, where = (asked.get(name, "").strip() for name in ("q", "where"))
        like = _named(asked.getlist("like"))
        unlike = tuple(each for each in _named(asked.getlist("unlike")) if each not in like)
        if len(like) + len(unlike) > MOST_EXAMPLES:
            raise BadAddress(f"{MOST_EXAMPLES} examples can be given, not {len(like) + len(unlike)}.")
        said = [("What is searched for", words), ("The filter", where)]
        for name, text in (*said, *(("An example", each) for each in (*like, *unlike))):
            if len(text) > LONGEST:
                raise BadAddress(f"{name} has {len(text)} characters; the longest that is read is {LONGEST}.")
        model = asked.get("model", "").strip()
        if len(model) > LONGEST:
            raise BadAddress(f"No model has a name of {len(model)} characters.")
        page, sort, aspect = asked.get("page", "1"), asked.get("sort", ""), asked.get("aspect", "")
        if aspect and aspect not in ASPECTS:
            raise BadAddress(f"Examples have no aspect {aspect[:40]!r}; they have {', '.join(ASPECTS)}.")
        if aspect and model:
            raise BadAddress("An adapter has no parts: an aspect is of what clips look like.")
        if not (page.isascii() and page.isdigit() and 1 <= len(page) <= 9 and int(page)):
            raise BadAddress(f"{page[:40]!r} is no page; the first one is 1.")
        if sort and sort not in SORTS:
            raise BadAddress(f"Clips are not sorted by {sort[:40]!r}; they are by {', '.join(SORTS)}.")
        named = tuple(dict.fromkeys(asked.getlist("select")))
        left_out = tuple(dict.fromkeys(asked.getlist("except")))
        if max(len(named), len(left_out)) > MOST_NAMED:
            raise BadAddress(
                f"An address can name {MOST_NAMED} clips, not {max(len(named), len(left_out))}; "
                "narrow what matches by a filter, and select all of it."
            )
        everything = "all" in named
        return cls(
            words,
            like,
            unlike,
            aspect if like or unlike else "",
            model if like or unlike else "",
            where,
            read_lasso(asked.get("lasso", "")),
            {
                name: tuple(dict.fromkeys(values))
                for name in FACETS
                if (values := [value for value in asked.getlist(name) if value])
            },
            sort,
            int(page),
            everything,
            () if everything else named,
            left_out if everything else (),
        )

    # To addresses

    def address(self, path: str = "/") -> str:
        """The address that `of` reads back as this view."""
        query = urlencode(list(self.pairs()), errors="replace")
        return f"{path}?{query}" if query else path

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Names and values of the address, as a form's hidden fields need them."""
        yield from self.asked()
        if self.page > 1:
            yield "page", str(self.page)
        if self.everything:
            yield "select", "all"
        yield from (("select", clip) for clip in self.selected)
        yield from (("except", clip) for clip in self.left_out)

    def asked(self) -> Iterator[tuple[str, str]]:
        """The same without page and selection: what decides which clips match, and their order."""
        if self.words:
            yield "q", self.words
        yield from (("like", each) for each in self.like)
        yield from (("unlike", each) for each in self.unlike)
        said = (
            ("aspect", self.aspect),
            ("model", self.model),
            ("where", self.where),
            ("lasso", write_lasso(self.lasso)),
        )
        yield from ((name, value) for name, value in said if value)
        yield from ((name, value) for name, values in self.chosen.items() for value in values)
        if self.sort:
            yield "sort", self.sort

    def at(self, page: int) -> View:
        """Another page of the same."""
        return replace(self, page=page)

    def toggled(self, facet: str, value: str) -> View:
        """With a value of a facet chosen, or not any more; from the first page, and nothing selected."""
        before = self.chosen.get(facet, ())
        after = tuple(each for each in before if each != value) if value in before else (*before, value)
        chosen = {**self.chosen, facet: after}
        return self.fresh(chosen={name: values for name, values in chosen.items() if values})

    def fresh(self, **changed: object) -> View:
        """Something else is asked for: from the first page, and nothing selected."""
        nothing = {"page": 1, "everything": False, "selected": (), "left_out": ()}
        return replace(self, **{**nothing, **changed})

    def more_like(self, *clip_ids: str) -> View:
        """With these as further examples."""
        unlike = tuple(each for each in self.unlike if each not in clip_ids)
        return self._by(tuple(dict.fromkeys((*self.like, *clip_ids))), unlike)

    def less_like(self, *clip_ids: str) -> View:
        """With these as further examples of what is not wanted."""
        like = tuple(each for each in self.like if each not in clip_ids)
        return self._by(like, tuple(dict.fromkeys((*self.unlike, *clip_ids))))

    def without_example(self, name: str) -> View:
        """With one example less."""
        like, unlike = (tuple(each for each in named if each != name) for named in (self.like, self.unlike))
        return self._by(like, unlike)

    def _by(self, like: tuple[str, ...], unlike: tuple[str, ...]) -> View:
        kept = {"aspect": self.aspect, "model": self.model} if like or unlike else {"aspect": "", "model": ""}
        return self.fresh(like=like, unlike=unlike, **kept, sort="")

    # What it asks for

    def holds(self, clip_id: str) -> bool:
        """Whether a clip that matches is selected."""
        return clip_id not in self.left_out if self.everything else clip_id in self.selected

    def filter(self) -> str:
        """The whole filter, facets included, in the language that the command line takes; may be empty."""
        parts = [self.where] if not self.chosen else [f"({self.where})"] if self.where else []
        parts += [_one_of(facet, values) for facet, values in self.chosen.items()]
        return " and ".join(parts)

    def command(self, workdir: str, limit: int, files: Mapping[str, str] | None = None) -> str:
        """The command line that finds the same clips.

        Args:
            files: what the files of uploaded examples are called.
        """
        words = ["video2lora", "search"]
        if self.words:
            words += ["--", self.words] if self.words.startswith("-") else [self.words]
        options = [("--like", (files or {}).get(each, each)) for each in self.like]
        options += [("--unlike", (files or {}).get(each, each)) for each in self.unlike]
        options += [("--by", "adapter"), ("--model", self.model)] if self.model else []
        options += [("--aspect", self.aspect), ("--lasso", write_lasso(self.lasso))]
        options += [("--where", self.filter() or ("" if self.compares or self.lasso else ANY))]
        # With `=`, for a value may begin with a dash.
        given = [
            word
            for option, value in options
            if value
            for word in ([f"{option}={value}"] if value.startswith("-") else [option, value])
        ]
        given += ["--limit", str(max(1, min(limit, 1000))), "-w", workdir]
        # What follows `--` is no option any more.
        return " ".join(map(_typed, [*words[:2], *given, *words[2:]]))

    @property
    def compares(self) -> bool:
        """Whether clips are compared with words or examples."""
        return bool(self.words or self.like or self.unlike)


# A filter that every clip passes: `search` wants to be asked something.
ANY = "clip_id is not null"


def _typed(word: str) -> str:
    """A word as a shell takes it; one with single quotes, as filters have, in double ones."""
    return f'"{word}"' if "'" in word and not set('"$`\\!\n') & set(word) else shlex.quote(word)


def _named(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value.strip() for value in values if value.strip()))


def _one_of(facet: str, values: Iterable[str]) -> str:
    """A facet's values as a filter."""
    said = [value for value in values if value != NONE]
    tests = [f"{facet} in ({', '.join(map(quote, said))})"] if len(said) > 1 else []
    tests += [f"{facet} = {quote(said[0])}"] if len(said) == 1 else []
    tests += [f"{facet} is null"] if NONE in values else []
    return tests[0] if len(tests) == 1 else f"({' or '.join(tests)})"
