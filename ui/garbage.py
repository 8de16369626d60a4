"""Keeps collections of garbage short, since nothing else of the process goes on meanwhile.

Streamlit collects after each run of a page. Going through all that the libraries have loaded takes 150 ms of that, and
the last elements of the page wait for it to leave.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
from collections.abc import AsyncIterator

LOOK_S = 1.0


@contextlib.asynccontextmanager
async def short_collections(_app: object) -> AsyncIterator[None]:
    """While the app serves: what has been loaded is left out of collections, as soon as no more comes."""
    watching = asyncio.create_task(_watch())
    try:
        yield
    finally:
        watching.cancel()


async def _watch() -> None:
    seen = left_out = 0
    while True:
        loaded = len(sys.modules)
        if loaded == seen != left_out:
            leave_out_what_is_there()
            left_out = loaded
        seen = loaded
        await asyncio.sleep(LOOK_S)


def leave_out_what_is_there() -> None:
    """From now on collections go through what is made from now on.

    Sessions that are open now are left out too: what they leave in cycles when they end stays in memory, until this
    is called once more.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
