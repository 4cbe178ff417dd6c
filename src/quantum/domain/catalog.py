"""The catalog: which policies and receivers are in force, and the rules for changing them.

Edits carry the version they were made against: 0 creates, None takes whatever is there, and a version that has moved
on is a conflict, so that no one overwrites what they have not seen.

>>> Catalog().policies
()
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import urlsplit

from quantum.domain.errors import Conflict, NotFound, Rejected
from quantum.domain.facts import PutPolicy, WebhookReceiver
from quantum.domain.policies import MAX_NAME, AlertPolicy, check_policy
from quantum.domain.routes import Route
from quantum.domain.teaching import Lesson

if TYPE_CHECKING:
    from collections.abc import Iterable

    from quantum.domain.facts import DeletePolicy, DeleteReceiver, PutReceiver, TeachPolicy, UnteachPolicy

MAX_POLICIES: Final = 1000
MAX_RECEIVERS: Final = 200
MAX_URL: Final = 2000
MAX_LESSONS: Final = 20
"""How many lessons of a policy can be taken back, one after the other."""

T = TypeVar("T", AlertPolicy, WebhookReceiver, Route)


class Catalog:
    """Policies by id with what they learnt, and receivers by name."""

    def __init__(
        self,
        policies: Iterable[AlertPolicy] = (),
        receivers: Iterable[WebhookReceiver] = (),
        lessons: Iterable[Lesson] = (),
    ) -> None:
        self._policies = {policy.id: policy for policy in policies}
        self._receivers = {receiver.name: receiver for receiver in receivers}
        self._lessons: dict[str, tuple[Lesson, ...]] = {}
        for lesson in lessons:
            self._remember(lesson)

    @property
    def policies(self) -> tuple[AlertPolicy, ...]:
        """All policies, by id."""
        return tuple(self._policies[key] for key in sorted(self._policies))

    @property
    def receivers(self) -> tuple[WebhookReceiver, ...]:
        """All receivers, by name."""
        return tuple(self._receivers[key] for key in sorted(self._receivers))

    @property
    def lessons(self) -> tuple[Lesson, ...]:
        """What all policies learnt and did not take back, by policy, oldest first."""
        return tuple(lesson for key in sorted(self._lessons) for lesson in self._lessons[key])

    def lessons_of(self, policy_id: str) -> tuple[Lesson, ...]:
        """Return what a policy learnt and did not take back, oldest first."""
        return self._lessons.get(policy_id, ())

    def policy(self, policy_id: str) -> AlertPolicy | None:
        """Return a policy by id; None if it is not there."""
        return self._policies.get(policy_id)

    def receiver(self, name: str) -> WebhookReceiver | None:
        """Return a receiver by name; None if it is not there."""
        return self._receivers.get(name)

    def put_policy(self, command: PutPolicy) -> AlertPolicy:
        """Create or replace a policy; return it with its new version, or unchanged if nothing differs.

        Raises:
            Rejected: it makes no sense, names a receiver that is not there, or there are `MAX_POLICIES` already.
            Conflict: its name is taken, or the expected version is not the one in force.
            NotFound: an edit of a policy that is not there.
        """
        policy = check_policy(command.policy)
        known = self._policies.get(policy.id)
        if any(other.name == policy.name for other in self._policies.values() if other.id != policy.id):
            raise Conflict(f"there is a policy named {policy.name!r} already")
        for name in policy.receivers:
            if name not in self._receivers:
                raise Rejected("policy_receiver", f"there is no receiver named {name!r}")
        if known is None and len(self._policies) >= MAX_POLICIES:
            raise Rejected("policy_limit", f"policy limit {MAX_POLICIES} reached")
        policy = versioned(policy, known, command.expected_version, f"policy {policy.name!r}")
        self._policies[policy.id] = policy
        return policy

    def delete_policy(self, command: DeletePolicy) -> AlertPolicy:
        """Remove a policy and return what it was; raises NotFound or Conflict."""
        known = check_version(
            self._policies.get(command.policy_id), command.expected_version, f"policy {command.policy_id}"
        )
        del self._policies[command.policy_id]
        self._lessons.pop(command.policy_id, None)
        return known

    def teach_policy(self, command: TeachPolicy, at_ms: int) -> AlertPolicy:
        """Replace a policy by what it is to be from now on, and remember the lesson; return the policy.

        Raises:
            NotFound, Conflict, Rejected: as for `put_policy`; Rejected `lesson` if nothing would differ.
        """
        known = check_version(
            self._policies.get(command.policy.id), command.expected_version, f"policy {command.policy.name!r}"
        )
        policy = self.put_policy(PutPolicy(command.policy, known.version, command.actor))
        if policy is known:
            raise Rejected("lesson", f"policy {policy.name!r} has nothing to learn from this")
        self._remember(Lesson(before=known, after=policy, evidence=command.evidence, at_ms=at_ms, actor=command.actor))
        return policy

    def unteach_policy(self, command: UnteachPolicy) -> AlertPolicy:
        """Put a policy in force as it was before its last lesson; return it with its new version.

        Raises:
            NotFound: there is no such policy, or it has learnt nothing.
            Conflict: the version is not the one in force, or somebody has edited the policy since.
            Rejected: a receiver that it named is gone.
        """
        known = check_version(
            self._policies.get(command.policy_id), command.expected_version, f"policy {command.policy_id}"
        )
        if not (lessons := self.lessons_of(known.id)):
            raise NotFound(f"policy {known.name!r} has learnt nothing that could be taken back")
        if replace(known, version=0) != replace(lessons[-1].after, version=0):
            raise Conflict(f"policy {known.name!r} was edited after it learnt: edit it again instead")
        policy = self.put_policy(PutPolicy(lessons[-1].before, known.version, command.actor))
        self._lessons[known.id] = lessons[:-1]
        return policy

    def _remember(self, lesson: Lesson) -> None:
        key = lesson.after.id
        self._lessons[key] = (*self.lessons_of(key), lesson)[-MAX_LESSONS:]

    def put_receiver(self, command: PutReceiver) -> WebhookReceiver:
        """Create or replace a receiver; raises Rejected, Conflict or NotFound as for policies."""
        receiver = _checked(command.receiver)
        known = self._receivers.get(receiver.name)
        if known is None and len(self._receivers) >= MAX_RECEIVERS:
            raise Rejected("receiver_limit", f"receiver limit {MAX_RECEIVERS} reached")
        receiver = versioned(receiver, known, command.expected_version, f"receiver {receiver.name!r}")
        self._receivers[receiver.name] = receiver
        return receiver

    def delete_receiver(self, command: DeleteReceiver) -> WebhookReceiver:
        """Remove a receiver and return what it was; raises NotFound, or Conflict while a policy names it."""
        known = check_version(self._receivers.get(command.name), command.expected_version, f"receiver {command.name!r}")
        for policy in self.policies:
            if command.name in policy.receivers:
                raise Conflict(f"policy {policy.name!r} still tells receiver {command.name!r}")
        del self._receivers[command.name]
        return known


def versioned(wanted: T, known: T | None, expected: int | None, what: str) -> T:
    """Return what is wanted, with the version that follows the one in force.

    Raises:
        NotFound, Conflict: another version was expected, or none, or any.
    """
    if known is None:
        if expected:
            raise NotFound(f"there is no {what}")
        return replace(wanted, version=1)
    if expected == 0:
        raise Conflict(f"there is a {what} already")
    check_version(known, expected, what)
    if replace(wanted, version=known.version) == known:
        return known
    return replace(wanted, version=known.version + 1)


def check_version(known: T | None, expected: int | None, what: str) -> T:
    """Return what is in force; raises NotFound if nothing is, Conflict if it is at another version than expected."""
    if known is None:
        raise NotFound(f"there is no {what}")
    if expected is not None and expected != known.version:
        raise Conflict(f"{what} is at version {known.version}, not {expected}: read it again before you change it")
    return known


def _checked(receiver: WebhookReceiver) -> WebhookReceiver:
    name = receiver.name
    if not name.strip() or len(name) > MAX_NAME or not name.isprintable() or "/" in name or name in {".", ".."}:
        raise Rejected("receiver_name", f"a receiver name has 1 to {MAX_NAME} printable characters, none of them /")
    try:
        url = urlsplit(receiver.url)
        usable = url.scheme in ("http", "https") and bool(url.hostname) and (url.port or 1) > 0
    except ValueError:
        usable = False
    if not usable or len(receiver.url) > MAX_URL or not receiver.url.isprintable():
        raise Rejected("receiver_url", f"a receiver's url is http or https, with a host, in {MAX_URL} characters")
    if "@" in url.netloc:
        raise Rejected("receiver_url", "a receiver's url carries no user or password; use its secret")
    if not receiver.secret.isascii() or (receiver.secret and not receiver.secret.isprintable()):
        raise Rejected("receiver_secret", "a receiver's secret is printable ASCII")
    return receiver
