"""What every backend promises when something is wrong: failing open, closing, and telling no secrets."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.load import dumps
from langchain_core.messages import HumanMessage

from cache_backends import CacheBackend, CacheUnavailableError, cache_key
from tests.cache_backends.answers import LLM, chat, found, look, store
from tests.cache_backends.conftest import OpenAgain
from tests.cache_backends.small_models import SmallChatModel

SECRET = "s3cr3t-t0ken-0123456789"
FAILURES = [
    RuntimeError(f"connection to redis://user:{SECRET}@host lost"),
    OSError(28, f"No space left on device, Authorization: Bearer {SECRET}"),
    CacheUnavailableError("gone"),
    MemoryError(),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
]


def break_storage(cache: CacheBackend, monkeypatch: pytest.MonkeyPatch, error: Exception, *methods: str) -> None:
    """Make the backend's own methods fail, as a broken disk or server would; those for tasks too, where it has them."""

    def fail(*_: Any) -> Any:
        raise error

    for method in methods:
        for name in (method, f"_a{method.removeprefix('_')}"):
            if hasattr(cache, name):
                monkeypatch.setattr(type(cache), name, fail)


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
def test_a_lookup_that_fails_is_a_miss_with_its_reason(
    cache: CacheBackend, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    store(cache, "q", "answer")
    break_storage(cache, monkeypatch, error, "_read")
    lookup = look(cache, "q")
    assert lookup.outcome == "error"
    assert lookup.error is not None
    assert SECRET not in lookup.error
    assert (cache.counters.errors, cache.counters.lookups, cache.counters.hits) == (1, 1, 0)


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
def test_a_store_that_fails_is_logged_and_counted(
    cache: CacheBackend, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    break_storage(cache, monkeypatch, error, "_write")
    with cache.observe() as lookups:
        store(cache, "q", "answer")
    (made,) = lookups.stores
    assert (made.stored, made.refusal) == (False, "error")
    assert SECRET not in str(made.detail)
    assert (cache.counters.errors, cache.counters.stores, cache.counters.lookups) == (1, 0, 0)
    assert "could not be stored" in caplog.text
    assert SECRET not in caplog.text


def test_a_use_that_cannot_be_noted_fails_open(cache: CacheBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    store(cache, "q", "answer")
    break_storage(cache, monkeypatch, RuntimeError("no"), "_record_use")
    assert look(cache, "q").outcome == "error"


def test_a_clock_that_fails_is_a_failure_like_any_other(open_again: OpenAgain) -> None:
    def broken() -> float:
        raise RuntimeError("no clock")

    cache = open_again()
    store(cache, "q", "answer")
    cache.clock = broken
    assert look(cache, "q").outcome == "error"
    store(cache, "q", "answer")
    assert (cache.counters.errors, cache.counters.lookups) == (2, 1)


async def test_the_model_answers_whatever_the_store_does(
    cache: CacheBackend, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    break_storage(cache, monkeypatch, RuntimeError("broken"), "_read", "_write", "_record_use", "_set_aside")
    model = SmallChatModel(cache=cache)
    with cache.observe() as lookups:
        assert model.invoke("q").content == "q: answer 1"
        assert (await model.ainvoke("q")).content == "q: answer 2"
        assert [message.content for message in model.batch(["q"])] == ["q: answer 3"]
    assert [lookup.outcome for lookup in lookups] == ["error"] * 3
    assert [made.refusal for made in lookups.stores] == ["error"] * 3


def test_a_strict_cache_raises_what_its_store_raised(open_again: OpenAgain, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = open_again(strict=True)
    break_storage(cache, monkeypatch, CacheUnavailableError("the disk is gone"), "_read", "_write")
    with pytest.raises(CacheUnavailableError, match="the disk is gone"):
        cache.lookup("q", LLM)
    with pytest.raises(CacheUnavailableError, match="the disk is gone"):
        store(cache, "q", "answer")
    assert cache.counters.errors == 2


async def test_a_strict_cache_raises_in_a_task_too(open_again: OpenAgain, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = open_again(strict="true")
    break_storage(cache, monkeypatch, CacheUnavailableError("the disk is gone"), "_read", "_write")
    with pytest.raises(CacheUnavailableError):
        await cache.alookup("q", LLM)
    with pytest.raises(CacheUnavailableError):
        await cache.aupdate("q", LLM, [chat("answer")])


def test_a_strict_cache_still_only_refuses_what_is_not_worth_keeping(open_again: OpenAgain) -> None:
    cache = open_again(strict=True)
    store(cache, "q", "")
    assert (found(cache, "q"), cache.counters.uncacheable) == (None, 1)


def test_a_store_works_again_once_its_failure_is_over(cache: CacheBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        break_storage(cache, broken, RuntimeError("broken"), "_read", "_write")
        store(cache, "q", "answer")
        found(cache, "q")
    store(cache, "q", "answer")
    assert found(cache, "q") == ["answer"]


def test_a_ping_takes_time_and_says_when_the_store_is_gone(
    cache: CacheBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cache.ping() >= 0
    assert cache.counters.lookups == 0
    break_storage(cache, monkeypatch, RuntimeError(f"no route to redis://:{SECRET}@host"), "_read")
    with pytest.raises(CacheUnavailableError, match="does not answer") as raised:
        cache.ping()
    assert SECRET not in str(raised.value)


# Closing


def test_closing_twice_is_closing_once(cache: CacheBackend) -> None:
    store(cache, "q", "answer")
    found(cache, "q")
    cache.close()
    cache.close()


def test_a_closed_cache_fails_open(cache: CacheBackend) -> None:
    store(cache, "q", "answer")
    cache.close()
    lookup = look(cache, "q")
    assert (lookup.outcome, "Open a new one" in str(lookup.error)) == ("error", True)
    store(cache, "q", "answer")
    assert cache.counters.errors == 2
    assert SmallChatModel(cache=cache).invoke("q").content == "q: answer 1"


@pytest.mark.parametrize(
    "use",
    [
        lambda cache: cache.ping(),
        lambda cache: cache.get(cache_key("q", LLM)),
        lambda cache: cache.entries(),
        lambda cache: cache.models(),
        lambda cache: cache.namespaces(),
        lambda cache: cache.stats(),
        lambda cache: cache.delete(cache_key("q", LLM)),
        lambda cache: cache.purge_expired(),
        lambda cache: cache.clear(),
    ],
    ids=["ping", "get", "entries", "models", "namespaces", "stats", "delete", "purge_expired", "clear"],
)
def test_who_asks_a_closed_cache_is_told_so(cache: CacheBackend, use: Callable[[CacheBackend], Any]) -> None:
    store(cache, "q", "answer")
    cache.close()
    with pytest.raises(CacheUnavailableError, match=r"was closed\. Open a new one"):
        use(cache)


def test_a_strict_closed_cache_raises(open_again: OpenAgain) -> None:
    cache = open_again(strict=True)
    cache.close()
    with pytest.raises(CacheUnavailableError, match="was closed"):
        cache.lookup("q", LLM)


def test_closing_a_view_leaves_the_store_open(cache: CacheBackend) -> None:
    with cache.view(namespace="other") as view:
        store(view, "q", "answer")
    assert found(view, "q") == ["answer"]
    cache.close()
    assert look(view, "q").outcome == "error"


def test_a_with_block_closes_the_cache(open_again: OpenAgain) -> None:
    with open_again() as cache:
        store(cache, "q", "answer")
    assert look(cache, "q").outcome == "error"


# Secrets


@pytest.mark.parametrize(
    "llm_string",
    [
        f"{{'default_headers': {{'Authorization': 'Bearer {SECRET}'}}, 'model': 'm'}}",
        f'{{"kwargs": {{"default_headers": {{"authorization": "Token {SECRET}"}}}}, "lc": 1}}---[("stop", None)]',
        f"[('default_headers', {{'X-Api-Key': '{SECRET}'}}), ('model_name', 'm')]",
        f"[('openai_api_key', '{SECRET}'), ('base_url', 'https://user:{SECRET}@host/v1')]",
        f"[('default_headers', {{'Proxy-Authorization': b'Basic {SECRET}'}})]",
        f"[('cookies', {{'Cookie': 'session={SECRET}'}}), ('client_secret', \"{SECRET}\")]",
        f'[("http_client", "{{\\"Authorization\\": \\"Token {SECRET}\\"}}")]',
    ],
    ids=lambda llm_string: llm_string[:30],
)
def test_a_secret_among_the_parameters_is_never_stored_shown_or_logged(
    open_again: OpenAgain,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    llm_string: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    cache = open_again()
    prompt = dumps([HumanMessage("q")])
    with cache.observe() as lookups:
        for answer in ("answer", ""):
            cache.lookup(prompt, llm_string)
            cache.update(prompt, llm_string, [chat(answer)])
        with monkeypatch.context() as broken:
            break_storage(cache, broken, RuntimeError(f"refused: {llm_string}"), "_read", "_write")
            cache.lookup(prompt, llm_string)
            cache.update(prompt, llm_string, [chat("answer")])
        assert cache.lookup(prompt, llm_string) == [chat("answer")]
    (summary,) = cache.entries().entries
    whole = cache.get(summary.key)
    assert whole is not None
    assert "[redacted]" in whole.llm_string
    for shown in (summary, whole, list(lookups), lookups.stores, cache.models(), caplog.text, cache.notices):
        assert SECRET not in repr(shown)
    assert SECRET.encode() not in pickle.dumps(cache)
    cache.close()
    for path in tmp_path.rglob("*"):
        assert SECRET not in path.name
        assert not path.is_file() or SECRET.encode() not in path.read_bytes()


def test_requests_that_differ_in_a_secret_only_have_answers_of_their_own(cache: CacheBackend) -> None:
    ours, theirs = ({"Authorization": f"Bearer {who}-{SECRET}"} for who in ("ours", "theirs"))
    store(cache, "q", "for us", llm_string=str(ours))
    assert found(cache, "q", str(theirs)) is None
    assert found(cache, "q", str(ours)) == ["for us"]
