"""Quotas: whoever is over its rate is refused by its own limit's id, and takes nothing from the others."""

from __future__ import annotations

from collections import Counter

import pytest

from quantum.application.ports import Principal
from quantum.application.quotas import Quotas, Rates
from quantum.domain.errors import Throttled


class Tally:
    """Counters without a window: what was counted stays."""

    shared = False

    def __init__(self) -> None:
        self.counted: Counter[str] = Counter()

    async def hit(self, name: str, per_s: int) -> int:
        if self.counted[name] >= per_s:
            return 7
        self.counted[name] += 1
        return 0


def asker(subject: str, means: str, tenant: str = "acme") -> Principal:
    return Principal(subject, frozenset({"viewer"}), tenant, means=means)


async def outcome(quotas: Quotas, principal: Principal) -> str:
    try:
        await quotas.admit(principal)
    except Throttled as refusal:
        return f"{refusal.reason} {refusal.retry_after_s}"
    return "admitted"


@pytest.mark.parametrize(
    ("means", "reason"), [("key", "key_rate 7"), ("token", "user_rate 7"), ("session", "user_rate 7")]
)
async def test_whoever_is_over_its_rate_is_refused_by_its_own_limit(means: str, reason: str) -> None:
    quotas = Quotas(Tally(), Rates(key_per_s=2, user_per_s=2, tenant_per_s=100))
    found = [await outcome(quotas, asker("a", means)) for _ in range(4)]
    assert found == ["admitted", "admitted", reason, reason]
    assert await outcome(quotas, asker("b", means)) == "admitted"


async def test_what_a_key_is_refused_takes_nothing_from_its_tenant() -> None:
    tally = Tally()
    quotas = Quotas(tally, Rates(key_per_s=2, user_per_s=2, tenant_per_s=3))
    for _ in range(20):
        await outcome(quotas, asker("noisy", "key"))
    assert tally.counted["acme/all"] == 2
    assert await outcome(quotas, asker("calm", "token")) == "admitted"


async def test_a_tenant_over_its_rate_is_refused_and_the_others_are_not() -> None:
    quotas = Quotas(Tally(), Rates(tenant_per_s=1))
    assert await outcome(quotas, asker("a", "key")) == "admitted"
    assert await outcome(quotas, asker("b", "token")) == "tenant_rate 7"
    assert await outcome(quotas, asker("a", "key", tenant="other")) == "admitted"


async def test_a_key_and_a_user_of_the_same_name_are_two() -> None:
    quotas = Quotas(Tally(), Rates(key_per_s=1, user_per_s=1))
    assert [await outcome(quotas, asker("a", means)) for means in ("key", "token", "key")] == [
        "admitted",
        "admitted",
        "key_rate 7",
    ]


async def test_without_sign_in_nobody_is_counted() -> None:
    tally = Tally()
    quotas = Quotas(tally, Rates(key_per_s=1, user_per_s=1, tenant_per_s=1))
    assert {await outcome(quotas, asker("local-admin", "stub")) for _ in range(5)} == {"admitted"}
    assert not tally.counted


async def test_no_rate_means_any() -> None:
    quotas = Quotas(Tally(), Rates())
    assert {await outcome(quotas, asker("a", "key")) for _ in range(5)} == {"admitted"}
    assert set(quotas.rates.by_id().values()) == {float("inf")}
    assert Rates(key_per_s=3).by_id()["key_rate"] == 3
