"""LangChain's own tests of a cache, over every backend."""

from __future__ import annotations

import pytest
from langchain_tests.integration_tests import AsyncCacheTestSuite, SyncCacheTestSuite

from cache_backends import CacheBackend
from tests.cache_backends.conftest import OpenAgain


class TestSync(SyncCacheTestSuite):
    """The synchronous half of the contract."""

    @pytest.fixture
    def cache(self, open_again: OpenAgain) -> CacheBackend:
        """An empty cache."""
        return open_again()


class TestAsync(AsyncCacheTestSuite):
    """The asynchronous half of the contract."""

    @pytest.fixture
    async def cache(self, open_again: OpenAgain) -> CacheBackend:
        """An empty cache."""
        return open_again()
