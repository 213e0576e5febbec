"""What an ingestion tells a person: what was found, what was left alone, and what became of it."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from catalog.vocabulary import Outcome

if TYPE_CHECKING:
    from pipeline.intake.report import IngestReport
    from pipeline.sources.survey import Survey

# Of many of one kind these are named; all stand in the report.
SHOWN = 5


def of_survey(found: "Survey", location: str) -> Iterator[str]:
    """Lines about what lies at a place."""
    yield f"{len(found.sources)} inputs at {location}, read as {found.layout}"
    yield from found.notes
    if found.unlisted:
        yield f"{len(found.unlisted)} videos are there that the manifest does not list; they are left alone:"
        yield from _named(found.unlisted)
    by_reason: dict[str, list[str]] = defaultdict(list)
    for place, reason in found.skipped:
        by_reason[reason].append(place)
    for reason, places in by_reason.items():
        yield f"{len(places)} left alone, {reason}:"
        yield from _named(places)


def of_ingest(report: "IngestReport") -> Iterator[str]:
    """Lines about what became of the inputs; each reason with some of those that it holds for."""
    counts = report.counts
    kinds = [f"{counts[kind]} {kind}" for kind in Outcome if kind != Outcome.GONE]
    kinds += [f"{counts[Outcome.GONE]} gone"] if counts[Outcome.GONE] else []
    yield f"{counts['found']} inputs: {', '.join(kinds)}"
    by_code: dict[tuple, list[str]] = defaultdict(list)
    for row in report.refused:
        by_code[row["outcome"], row["reason_code"]].append(f"{row['source_uri']}: {row['reason']}")
    for (outcome, code), places in sorted(by_code.items()):
        yield f"  {len(places)} {outcome}, {code}:"
        yield from _named(places)
    if report.conflicts:
        yield f"{len(report.conflicts)} contents have several labels, and no category until a person decides:"
        labels = [f"{uri} ({label})" for each in report.conflicts for uri, label in each["labels"].items()]
        yield from _named(labels)
        clip = report.conflicts[0]["clips"][0]
        yield f"`video2lora clip decide {clip} --to CATEGORY` says which it is"
    if report.relabelled:
        yield f"{len(report.relabelled)} inputs have another label than before:"
        yield from _named([_relabelled(each) for each in report.relabelled])
    if report.claims:
        yield f"{report.claims} clips wait for a person, who said otherwise than their data sets do by now:"
        yield "    `video2lora clip conflicts` lists them"
    if report.refused:
        yield "`video2lora sources --rejected` lists all of them with their reasons"


def _relabelled(each: dict) -> str:
    stays = each["stays_in"] and f"; a person put it into {each['stays_in']}, where it stays"
    stays = stays or ""
    return f"{each['source_uri']}: {each['before']!r}, now {each['now']!r}{stays}"


def _named(places: Sequence[str]) -> Iterator[str]:
    yield from (f"    {place}" for place in places[:SHOWN])
    if len(places) > SHOWN:
        yield f"    and {len(places) - SHOWN} more, in the report"
