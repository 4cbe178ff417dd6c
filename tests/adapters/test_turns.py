"""Threads are shared in turns by tenant: nobody waits behind another tenant's queue, and nothing is lost."""

from __future__ import annotations

import threading
from concurrent.futures import Future, wait
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantum.adapters.turns import TurnPool
from quantum.application.control import TENANT

if TYPE_CHECKING:
    from collections.abc import Callable

ENOUGH_S = 20.0


def submit(pool: TurnPool, tenant: str, work: Callable[[], Any]) -> Future[Any]:
    token = TENANT.set(tenant)
    try:
        return pool.submit(work)
    finally:
        TENANT.reset(token)


def test_a_tenant_does_not_wait_behind_the_queue_of_another() -> None:
    gate, order = threading.Event(), list[str]()
    with TurnPool(threads=1, threads_of_one=1) as pool:
        submit(pool, "noisy", lambda: gate.wait(ENOUGH_S))
        for number in range(50):
            submit(pool, "noisy", partial(order.append, f"noisy {number}"))
        for number in range(3):
            submit(pool, "quiet", partial(order.append, f"quiet {number}"))
        gate.set()
    assert [order.index(f"quiet {number}") for number in range(3)] == [1, 3, 5]
    assert [one for one in order if one.startswith("noisy")] == [f"noisy {number}" for number in range(50)]


def test_no_tenant_ever_has_all_threads() -> None:
    gate = threading.Event()
    with TurnPool(threads=3, threads_of_one=2) as pool:
        stuck = [submit(pool, "noisy", lambda: gate.wait(ENOUGH_S)) for _ in range(20)]
        # though each of the others would wait for ever, this one has a thread
        assert submit(pool, "quiet", lambda: "answered").result(ENOUGH_S) == "answered"
        assert sum(one.running() for one in stuck) == 2
        gate.set()
        assert all(one.result(ENOUGH_S) for one in stuck)


def test_an_error_is_carried_to_who_waits_and_a_cancelled_work_is_not_done() -> None:
    gate, done = threading.Event(), list[int]()

    def fail() -> None:
        raise ValueError("no")

    with TurnPool(threads=1, threads_of_one=1) as pool:
        submit(pool, "a", lambda: gate.wait(ENOUGH_S))
        failing = submit(pool, "a", fail)
        cancelled = submit(pool, "a", lambda: done.append(1))
        last = submit(pool, "a", lambda: 3)
        assert cancelled.cancel()
        gate.set()
        assert last.result(ENOUGH_S) == 3
        with pytest.raises(ValueError, match="no"):
            failing.result(ENOUGH_S)
    assert done == []


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from("abc"), max_size=60), st.integers(1, 4), st.integers(1, 4))
def test_everything_is_done_once_and_in_order_of_its_tenant(tenants: list[str], threads: int, of_one: int) -> None:
    begun, lock = list[tuple[str, int]](), threading.Lock()

    def work(tenant: str, number: int) -> int:
        with lock:
            begun.append((tenant, number))
        return number

    with TurnPool(threads, min(of_one, threads)) as pool:
        futures = [submit(pool, tenant, partial(work, tenant, number)) for number, tenant in enumerate(tenants)]
        wait(futures, ENOUGH_S)
    assert [one.result(0) for one in futures] == list(range(len(tenants)))
    assert len(begun) == len(tenants)
    if threads == 1 or of_one == 1:
        for tenant in "abc":
            of_tenant = [number for one, number in begun if one == tenant]
            assert of_tenant == sorted(of_tenant)
