"""The key of a request: the same in every backend, so that entries can be compared and moved."""

from __future__ import annotations

import re
from hashlib import sha256

_KEY = re.compile("[0-9a-f]{64}")


def cache_key(prompt: str, llm_string: str) -> str:
    """SHA-256 of the request as 64 hexadecimal digits.

    The prompt goes in with its length before it (8 bytes, big endian), so that no two pairs of prompt and
    parameters share their bytes. Lone surrogates are encoded as they are, hence every `str` has a key.

    >>> cache_key("a", "bc") == cache_key("ab", "c")
    False
    >>> len(cache_key("Who was Carl Sagan?", "gpt"))
    64
    """
    return request_digest(prompt, llm_string).hex()


def request_digest(prompt: str, llm_string: str) -> bytes:
    """The 32 bytes of `cache_key`."""
    prompt_bytes = prompt.encode("utf-8", "surrogatepass")
    return sha256(
        len(prompt_bytes).to_bytes(8, "big") + prompt_bytes + llm_string.encode("utf-8", "surrogatepass")
    ).digest()


def digest_of(key: str) -> bytes:
    """The 32 bytes of a key; ValueError where it can't be one, since a person's link may hold anything."""
    if not _KEY.fullmatch(key):
        raise ValueError(f"{key[:80]!r} is not a key: 64 hexadecimal digits are.")
    return bytes.fromhex(key)
