"""The words that the tables hold, as enums: what a column of words may say is read here and nowhere else.

Every member is the text that is stored, so it is compared with, written to and filtered by like a text.
"""

from enum import StrEnum


class Outcome(StrEnum):
    """What became of an input (`sources.outcome`)."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"  # what it shows is in the catalogue already
    REJECTED = "rejected"  # a verdict about its bytes, which stays
    QUARANTINED = "quarantined"  # may go better the next time
    GONE = "gone"  # it was there, and is not any more


class Status(StrEnum):
    """Whether a clip is used (`clips.status`)."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"  # another clip shows the same, and is better
    REJECTED = "rejected"


class CategorySource(StrEnum):
    """Who put a clip into its category (`clips.category_source`)."""

    LABEL = "label"  # its data set
    ASSIGNED = "assigned"  # a prototype that was near enough
    PROPOSED = "proposed"  # a cluster that proposes a category
    HUMAN = "human"  # a person, whom nothing overrules


class CategoryState(StrEnum):
    """What a category is (`categories.state`)."""

    ACTIVE = "active"
    PROPOSED = "proposed"
    MERGED = "merged"  # its clips count as those of `merged_into`


class Split(StrEnum):
    """What a clip is for (`clips.split`)."""

    TRAIN = "train"
    VAL = "val"  # held out of a category that trains
    OOD = "ood"  # of a category that is held out as a whole


class SplitSource(StrEnum):
    """Who gave a clip its split (`clips.split_source`); null where its content decides."""

    HUMAN = "human"  # a person, whom nothing overrules


class LicenceSource(StrEnum):
    """Who stated a clip's terms (`clips.licence_source`); null where its data set did, or nobody."""

    HUMAN = "human"  # a person, whom no data set overrules


class PairVerdict(StrEnum):
    """What is known of two clips (`pairs.verdict`)."""

    SAME = "same"  # a person says so, and which is kept
    DIFFERENT = "different"  # a person says so, whatever their pictures are
    REVERSED = "reversed"  # one shows the other backwards: two effects


class RunStatus(StrEnum):
    """How a command stands (`runs.status`)."""

    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


class Verdict(StrEnum):
    """What came of asking whether to train again (`decisions.verdict`)."""

    NOT_DUE = "not due"
    RUNNING = "running"  # begun; whoever has the lease goes on with it
    PROMOTED = "promoted"  # the challenger is the champion
    KEPT = "kept"  # the champion stays
    NO_LOOKS = "no looks left"  # the holdout was looked at often enough
    FAILED = "failed"  # only a person can put it right


class Trigger(StrEnum):
    """Why training is due (`decisions.triggers`)."""

    FIRST = "first"  # nothing was trained yet
    AGE = "age"
    NEW_CLIPS = "new clips"
    DRIFT = "drift"  # categories look otherwise than they did
    WITHDRAWN = "withdrawn"  # clips that trained have lost their licence
    HAND = "hand"  # a person


class EventState(StrEnum):
    """How an act stands (`events.state`)."""

    BEGUN = "begun"  # written down whole, and being carried out
    DONE = "done"


class RequestState(StrEnum):
    """How a request stands (`requests.state`)."""

    QUEUED = "queued"
    RUNNING = "running"  # a worker holds it, as long as that one is heard of
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


# The licence of a clip whose data set states none, as filters and settings name it.
NO_LICENCE = "unknown"
