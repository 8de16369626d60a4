"""Keeps collections of garbage short, since nothing else of the process goes on meanwhile.

Streamlit collects after each run of a page. Going through all that the libraries have loaded takes 150 ms of that, and
the last elements of the page wait for it to leave.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
import time
from collections.abc import AsyncIterator

LOOK_S = 1.0
AGAIN_S = 3600.0
"""So seldom garbage is looked for among what is left out, too: sessions that have ended, say."""


@contextlib.asynccontextmanager
async def short_collections(_app: object) -> AsyncIterator[None]:
    """While the app serves: what has been loaded is left out of collections, as soon as no more comes."""
    watching = asyncio.create_task(_watch())
    try:
        yield
    finally:
        watching.cancel()
        gc.unfreeze()


async def _watch() -> None:
    seen = left_out = 0
    again_at = 0.0
    while True:
        loaded = len(sys.modules)
        if loaded == seen and (loaded != left_out or time.monotonic() >= again_at):
            leave_out_what_is_there()
            left_out, again_at = loaded, time.monotonic() + AGAIN_S
        seen = loaded
        await asyncio.sleep(LOOK_S)


def leave_out_what_is_there() -> None:
    """From now on collections go through what is made from now on.

    Sessions that are open now are left out too: what they leave in cycles when they end stays in memory until this is
    called once more.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
