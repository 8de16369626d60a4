"""Why another request would miss a stored entry: the parts of both keys, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from cache_backends import cache_key
from cache_backends.readable import REDACTED, message_prompt, single_message
from lab.parameters import KeyPart, Parameters
from lab.text_pieces import Piece, pieces

PROMPT = "prompt"


class Stored(Protocol):
    """What must be known of an entry: `cache_backends.CacheEntry` has it."""

    @property
    def raw_prompt(self) -> str: ...
    @property
    def llm_string(self) -> str: ...
    @property
    def key(self) -> str: ...


@dataclass(frozen=True, slots=True)
class ComparedPart:
    """One part of the two keys. None: the key has no such part."""

    name: str
    stored: str | None
    asked: str | None
    pieces: tuple[Piece, ...]

    @property
    def differs(self) -> bool:
        """Whether it alone makes the keys differ."""
        return self.stored != self.asked


@dataclass(frozen=True, slots=True)
class KeyComparison:
    """The key of an entry and that of another request."""

    prompt: ComparedPart
    parameters: tuple[ComparedPart, ...]
    would_hit: bool
    key_is_known: bool
    """Whether the stored texts give the stored key. They don't where a secret was taken out of the parameters: then the
    texts that are left are compared, not the keys."""
    asked_key: str | None
    """The key of the other request, None where it can't be known."""

    @property
    def differing(self) -> tuple[ComparedPart, ...]:
        """The parts that differ, the prompt first."""
        return tuple(part for part in (self.prompt, *self.parameters) if part.differs)


def key_parts(llm_string: str) -> tuple[KeyPart, ...]:
    """The named parameters in a parameter string of LangChain's; one named "parameters" where it is something else.

    >>> key_parts("[('model_name', 'gpt-4o'), ('stop', None)]")
    (KeyPart(name='model_name', value='gpt-4o'), KeyPart(name='stop', value='None'))
    >>> key_parts("anything else")
    (KeyPart(name='parameters', value='anything else'),)
    """
    return Parameters(llm_string).parts


def stored_prompt(stored: Stored) -> str:
    """The prompt to be changed: what a person wrote, where it is one question; else what LangChain passed, as it is."""
    text = single_message(stored.raw_prompt)
    return stored.raw_prompt if text is None else text


def compare_keys(stored: Stored, prompt: str, changes: Mapping[str, str]) -> KeyComparison:
    """Compare the entry's key with that of a request that has another prompt and other parameters.

    `prompt` takes the place of `stored_prompt(stored)`; `changes` has values by the names that `key_parts` gives, or by
    new ones, which are added. Never raises, whatever was stored or typed.
    """
    message = single_message(stored.raw_prompt)
    raw_prompt = prompt if message is None else message_prompt(prompt)
    parameters = Parameters(stored.llm_string)
    changed = parameters.changed(changes) if changes else parameters
    key_is_known = cache_key(stored.raw_prompt, stored.llm_string) == stored.key
    asked_key = cache_key(raw_prompt, changed.llm_string) if key_is_known else None
    is_alike = (raw_prompt, changed.llm_string) == (stored.raw_prompt, stored.llm_string)
    return KeyComparison(
        prompt=_compared(PROMPT, stored.raw_prompt if message is None else message, prompt),
        parameters=_compared_parameters(parameters, changed),
        would_hit=asked_key == stored.key if key_is_known else is_alike,
        key_is_known=key_is_known,
        asked_key=asked_key,
    )


def is_redacted(stored: Stored) -> bool:
    """Whether something was taken out of the parameters because it looks like a secret."""
    return REDACTED in stored.llm_string


def _compared_parameters(stored: Parameters, asked: Parameters) -> tuple[ComparedPart, ...]:
    """All parts of either, in the order of what is asked; parts of the stored one alone come last."""
    before = {part.name: part.value for part in stored.parts}
    after = {part.name: part.value for part in asked.parts}
    return tuple(_compared(name, before.get(name), after.get(name)) for name in {**after, **before})


def _compared(name: str, stored: str | None, asked: str | None) -> ComparedPart:
    return ComparedPart(name, stored, asked, pieces(stored or "", asked or ""))
