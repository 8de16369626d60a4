"""What every backend promises about `get_many`: whole entries in the order of their keys, whatever happens."""

from __future__ import annotations

import threading

import apsw
import pytest

from cache_backends import CacheBackend
from tests.cache_backends.answers import found, key_of, store, whole
from tests.cache_backends.backends import FakeClock
from tests.cache_backends.sqlite_outside import OpenSQLite

PROMPTS = [f"q{number}" for number in range(7)]


@pytest.fixture
def seven(cache: CacheBackend, clock: FakeClock) -> CacheBackend:
    """A cache with seven entries."""
    for prompt in PROMPTS:
        store(cache, prompt, f"answer to {prompt}")
        clock.tick()
    return cache


def test_entries_come_whole_and_in_the_order_of_their_keys(seven: CacheBackend) -> None:
    for order in (PROMPTS, PROMPTS[::-1], ["q3", "q0", "q5"], []):
        assert seven.get_many([key_of(prompt) for prompt in order]) == [whole(seven, prompt) for prompt in order]


def test_what_is_missing_is_left_out(seven: CacheBackend) -> None:
    store(seven.view(namespace="other"), "elsewhere", "answer")
    seven.delete(key_of("q1"))
    keys = [key_of(prompt) for prompt in ("q0", "q1", "elsewhere", "never stored", "q2")]
    assert [entry.raw_prompt for entry in seven.get_many(keys)] == ["q0", "q2"]


def test_a_key_that_is_named_twice_gives_its_entry_twice(seven: CacheBackend) -> None:
    entries = seven.get_many([key_of("q1"), key_of("q2"), key_of("q1")])
    assert [entry.raw_prompt for entry in entries] == ["q1", "q2", "q1"]


def test_uses_are_shown_and_none_is_counted(seven: CacheBackend) -> None:
    found(seven, "q1")
    assert [entry.hits for entry in seven.get_many([key_of("q1"), key_of("q2")])] == [1, 0]
    assert [entry.hits for entry in seven.get_many([key_of("q1"), key_of("q2")])] == [1, 0]


def test_an_expired_entry_is_shown(seven: CacheBackend, clock: FakeClock) -> None:
    seven.set_ttl(key_of("q1"), 5)
    clock.tick(10)
    (entry,) = seven.get_many([key_of("q1")])
    assert entry.is_expired(clock.now)


@pytest.mark.parametrize("key", ["", "q1", "A" * 64, "0" * 63])
def test_what_can_be_no_key_is_refused(seven: CacheBackend, key: str) -> None:
    with pytest.raises(ValueError, match="is not a key: 64 hexadecimal digits are"):
        seven.get_many([key_of("q0"), key])


def test_others_may_store_and_delete_meanwhile(seven: CacheBackend) -> None:
    keys = [key_of(prompt) for prompt in PROMPTS]
    over = threading.Event()

    def change() -> None:
        while not over.is_set():
            seven.delete(key_of("q1"))
            store(seven, "q1", "answer to q1")
            store(seven, "q2", "answer to q2")

    changing = threading.Thread(target=change)
    changing.start()
    try:
        for _ in range(30):
            entries = seven.get_many(keys)
            assert [entry.raw_prompt for entry in entries if entry.raw_prompt != "q1"] == ["q0", *PROMPTS[2:]]
            assert all(entry.text == f"answer to {entry.raw_prompt}" for entry in entries)
    finally:
        over.set()
        changing.join()


@pytest.mark.parametrize(
    "damage",
    [
        "update entries set value = x'00' where id = (select id from details where prompt = 'q2')",
        "update entries set value = cast(x'ff' as text) where id = (select id from details where prompt = 'q2')",
        "update entries set created_at = 9e999 where id = (select id from details where prompt = 'q2')",
        "update details set prompt = cast(x'ff' as text) where prompt = 'q2'",
        "delete from details where prompt = 'q2'",
    ],
)
def test_a_damaged_row_of_sqlite_is_left_out(open_sqlite: OpenSQLite, damage: str) -> None:
    cache = open_sqlite()
    for prompt in PROMPTS:
        store(cache, prompt, "answer")
    outside = apsw.Connection(str(cache.path))
    outside.execute(damage)
    outside.close()
    entries = cache.get_many([key_of(prompt) for prompt in PROMPTS])
    assert [entry.raw_prompt for entry in entries] == ["q0", "q1", *PROMPTS[3:]]


def test_sqlite_reads_in_one_statement_and_writes_uses_once(
    open_sqlite: OpenSQLite, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = open_sqlite()
    for prompt in PROMPTS:
        store(cache, prompt, "answer")
    calls: list[str] = []
    for name in ("_select", "_flush_uses"):
        inner = getattr(cache, name)
        monkeypatch.setattr(cache, name, lambda *given, name=name, inner=inner: (calls.append(name), inner(*given))[1])
    assert len(cache.get_many([key_of(prompt) for prompt in PROMPTS])) == len(PROMPTS)
    assert sorted(calls) == ["_flush_uses", "_select"]
