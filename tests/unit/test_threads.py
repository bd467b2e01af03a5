"""A stage that works ahead: the same items, the same errors, and nothing left when it is over."""

import threading
import time
from collections.abc import Iterator

import pytest

from metst.threads import ahead


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("metst.threads.thread_limit", lambda: 2)


def others() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "metst-ahead"]


@pytest.mark.usefixtures("two")
def test_the_items_come_in_order_and_are_made_elsewhere_and_ahead() -> None:
    made: list[int] = []
    where: set[int] = set()

    def source() -> Iterator[int]:
        for k in range(100):
            made.append(k)
            where.add(threading.get_ident())
            yield k

    got = []
    for k in ahead(source(), most=3):
        while k < 50 and len(made) < k + 4:  # ends only because it is worked ahead
            time.sleep(0.001)
        assert len(made) <= k + 6  # three wait, one is handed over, one is made
        got.append(k)
    assert got == list(range(100))
    assert threading.get_ident() not in where
    assert not others()


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize("kind", [ValueError, MemoryError, KeyboardInterrupt])
def test_what_goes_wrong_is_raised_behind_the_items_before(kind: type[BaseException]) -> None:
    def source() -> Iterator[int]:
        yield 1
        yield 2
        raise kind("at the third")

    got = []
    with pytest.raises(kind, match="at the third"):
        got += [got.append(k) for k in ahead(source(), most=4)]
    assert got[:2] == [1, 2]
    assert not others()


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize("how", ["close", "error"])
def test_who_stops_early_closes_the_source_even_if_its_queue_is_full(how: str) -> None:
    closed: list[bool] = []

    def source() -> Iterator[int]:
        try:
            yield from range(1_000_000)
        finally:
            closed.append(True)

    items = ahead(source(), most=1)
    assert next(items) == 0
    time.sleep(0.1)  # the queue is full: the thread waits
    if how == "close":
        items.close()
    else:
        with pytest.raises(RuntimeError, match="mine"):
            items.throw(RuntimeError("mine"))
    assert closed == [True]
    assert not others()


@pytest.mark.usefixtures("two")
def test_it_begins_before_anything_is_asked_for_and_ends_when_nothing_ever_is() -> None:
    begun = threading.Event()

    def source() -> Iterator[int]:
        begun.set()
        yield from range(1_000_000)

    items = ahead(source(), most=1)
    assert begun.wait(10)
    del items
    assert not others()


def test_one_thread_stays_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    where = {threading.get_ident() for _ in ahead(iter(range(5)), most=2)}
    made = list(ahead((threading.get_ident() for _ in range(5)), most=2))
    assert {*made} == where == {threading.get_ident()}
    assert not others()
