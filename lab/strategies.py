"""The strategies a person can choose: opened when first needed, listed with their reason when they can't be."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from urllib.parse import quote
from weakref import WeakSet

from langchain_core.caches import BaseCache

from cache_backends import CacheBackend, CacheConfigError, CacheError, open_cache
from cache_backends.readable import redact
from lab.environment import StrategyOfEnvironment
from lab.foreign import remove_qualified
from lab.jobs import RefusedError
from lab.reach import Reach, Standing, Work, in_thread
from lab.server_urls import kind_of_server, mistake_in, scheme_of, secrets_of, without_secrets
from lab.settings import Settings, StrategySettings

logger = logging.getLogger("lab.strategies")

NO_CACHE = "none"
RETRY_AFTER_S = 5.0
"""How long a strategy that could not be opened is left alone."""
NO_ANSWER = "It gives no answer."


class StrategyUnavailableError(RefusedError):
    """The strategy can't be used now; the text says why."""


@dataclass(frozen=True, slots=True)
class Strategy:
    """A strategy bound to one namespace and time to live, for one request."""

    name: str
    cache: BaseCache | None
    """None for "no cache"."""
    namespace: str
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """What no message about it may show."""


@dataclass(frozen=True, slots=True)
class _Failed:
    reason: str
    retry_at: float


class Strategies:
    """All strategies of the settings, by name, "no cache" first."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        begin: Callable[[Work], None] = in_thread,
    ) -> None:
        """`begin` is given what may wait for a server, and does it elsewhere."""
        self._settings = {strategy.name: strategy for strategy in settings.strategies}
        self._data_dir = str(settings.data_dir)
        self._clock = clock
        self._monotonic = monotonic
        self._opened: dict[tuple[str, str], BaseCache] = {}
        self._failed: dict[str, _Failed] = {}
        self._secrets = {strategy.name: secrets_of(strategy.url) for strategy in settings.strategies}
        self._in_use: dict[str, WeakSet[BaseCache]] = {name: WeakSet() for name in self._settings}
        self._begin = begin
        self._reach = Reach(monotonic, begin)
        # One each: a store that takes seconds to open (a locked file, an import) holds up nobody who uses another.
        self._locks = {name: threading.RLock() for name in self._settings}

    @property
    def names(self) -> list[str]:
        """All names, in the order of the settings."""
        return [NO_CACHE, *self._settings]

    def title(self, name: str) -> str | None:
        """The operator's title of a strategy, if there is one."""
        return self._settings[name].title if name in self._settings else None

    def is_ours(self, name: str) -> bool:
        """Whether the strategy has a time to live, single entries to forget, and namespaces."""
        return name in self._settings and self._settings[name].url is not None

    def is_server(self, name: str) -> bool:
        """Whether the strategy lies on a server, which may be down or out of reach."""
        return name in self._settings and kind_of_server(self._settings[name].url) is not None

    def scheme(self, name: str) -> str | None:
        """What the URL of one of our caches begins with, such as "redis"; None for all others."""
        url = self._settings[name].url if name in self._settings else None
        return None if url is None else scheme_of(url)

    def survives_restart(self, name: str) -> bool:
        """Whether entries are there again after a restart. Raises `StrategyUnavailableError`."""
        if name == NO_CACHE:
            return False
        if not self.is_ours(name):
            return self._settings[name].survives_restart
        cache = self._open(name, "")
        return not isinstance(cache, CacheBackend) or cache.survives_restart

    def get(self, name: str, namespace: str, ttl_s: float | None = None) -> Strategy:
        """The strategy for one namespace. Raises `StrategyUnavailableError`, and `KeyError` for an unknown name."""
        if name == NO_CACHE:
            return Strategy(name, None, namespace)
        with self._locks[name]:  # no restart comes between
            cache = self._open(name, namespace)
            if isinstance(cache, CacheBackend):
                try:
                    cache = cache.view(namespace=namespace)
                    cache = cache if ttl_s is None else cache.view(ttl=ttl_s)
                except CacheConfigError as error:
                    raise StrategyUnavailableError(str(error)) from error
                self._in_use[name].add(cache)
        return Strategy(name, cache, namespace, self._secrets[name])

    def apart(self, name: str, *, strict: bool = False) -> BaseCache:
        """The cache of a strategy by a handle of its own, to be closed: what it finds no request has found before it.

        Without limits, so that a trial evicts nobody's answers; with `strict` one of ours says what fails.
        Raises `StrategyUnavailableError`.
        """
        try:
            return self._create(
                self._settings[name], max_entries=None, max_bytes=None, **({"strict": True} if strict else {})
            )
        except Exception as error:
            raise StrategyUnavailableError(self.safe(name, str(error)) or type(error).__name__) from error

    def problem(self, name: str) -> str | None:
        """Why a strategy can't be opened now, or its server not be reached; None where all is well, as far as known."""
        standing = self.standing(name)
        return None if standing.state in ("ready", "asking") else standing.reason or NO_ANSWER

    def standing(self, name: str) -> Standing:
        """How a strategy stands. Tries to open it, and waits for no server: what one says is found out meanwhile."""
        try:
            cache = None if name == NO_CACHE else self._open(name, "")
        except StrategyUnavailableError as error:
            return Standing("unusable", str(error))
        if not self.is_server(name) or not isinstance(cache, CacheBackend):
            return Standing("ready")
        standing = self._reach.standing(name, cache)
        return standing if standing.reason is None else replace(standing, reason=self.safe(name, standing.reason))

    def notices(self) -> list[str]:
        """What the opened stores have to say, such as a damaged file that was set aside."""
        return [
            notice
            for cache in list(self._opened.values())
            if isinstance(cache, CacheBackend)
            for notice in cache.notices
        ]

    def restart(self, name: str, namespace: str) -> None:
        """Do to a namespace what a new process would find: memory is empty, the others are opened anew.

        What is in flight keeps its handle, so that nothing that was paid for is lost.
        Raises `StrategyUnavailableError`.
        """
        if name == NO_CACHE:
            return
        with self._locks[name]:
            cache = self._open(name, namespace)
            if isinstance(cache, CacheBackend) and not cache.survives_restart:
                self._empty(name, cache.view(namespace=namespace))
            elif not self._settings[name].survives_restart:
                self._empty(name, cache)  # and kept: a request in flight stores into it
            else:
                if self.is_server(name) and isinstance(cache, CacheBackend):
                    with contextlib.suppress(RuntimeError):  # uses are lost then, and its finaliser closes it
                        self._begin(partial(_retire, cache, self._in_use[name]))
                    self._in_use[name] = WeakSet()
                elif isinstance(cache, CacheBackend):
                    cache.flush()
                self._opened.pop(self._place(name, namespace), None)

    def forget(self, name: str, namespace: str, key: str) -> bool:
        """Remove one entry of one of our caches; whether it was there. Raises `StrategyUnavailableError`."""
        cache = self.get(name, namespace).cache
        try:
            return isinstance(cache, CacheBackend) and cache.delete(key) > 0
        except (CacheError, OSError) as error:
            raise StrategyUnavailableError(self.safe(name, str(error))) from error

    def remove_namespace(self, name: str, namespace: str) -> None:
        """Remove every entry of a namespace, of foreign caches where that is possible.

        Raises `StrategyUnavailableError`.
        """
        cache = self.get(name, namespace).cache
        if isinstance(cache, CacheBackend):
            self._empty(name, cache)
        elif cache is not None and self._place(name, namespace)[1]:
            with self._locks[name]:
                self._opened.pop(self._place(name, namespace), None)
        elif cache is not None:
            try:
                remove_qualified(cache, namespace)
            except Exception as error:
                raise StrategyUnavailableError(self.safe(name, str(error)) or type(error).__name__) from error

    def safe(self, name: str, text: str) -> str:
        """A message of a strategy without the password that its URL may hold."""
        return without_secrets(text, self._secrets[name])

    def _place(self, name: str, namespace: str) -> tuple[str, str]:
        """LangChain's caches in memory know no namespaces, so that each namespace gets one of its own."""
        settings = self._settings[name]
        one_each = settings.langchain is not None and not settings.survives_restart
        return (name, namespace if one_each else "")

    def _open(self, name: str, namespace: str) -> BaseCache:
        place = self._place(name, namespace)
        with self._locks[name]:
            opened = self._opened.get(place)
            if opened is not None:
                return opened
            failed = self._failed.get(name)
            if failed is not None and self._monotonic() < failed.retry_at:
                raise StrategyUnavailableError(failed.reason)
            try:
                opened = self._opened[place] = self._create(self._settings[name])
            except Exception as error:
                reason = self.safe(name, str(error)) or type(error).__name__
                self._failed[name] = _Failed(reason, self._monotonic() + RETRY_AFTER_S)
                raise StrategyUnavailableError(reason) from error
            return opened

    def _create(self, settings: StrategySettings, **others: bool | None) -> BaseCache:
        if settings.url is not None:
            mistake = settings.mistake if isinstance(settings, StrategyOfEnvironment) else None
            if kind_of_server(settings.url) is not None:
                mistake = mistake or mistake_in(settings.url)
            if mistake is not None:
                raise CacheConfigError(mistake)
            options = {name: value for name, value in settings.options.items() if value is not None}
            url = settings.url.replace("{data_dir}", quote(self._data_dir))
            return open_cache(url, **{**options, **others}, clock=self._clock)
        return self._create_langchain(settings)

    def _create_langchain(self, settings: StrategySettings) -> BaseCache:
        assert settings.langchain is not None
        os.makedirs(self._data_dir, mode=0o700, exist_ok=True)
        module_name, _, class_name = settings.langchain.rpartition(".")
        try:
            cache_class = getattr(importlib.import_module(module_name), class_name)
        except (ImportError, AttributeError) as error:
            raise CacheError(f"{settings.langchain} can't be imported: {error}.") from error
        if not (isinstance(cache_class, type) and issubclass(cache_class, BaseCache)):
            raise CacheError(f"{settings.langchain} is no LangChain cache (a subclass of BaseCache).")
        options = {
            name: value.replace("{data_dir}", self._data_dir) if isinstance(value, str) else value
            for name, value in settings.options.items()
        }
        cache: BaseCache = cache_class(**options)
        return cache

    def _empty(self, name: str, cache: BaseCache) -> None:
        try:
            cache.clear()
        except Exception as error:
            raise StrategyUnavailableError(self.safe(name, str(error)) or type(error).__name__) from error


def _retire(cache: CacheBackend, in_use: WeakSet[BaseCache]) -> None:
    """Write what was noted of uses, and give the connections back, unless a request still needs them."""
    try:
        if in_use:
            cache.flush()
        else:
            cache.close()  # which writes the uses too
    except Exception as error:  # noqa: BLE001  # uses are lost then, and nothing else
        logger.warning("a connection could not be ended as it should: %s", redact(str(error)))
