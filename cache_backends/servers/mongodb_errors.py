"""What goes wrong with MongoDB as this library's errors, in sentences without secrets."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from bson.errors import BSONError
from pymongo import errors

from cache_backends.errors import CacheError, CacheUnavailableError, CacheUnreachableError, NotCacheableError
from cache_backends.servers.address import Address

AUTHENTICATION_FAILED = (18, 8000)
"""Codes of "AuthenticationFailed", and of Atlas's own word for it."""
UNAUTHORIZED = 13
CANCELLED = "operation cancelled"
"""What the driver says when its watch over the server has waited too long, in the middle of an operation."""
TOO_LARGE = (10334, 17419, 17420, 10003)
"""Codes for a document above the limit, whichever part of the server notices: "BSONObjectTooLarge" and older ones."""


@contextlib.contextmanager
def translated(address: Address, timeout_s: float) -> Iterator[None]:
    """The driver's errors inside the block as this library's. `timeout_s` is how long the block may take."""
    try:
        yield
    except (errors.PyMongoError, BSONError) as error:
        raise failure(address, error, timeout_s) from error


def failure(address: Address, error: Exception, timeout_s: float) -> CacheError:
    """What a driver's error means for the cache."""
    said = address.without_password(_first_part(error))
    code = getattr(error, "code", None)
    if isinstance(error, errors.DocumentTooLarge) or code in TOO_LARGE:
        return NotCacheableError("too_large", f"the entry is larger than a document of MongoDB may be: {said}")
    if code in AUTHENTICATION_FAILED or (code == UNAUTHORIZED and "requires authentication" in said):
        return CacheUnreachableError(f"{address.name} lets nobody in with this user and password: {said}")
    if isinstance(error, errors.ServerSelectionTimeoutError) and said and "timed out" not in said:
        return CacheUnreachableError(f"{address.name} can't be connected to within {timeout_s:g} s: {said}")
    if getattr(error, "timeout", False) or said.startswith(CANCELLED):
        return CacheUnreachableError(f"{address.name} did not answer within {timeout_s:g} s.")
    if isinstance(error, errors.NotPrimaryError):
        return CacheUnreachableError(f"{address.name} has no primary server now: {said}")
    if isinstance(error, errors.ConnectionFailure):
        return CacheUnreachableError(f"{address.name} ended the connection: {said}")
    if isinstance(error, errors.ConfigurationError):  # found out when the names of hosts were looked up
        return CacheUnreachableError(f"{address.name} can't be found: {said}")
    return CacheUnavailableError(f"{address.name} refused: {said}")


def _first_part(error: Exception) -> str:
    """A driver's message without the settings and states that it appends, which are about the driver."""
    text = str(error)
    for appended in (" (configured timeouts", ", Timeout: ", ", Topology Description", ", full error"):
        text = text.partition(appended)[0]
    return text.rstrip(". ") + "." if text else ""
