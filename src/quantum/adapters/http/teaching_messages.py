"""JSON shapes of what verdicts teach a policy: changes, proposals, lessons."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from quantum.adapters.http.messages import MatcherItem, Message, PolicyItem, Request, TimeMs

SettingName = Literal["raise_at", "after_ms", "for_ms", "direction", "matcher"]
SideName = Literal["above", "below"]
PolicyVersion = Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)]


class ProposalRequest(Request):
    """Which verdicts count: those on incidents of a stretch, by default of the last 30 days."""

    start_ms: TimeMs | None = None
    end_ms: TimeMs | None = None


class LearnRequest(Request):
    """One setting made stricter, and a number, a side or a label value for it.

    `direction` needs the side that still counts, `matcher` the label value that is left aside (`!=`), others `value`.
    With `version`, the policy learns only if it is still at that version. The stretch is as for a proposal.
    """

    setting: SettingName
    value: float | None = None
    direction: SideName | None = None
    matcher: MatcherItem | None = None
    version: PolicyVersion | None = None
    start_ms: TimeMs | None = None
    end_ms: TimeMs | None = None


class PagesItem(Message):
    """How often a receiver would have been told that an alert fires."""

    receiver: str
    before: int
    after: int


class EvidenceItem(Message):
    """What a replay says of a change.

    `alerts` fire with the policy as it is, `alerts_after` with the change; `removed` have no counterpart then. Of
    those, `unwanted_removed` of `unwanted` are of incidents that nobody wanted to be told of. `lost` are ids of
    incidents judged real, of `confirmed`; `unproven` more do not come up in the replay at all. `delay_ms` is by how
    much later a confirmed incident would be told at most.
    """

    start_ms: int
    end_ms: int
    alerts: int
    alerts_after: int
    removed: int
    unwanted: int
    unwanted_removed: int
    confirmed: int
    lost: list[str]
    unproven: int
    delay_ms: int
    pages: list[PagesItem]


class OptionItem(Message):
    """A stricter setting with its evidence; `harmless` ones may be learnt."""

    setting: SettingName
    value: float | None
    direction: SideName | None
    matcher: MatcherItem | None
    text: str
    harmless: bool
    policy: PolicyItem
    evidence: EvidenceItem


class ProposalItem(Message):
    """What the verdicts on `unwanted` and `confirmed` incidents teach a policy; the best option first."""

    policy_id: str
    version: int
    start_ms: int
    end_ms: int
    unwanted: int
    confirmed: int
    options: list[OptionItem]


class LessonItem(Message):
    """A change that a policy learnt; taken back, the policy is as `before` again."""

    at_ms: int
    actor: str
    before: PolicyItem
    after: PolicyItem
    evidence: EvidenceItem


class LessonList(Message):
    """What a policy learnt and did not take back, oldest first."""

    items: list[LessonItem]
