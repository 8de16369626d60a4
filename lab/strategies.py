"""The strategies a person can choose: opened when first needed, listed with their reason when they can't be."""

from __future__ import annotations

import importlib
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

from langchain_core.caches import BaseCache

from cache_backends import CacheBackend, CacheConfigError, CacheError, open_cache
from cache_backends.readable import redact
from lab.settings import Settings, StrategySettings

NO_CACHE = "none"
RETRY_AFTER_S = 5.0
"""How long a strategy that could not be opened is left alone."""


class StrategyUnavailableError(Exception):
    """The strategy can't be used now; the text says why."""


@dataclass(frozen=True, slots=True)
class Strategy:
    """A strategy bound to one namespace and time to live, for one request."""

    name: str
    cache: BaseCache | None
    """None for "no cache"."""
    namespace: str


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
    ) -> None:
        self._settings = {strategy.name: strategy for strategy in settings.strategies}
        self._data_dir = str(settings.data_dir)
        self._clock = clock
        self._monotonic = monotonic
        self._opened: dict[tuple[str, str], BaseCache] = {}
        self._failed: dict[str, _Failed] = {}
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
        cache = self._open(name, namespace)
        if isinstance(cache, CacheBackend):
            try:
                cache = cache.view(namespace=namespace)
                cache = cache if ttl_s is None else cache.view(ttl=ttl_s)
            except CacheConfigError as error:
                raise StrategyUnavailableError(str(error)) from error
        return Strategy(name, cache, namespace)

    def problem(self, name: str) -> str | None:
        """Why a strategy can't be used now, None where it can. Tries to open it."""
        try:
            self.get(name, "check")
        except StrategyUnavailableError as error:
            return str(error)
        return None

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
                _empty(cache.view(namespace=namespace))
            elif not self._settings[name].survives_restart:
                _empty(cache)  # and kept: a request in flight stores into it
            else:
                if isinstance(cache, CacheBackend):
                    cache.flush()
                self._opened.pop(self._place(name, namespace), None)

    def forget(self, name: str, namespace: str, key: str) -> bool:
        """Remove one entry of one of our caches; whether it was there. Raises `StrategyUnavailableError`."""
        cache = self.get(name, namespace).cache
        try:
            return isinstance(cache, CacheBackend) and cache.delete(key) > 0
        except (CacheError, OSError) as error:
            raise StrategyUnavailableError(redact(str(error))) from error

    def remove_namespace(self, name: str, namespace: str) -> None:
        """Remove every entry of a namespace of one of our caches. Raises `StrategyUnavailableError`."""
        cache = self.get(name, namespace).cache
        if isinstance(cache, CacheBackend):
            _empty(cache)

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
                reason = redact(str(error)) or type(error).__name__
                self._failed[name] = _Failed(reason, self._monotonic() + RETRY_AFTER_S)
                raise StrategyUnavailableError(reason) from error
            return opened

    def _create(self, settings: StrategySettings) -> BaseCache:
        if settings.url is not None:
            options = {name: value for name, value in settings.options.items() if value is not None}
            return open_cache(settings.url.replace("{data_dir}", quote(self._data_dir)), **options, clock=self._clock)
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


def _empty(cache: BaseCache) -> None:
    try:
        cache.clear()
    except Exception as error:
        raise StrategyUnavailableError(redact(str(error)) or type(error).__name__) from error
