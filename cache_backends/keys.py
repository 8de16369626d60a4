"""The key of a request: the same in every backend, so that entries can be compared and moved."""

from __future__ import annotations

from hashlib import sha256

KEY_HEX_LENGTH = 64


def cache_key(prompt: str, llm_string: str) -> str:
    """SHA-256 of the request as 64 hexadecimal digits.

    The prompt goes in with its length before it (8 bytes, big endian), so that no two pairs of prompt and
    parameters share their bytes. Lone surrogates are encoded as they are, hence every `str` has a key.

    >>> cache_key("a", "bc") == cache_key("ab", "c")
    False
    >>> len(cache_key("Who was Carl Sagan?", "gpt"))
    64
    """
    prompt_bytes = prompt.encode("utf-8", "surrogatepass")
    return sha256(
        len(prompt_bytes).to_bytes(8, "big") + prompt_bytes + llm_string.encode("utf-8", "surrogatepass")
    ).hexdigest()
