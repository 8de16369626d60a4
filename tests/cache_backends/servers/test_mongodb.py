"""What only MongoDB can do wrong: the limit of a document, removal by itself, collections, and event loops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import pymongo
import pytest
from pymongo import errors

from cache_backends import open_cache
from cache_backends.errors import CorruptEntryError
from cache_backends.servers import mongodb_documents
from cache_backends.servers import mongodb_operations as operations
from cache_backends.servers.mongodb import MongoDBCache
from cache_backends.servers.mongodb_documents import FIELDS_BYTES, GRACE, LARGEST_BYTES, LEAST_GRACE_S, LONGEST_S
from cache_backends.servers.mongodb_queries import BY_AGE
from tests.cache_backends.answers import LLM, chat, found, key_of, look, prompts, store, whole
from tests.cache_backends.backends import FakeClock, own_prefix
from tests.servers.available import available
from tests.servers.shared import shared_mongodb

NOWHERE = "mongodb://127.0.0.1:1/cache?timeout=0.01"
"""Where nobody listens."""
MANY_WORDS = " ".join(f"word{number}" for number in range(3_000))
TODAY = datetime(2100, 5, 17, 12, tzinfo=UTC)
HOUR = 3600.0

Open = Callable[..., MongoDBCache]


@pytest.fixture
def prefix(tmp_path: Path) -> str:
    """What the test's collections begin with."""
    return own_prefix(tmp_path)


@pytest.fixture
def open_it(prefix: str, clock: FakeClock) -> Iterator[Open]:
    """Opens the test's one store, as often as asked."""
    server = available(shared_mongodb)
    opened: list[MongoDBCache] = []

    def open_one(**options: Any) -> MongoDBCache:
        opened.append(MongoDBCache(server.url(prefix=prefix), **{"clock": clock, "timeout": 20, **options}))
        return opened[-1]

    yield open_one
    for cache in opened:
        cache.close()


@pytest.fixture
def cache(open_it: Open) -> MongoDBCache:
    """An empty cache."""
    return open_it()


@pytest.fixture
def database() -> Iterator[Any]:
    """The database that the caches are in, from outside."""
    server = available(shared_mongodb)
    with server.connect() as client:
        yield client[server.database]


@pytest.fixture
def documents(database: Any, prefix: str) -> Any:
    """The collection of entries, from outside."""
    return database[f"{prefix}_entries"]


@pytest.fixture
def today(monkeypatch: pytest.MonkeyPatch) -> type[datetime]:
    """The machine's clock, stopped; that of the caches says something else."""

    class Stopped(datetime):
        at = TODAY

        @classmethod
        def now(cls, tz: Any = None) -> Self:  # type: ignore[override]
            return cls.at.astimezone(tz)  # type: ignore[return-value]

    monkeypatch.setattr(mongodb_documents, "datetime", Stopped)
    return Stopped


def removed_after_s(documents: Any, prompt: str) -> float | None:
    """Seconds from today to when MongoDB may remove an entry; None: never."""
    at: datetime | None = documents.find_one({"key": key_of(prompt)})["remove_at"]
    return None if at is None else (at.replace(tzinfo=UTC) - TODAY).total_seconds()


def indexes(documents: Any) -> list[dict[str, Any]]:
    """The indexes of a collection, without what MongoDB adds."""
    return [
        {name: dict(value) if name == "key" else value for name, value in index.items() if name not in ("v", "name")}
        for index in documents.list_indexes()
    ]


# Documents


def test_a_document_says_what_it_is(cache: MongoDBCache, documents: Any, database: Any, prefix: str) -> None:
    store(cache, "Who was Carl Sagan?", "An astronomer.")
    kept = documents.find_one({"key": key_of("Who was Carl Sagan?")})
    assert kept["_id"] == f"{kept['namespace']:016x}{kept['key']}"
    assert (kept["model"], kept["prompt"], kept["shown_answer"]) == ("demo-1", "Who was Carl Sagan?", "An astronomer.")
    assert kept["words"] == " who was carl sagan an astronomer"
    assert (kept["created_at"], kept["last_used_at"]) == (cache.clock(), cache.clock())
    texts = {text["_id"]: text["content"] for text in database[f"{prefix}_texts"].find({})}
    assert (texts[kept["namespace"]], texts[kept["llm_string"]]) == ("default", LLM)
    assert whole(cache, "Who was Carl Sagan?").location.endswith(f"collection {prefix}_entries, _id {kept['_id']}")


def test_what_is_larger_than_a_document_is_refused_before_it_is_sent() -> None:
    with open_cache(NOWHERE) as cache, cache.observe() as observed:
        store(cache, "q", "x" * LARGEST_BYTES)
        asyncio.run(cache.aupdate("q", LLM, [chat("x" * LARGEST_BYTES)]))
        store(cache, "x" * LARGEST_BYTES, "answer")
    assert [made.refusal for made in observed.stores] == ["too_large"] * 3
    assert all(str(LARGEST_BYTES) in str(made.detail) for made in observed.stores)
    assert cache.trouble is None  # nobody was asked


def test_the_largest_that_is_not_refused_is_kept(cache: MongoDBCache, documents: Any) -> None:
    around = len(codec_of("")) + len("q")
    largest = LARGEST_BYTES - FIELDS_BYTES - around
    with cache.observe() as observed:
        store(cache, "q", "x" * (largest + 1))
    assert [made.refusal for made in observed.stores] == ["too_large"]
    store(cache, "q", "x" * largest)
    assert found(cache, "q") == ["x" * largest]
    assert cache.pin(key_of("q"))  # which lets the document grow
    cache.flush()
    assert documents.find_one({"key": key_of("q")}, {"hits": 1})["hits"] == 1


def codec_of(text: str) -> bytes:
    """What an answer is stored as."""
    from cache_backends.codec import encode

    return encode([chat(text)])


def test_ten_megabytes_of_different_words_are_kept_and_the_first_are_found(cache: MongoDBCache) -> None:
    answer = " ".join(f"word{number}" for number in range(1_000_000))
    assert len(answer) > 10_000_000
    store(cache, "q", answer)
    assert found(cache, "q") == [answer]
    assert cache.entries(search="word0 word1234").total == 1


@pytest.mark.parametrize(
    "error",
    [
        errors.DocumentTooLarge("BSON document too large (16793700 bytes)"),
        errors.WriteError("BSONObjectTooLarge", 10334),
        errors.WriteError("Resulting document after update is larger than 16777216", 17419),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_entry_that_turns_out_to_be_too_large_is_not_cacheable(
    cache: MongoDBCache, monkeypatch: pytest.MonkeyPatch, error: errors.PyMongoError
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise error

    store(cache, "q", "answer")
    monkeypatch.setattr(type(cache._store.clients.collections().entries), "update_one", refuse)
    with cache.observe() as observed:
        store(cache, "r", "answer")
    assert [made.refusal for made in observed.stores] == ["too_large"]
    assert cache.trouble is None


def test_the_use_of_what_is_gone_makes_no_document(cache: MongoDBCache, documents: Any) -> None:
    store(cache, "q", "answer")
    assert found(cache, "q") == ["answer"]
    documents.delete_many({})
    cache.flush()
    assert list(documents.find({})) == []


def test_a_use_of_before_sets_nothing_back(cache: MongoDBCache, documents: Any, clock: FakeClock) -> None:
    store(cache, "q", "answer")
    stored_at = clock.now
    uses = [(documents.find_one({})["_id"], 2, stored_at - 10)]
    cache._store.run(lambda collections: operations.note_uses(collections, uses))
    assert (whole(cache, "q").hits, whole(cache, "q").last_used_at) == (2, stored_at)


@pytest.mark.parametrize(
    "save",
    [lambda cache: cache.pin(key_of("q")), lambda cache: (found(cache, "q"), cache.flush())],
    ids=["pinned", "used"],
)
def test_who_was_pinned_or_used_since_is_not_evicted(
    cache: MongoDBCache, clock: FakeClock, save: Callable[[MongoDBCache], Any]
) -> None:
    for prompt in "qr":
        store(cache, prompt, "answer")
        clock.tick()
    victims = cache._store.run(lambda collections: operations.least_recently_used(collections, 2))
    save(cache)
    assert cache._store.run(lambda collections: operations.evict(collections, victims)) == 1
    assert prompts(cache) == {"q"}


def test_an_answer_that_is_stored_while_a_damaged_one_is_moved_stays(
    cache: MongoDBCache, documents: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(cache, "q", "old answer")
    documents.update_one({}, {"$set": {"value": b"damaged"}})
    kind = type(cache._store.clients.collections().damaged)
    update_one = kind.update_one

    def store_first(collection: Any, *args: Any, **options: Any) -> Any:
        monkeypatch.undo()
        store(cache, "q", "new answer")
        return update_one(collection, *args, **options)

    monkeypatch.setattr(kind, "update_one", store_first)
    assert look(cache, "q").outcome == "corrupt"
    assert found(cache, "q") == ["new answer"]


WRONG = {
    "shown_prompt": 5,
    "shown_answer": ["a"],
    "model": 5,
    "key": 5,
    "created_at": "zzz",
    "expires_at": "zzz",
    "last_used_at": [5],
    "hits": "many",
    "size_bytes": "many",
    "pinned": "yes",
}


@pytest.mark.parametrize("field", WRONG)
def test_a_list_passes_over_a_document_with_a_value_of_another_type(
    cache: MongoDBCache, documents: Any, field: str
) -> None:
    for number in range(3):
        store(cache, f"q{number}", "answer")
    documents.update_one({"key": key_of("q1")}, {"$set": {field: WRONG[field]}})
    assert prompts(cache) == {"q0", "q2"}
    assert cache.stats().entries == 3


def test_a_number_that_is_none_is_damage_in_a_list_and_nothing_in_a_sum(cache: MongoDBCache, documents: Any) -> None:
    """The server of the tests takes none."""
    store(cache, "q", "answer")
    read = documents.find_one({})
    assert mongodb_documents.summary_in(read, "default").prompt == "q"
    for number in (float("nan"), float("inf")):
        with pytest.raises(CorruptEntryError):
            mongodb_documents.summary_in(read | {"last_used_at": number}, "default")
        with pytest.raises(CorruptEntryError):
            mongodb_documents.counted_in(read | {"created_at": number}, 0.0)
        assert mongodb_documents.whole(number) == 0


@pytest.mark.parametrize("time", ["zzz", None])
def test_the_oldest_and_newest_are_those_that_have_a_time(
    cache: MongoDBCache, documents: Any, clock: FakeClock, time: Any
) -> None:
    for number in range(3):
        store(cache, f"q{number}", "answer")
        clock.tick()
    before = cache.stats()
    store(cache, "q3", "answer")
    documents.update_one({"key": key_of("q3")}, {"$set": {"created_at": time}})
    after = cache.stats()
    assert (after.oldest, after.newest) == (before.oldest, before.newest)
    assert sum(one.entries for one in cache.tally(ages=(clock.now,))) == 3


def test_texts_that_are_none_keep_nobody_from_seeing_the_rest(
    cache: MongoDBCache, documents: Any, database: Any, prefix: str
) -> None:
    other = cache.view(namespace="other")
    for one in (cache, other):
        store(one, "q", "answer")
    good = documents.find_one({"namespace": mongodb_documents.interned_id("default")})
    database[f"{prefix}_texts"].update_one({"_id": good["llm_string"]}, {"$set": {"content": 7}})
    database[f"{prefix}_texts"].update_one({"_id": good["namespace"]}, {"$set": {"content": 7}})
    assert cache.namespaces() == ["other"]
    assert whole(cache, "q").text == "answer"
    documents.update_one({"_id": good["_id"]}, {"$set": {"llm_string": ["a"]}})
    assert whole(cache, "q").text == "answer"
    assert len(list(cache._rows())) == 1


def test_a_foreign_document_keeps_nobody_from_evicting(open_it: Open, documents: Any) -> None:
    cache = open_it(max_entries=10)
    documents.insert_one({"_id": "foreign", "pinned": False})
    for number in range(30):
        store(cache, f"q{number}", "answer")
    assert documents.count_documents({}) <= 10
    assert found(cache, "q29") == ["answer"]


@pytest.mark.parametrize("field", ["created_at", "expires_at"])
def test_an_entry_whose_times_are_none_can_be_pinned_and_let_go(
    cache: MongoDBCache, documents: Any, field: str
) -> None:
    store(cache, "q", "answer")
    documents.update_one({}, {"$set": {field: "zzz"}})
    assert cache.pin(key_of("q"))
    assert cache.pin(key_of("q"), pinned=False)


@pytest.mark.parametrize("field", ["shown_prompt", "created_at", "size_bytes", "key"])
def test_a_list_passes_over_what_is_no_entry(cache: MongoDBCache, documents: Any, clock: FakeClock, field: str) -> None:
    for number in range(6):
        store(cache, f"q{number}", "answer")
        clock.tick()
    strange = documents.find_one({"key": key_of("q2")})
    del strange[field]
    documents.delete_one({"_id": strange["_id"]})
    documents.insert_one(strange)
    shown, after = [], None
    for _ in range(6):
        page = cache.entries(limit=2, order_by="last_used_at", after=after)
        shown += [entry.prompt for entry in page.entries]
        after = page.next
        if after is None:
            break
    assert shown == ["q5", "q4", "q3", "q1", "q0"]


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        ("blue pale", {"a", "b"}),
        ("DOT blu", {"a"}),
        ("blue palet", {"b"}),
        ("lue", set()),
        ("pale.*dot", {"a"}),
        ("pale dot " * 3000, {"a"}),
        (MANY_WORDS, {"d"}),
        (f"{MANY_WORDS} other", set()),
        ("x" * 40_000, {"c"}),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_search_is_no_pattern_and_not_too_long_for_one(cache: MongoDBCache, search: str, expected: set[str]) -> None:
    for prompt, answer in (("a", "A pale blue dot."), ("b", "Blue (palette)"), ("c", "x" * 50_000), ("d", MANY_WORDS)):
        store(cache, prompt, answer)
    assert {entry.prompt for entry in cache.entries(search=search).entries} == expected


# Removal by MongoDB itself


def test_where_nothing_ever_ends_there_is_no_index_to_remove_by(cache: MongoDBCache, documents: Any) -> None:
    store(cache, "q", "answer")
    assert indexes(documents) == [{"key": {"_id": 1}}, {"key": dict(BY_AGE)}]


@pytest.mark.parametrize(
    "make_it_end",
    [
        lambda cache: store(cache.view(ttl=60), "q", "answer"),
        lambda cache: asyncio.run(cache.view(ttl=60).aupdate("q", LLM, [chat("answer")])),
        lambda cache: cache.set_ttl(key_of("q"), 60),
        lambda cache: cache.restore(replace(whole(cache, "q"), expires_at=2e9)),
    ],
    ids=["update", "aupdate", "set_ttl", "restore"],
)
def test_the_first_that_ends_makes_the_index_to_remove_by(
    cache: MongoDBCache, documents: Any, make_it_end: Callable[[MongoDBCache], Any]
) -> None:
    store(cache, "q", "answer")
    make_it_end(cache)
    assert {"key": {"remove_at": 1}, "expireAfterSeconds": 0} in indexes(documents)
    assert found(cache, "q") == ["answer"]


@pytest.mark.parametrize("ttl", [1.0, HOUR, 30 * 24 * HOUR])
def test_an_entry_stays_for_a_while_after_its_end(
    open_it: Open, documents: Any, today: type[datetime], ttl: float
) -> None:
    store(open_it(ttl=ttl), "q", "answer")
    assert removed_after_s(documents, "q") == ttl + max(LEAST_GRACE_S, GRACE * ttl)


def test_what_has_no_end_or_one_far_away_is_not_removed(open_it: Open, documents: Any, today: type[datetime]) -> None:
    cache = open_it()
    for prompt, ttl in (("never", None), ("far", LONGEST_S), ("farther", 1e300)):
        store(cache.view(ttl=ttl), prompt, "answer")
        assert removed_after_s(documents, prompt) is None


def test_a_pinned_entry_is_not_removed_until_it_is_let_go(
    open_it: Open, documents: Any, clock: FakeClock, today: type[datetime]
) -> None:
    cache = open_it(ttl=HOUR)
    store(cache, "q", "answer")
    cache.pin(key_of("q"))
    assert removed_after_s(documents, "q") is None
    cache.set_ttl(key_of("q"), 2 * HOUR)
    assert removed_after_s(documents, "q") is None
    clock.tick(HOUR)
    cache.pin(key_of("q"), False)
    assert removed_after_s(documents, "q") == HOUR + GRACE * 2 * HOUR
    cache.pin(key_of("q"))
    clock.tick(5 * HOUR)
    cache.pin(key_of("q"), False)  # long over: it is still seen as expired for a while
    assert removed_after_s(documents, "q") == GRACE * 2 * HOUR
    assert look(cache, "q").outcome == "expired"


def test_a_new_time_to_live_is_one_to_remove_by(open_it: Open, documents: Any, today: type[datetime]) -> None:
    cache = open_it(ttl=HOUR)
    store(cache, "q", "answer")
    cache.set_ttl(key_of("q"), 10 * HOUR)
    assert removed_after_s(documents, "q") == 11 * HOUR
    cache.set_ttl(key_of("q"), None)
    assert removed_after_s(documents, "q") is None
    store(cache, "q", "new answer")
    assert removed_after_s(documents, "q") == HOUR + GRACE * HOUR
    store(cache.view(ttl=None), "q", "newest answer")
    assert removed_after_s(documents, "q") is None


def test_a_restored_entry_is_removed_as_before(
    open_it: Open, documents: Any, clock: FakeClock, today: type[datetime]
) -> None:
    cache = open_it(ttl=HOUR)
    store(cache, "q", "answer")
    entry = whole(cache, "q")
    for passed_s, after_s in ((0, HOUR), (HOUR / 2, HOUR / 2), (5 * HOUR, 0)):
        clock.now = entry.created_at + passed_s
        cache.delete(entry.key)
        cache.restore(entry)
        assert removed_after_s(documents, "q") == after_s + GRACE * HOUR
    cache.restore(replace(entry, pinned=True))
    assert removed_after_s(documents, "q") is None


def test_what_is_over_for_long_is_removed_without_anybody_asking(
    open_it: Open, documents: Any, today: type[datetime]
) -> None:
    if available(shared_mongodb).is_real:
        pytest.skip("MongoDB looks once in a minute.")
    today.at = TODAY - timedelta(days=40_000)  # type: ignore[attr-defined]
    cache = open_it(ttl=HOUR)
    store(cache, "q", "answer")
    store(cache.view(ttl=None), "r", "answer")
    assert [kept["prompt"] for kept in documents.find({})] == ["r"]
    assert look(cache, "q").outcome == "miss"


def test_an_index_that_is_refused_keeps_nobody_from_storing(
    open_it: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cache = open_it(ttl=HOUR, strict=True)
    cache.entries()  # the collections are there

    def refuse(*_: Any, **__: Any) -> None:
        raise errors.OperationFailure("not authorized on cache to execute command { createIndexes", 13)

    monkeypatch.setattr(type(cache._store.clients.collections().entries), "create_index", refuse)
    for number in range(3):
        store(cache, f"q{number}", "answer")
    assert prompts(cache) == {"q0", "q1", "q2"}
    assert caplog.text.count("will not remove expired entries by itself") == 1


# Collections


def test_a_store_that_was_emptied_gets_its_index_again_when_somebody_browses(
    cache: MongoDBCache, documents: Any, database: Any, prefix: str
) -> None:
    store(cache, "q", "answer")
    for name in ("entries", "texts", "damaged", "format"):
        database.drop_collection(f"{prefix}_{name}")
    assert cache.entries().total == 0
    store(cache, "q", "answer")
    assert cache.namespaces() == ["default"]
    assert {"key": dict(BY_AGE)} in indexes(documents)


def test_collections_that_may_not_be_made_are_named(cache: MongoDBCache, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise errors.OperationFailure("not authorized on cache to execute command { createIndexes", 13)

    monkeypatch.setattr(type(cache._store.clients.collections().entries), "create_index", refuse)
    lookup = look(cache, "q")
    assert lookup.outcome == "error"
    assert "needs the role readWrite" in str(lookup.error)


# Errors


def test_a_wrong_password_opens_the_breaker(cache: MongoDBCache, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise errors.OperationFailure("Authentication failed.", 18)

    store(cache, "q", "answer")
    monkeypatch.setattr(type(cache._store.clients.collections().entries), "find_one", refuse)
    for _ in range(3):
        assert look(cache, "q").outcome == "error"
    assert cache.breaker.is_open
    assert "with this user and password" in str(cache.trouble)


@pytest.mark.parametrize(
    "error", [errors.AutoReconnect("connection closed"), errors.DuplicateKeyError("E11000", 11000)]
)
def test_what_fails_by_chance_is_tried_once_more(
    cache: MongoDBCache, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    store(cache, "q", "answer")
    kind = type(cache._store.clients.collections().entries)
    update_one, failures = kind.update_one, [error]

    def fail_first(*args: Any, **options: Any) -> Any:
        if failures:
            raise failures.pop()
        return update_one(*args, **options)

    monkeypatch.setattr(kind, "update_one", fail_first)
    store(cache, "r", "answer")
    assert (found(cache, "r"), cache.counters.errors) == (["answer"], 0)
    failures += [error, error]
    store(cache, "s", "answer")
    assert (found(cache, "s"), cache.counters.errors) == (None, 1)


# What it is


def test_the_server_of_the_tests_says_what_it_is(cache: MongoDBCache) -> None:
    said = cache.about()
    if available(shared_mongodb).is_real:
        assert said.product == "MongoDB"
    else:
        assert (said.product, said.durability) == ("nx_27017", "unknown")


# Event loops


def test_a_client_of_an_event_loop_is_closed_with_it(cache: MongoDBCache, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[object] = []
    close = pymongo.AsyncMongoClient.close

    async def note(client: Any) -> None:
        await close(client)
        closed.append(client)

    monkeypatch.setattr(pymongo.AsyncMongoClient, "close", note)
    for number in range(3):
        asyncio.run(cache.aupdate(f"q{number}", LLM, [chat("answer")]))
        assert len(closed) == number + 1
    assert prompts(cache) == {"q0", "q1", "q2"}


async def test_closing_the_cache_closes_the_client_of_a_loop_that_goes_on(
    open_it: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, closed = open_it(), asyncio.Event()
    close = pymongo.AsyncMongoClient.close

    async def note(client: Any) -> None:
        await close(client)
        closed.set()

    monkeypatch.setattr(pymongo.AsyncMongoClient, "close", note)
    await cache.aupdate("q", LLM, [chat("answer")])
    cache.close()
    async with asyncio.timeout(20):
        await closed.wait()


async def test_tasks_that_ask_first_at_once_share_one_client(
    cache: MongoDBCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    make = pymongo.AsyncMongoClient

    def noted(*args: Any, **options: Any) -> Any:
        made.append(make(*args, **options))
        return made[-1]

    monkeypatch.setattr(pymongo, "AsyncMongoClient", noted)
    await asyncio.gather(*(cache.aupdate(f"q{number}", LLM, [chat("answer")]) for number in range(20)))
    assert len(made) == 1
