"""LangChain's parameter string taken apart into named parameters, and put together again with other values.

It is read with regular expressions alone: nothing is evaluated, nothing recurses, and text that is no such string is
one parameter.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

WHOLE = "parameters"
"""The name of the one parameter that a string is which can't be taken apart."""
LONGEST = 262_144
"""Characters of a string that is taken apart: of models with many tools they have some ten thousand."""
MOST_PARAMETERS = 300
MODEL_NAMES = ("model_name", "model", "model_id", "deployment_name")
FRACTIONS = frozenset({"temperature", "top_p", "frequency_penalty", "presence_penalty"})
"""Parameters that LangChain's models keep as float, so that 1 becomes 1.0."""

Form = Literal["json", "python"]
Span = tuple[int, int]

_TOKEN = re.compile(
    r"""'[^'\\]*+(?:\\.[^'\\]*+)*+'|"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[({})\],]|(?P<unclosed>['"])""", re.DOTALL
)
"""Texts in quotes, brackets and commas. Possessive: no text makes it go back."""
_CLOSING = {"[": "]", "(": ")", "{": "}"}
_JSON_NAME = re.compile(r'\s*"([^"\\]{1,100})"\s*:\s*')
_PYTHON_NAME = re.compile(r"""'([^'\\]{1,100})'|"([^"\\]{1,100})\"""")
_PLAIN_TEXT = re.compile(r"""'[^'\\]*'|"[^"\\]*\"""")
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})(?:[eE][+-]?[0-9]{1,3})?")
_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,30}")
_WORDS: dict[Form, dict[str, str]] = {
    "json": {"None": "null", "True": "true", "False": "false", "null": "null", "true": "true", "false": "false"},
    "python": {"None": "None", "True": "True", "False": "False", "null": "None", "true": "True", "false": "False"},
}


@dataclass(frozen=True, slots=True)
class KeyPart:
    """One part of a key. Of a text without escapes, `value` is what stands within the quotes."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class _Section:
    """A list of parameters within the string: the model's own (JSON), or those of a call or of all (Python)."""

    form: Form
    span: Span
    """Of what is within the brackets."""
    is_wrapping: bool = False
    """What LangChain writes around a model's own parameters, such as its class."""


@dataclass(frozen=True, slots=True)
class _Parameter:
    name: str
    raw: str
    item: Span
    """The whole of it, its name too."""
    value: Span
    section: _Section

    @property
    def shown(self) -> str:
        return self.raw[1:-1] if _PLAIN_TEXT.fullmatch(self.raw) else self.raw


class Parameters:
    """The parameters in one `llm_string`.

    >>> Parameters("[('model_name', 'gpt'), ('temperature', 0.7)]").parts
    (KeyPart(name='model_name', value='gpt'), KeyPart(name='temperature', value='0.7'))
    """

    def __init__(self, llm_string: str) -> None:
        self.llm_string = llm_string
        self._sections, found = _taken_apart(llm_string)
        self._parameters = tuple(sorted(_with_names_of_their_own(found), key=_rank))
        self.parts = tuple(KeyPart(each.name, each.shown) for each in self._parameters)

    def changed(self, changes: Mapping[str, str]) -> Parameters:
        """The same with other values, as LangChain would write them; a name that is not there yet is added.

        Values are what a person types: a number or None is one, where it was a text it stays a text. A value equal to
        what `parts` shows changes nothing.
        """
        if not self._sections:
            return Parameters(changes.get(WHOLE, self.llm_string))
        edits: list[tuple[Span, str]] = []
        known = {each.name for each in self._parameters}
        for each in self._parameters:
            typed = changes.get(each.name)
            if typed is not None and typed != each.shown:
                edits.append((each.value, _written(each, typed)))
        text = self.llm_string
        for (start, end), value in sorted(edits, reverse=True):
            text = text[:start] + value + text[end:]
        result = Parameters(text)
        for name in changes:
            if name not in known:
                result = result._with(name, changes[name])
        return result

    def _with(self, name: str, typed: str) -> Parameters:
        """With a parameter of a new name, where it belongs: they stand in the order of their names."""
        section = self._sections[0]
        value = _literal(typed, section.form, is_fraction=name in FRACTIONS)
        item = f"{json.dumps(name)}: {value}" if section.form == "json" else f"({name!r}, {value})"
        others = sorted((each for each in self._parameters if each.section == section), key=lambda each: each.item)
        after = next((each for each in others if each.name > name), None)
        if after is not None:
            place, item = after.item[0], f"{item}, "
        elif others:
            place, item = others[-1].item[1], f", {item}"
        else:
            place = section.span[0]
        return Parameters(self.llm_string[:place] + item + self.llm_string[place:])


def _taken_apart(text: str) -> tuple[tuple[_Section, ...], list[_Parameter]]:
    """The sections, and their parameters: the model's own before those of a call, and what wraps them last."""
    found = _chat(text) or _completion(text) if len(text) <= LONGEST else None
    if found is None or len(found[1]) > MOST_PARAMETERS:
        whole = (0, len(text))
        return (), [_Parameter(WHOLE, text, whole, whole, _Section("python", whole))]
    return found


def _completion(text: str) -> tuple[tuple[_Section, ...], list[_Parameter]] | None:
    """`[('name', value), ...]`."""
    section = _Section("python", (1, len(text) - 1))
    listed = _listed(text, 0, len(text), section)
    return None if listed is None else ((section,), listed)


def _chat(text: str) -> tuple[tuple[_Section, ...], list[_Parameter]] | None:
    """`{... "kwargs": {"name": value, ...} ...}---[('name', value), ...]`."""
    outer = _items(text, 0) if text.startswith("{") else None
    if outer is None or not text.startswith("---[", outer[1]):
        return None
    called = _listed(text, outer[1] + 3, len(text), _Section("python", (outer[1] + 4, len(text) - 1)))
    wrapping = _named(text, outer[0], _Section("json", (1, outer[1] - 1), is_wrapping=True))
    if called is None or wrapping is None:
        return None
    own = next((each for each in wrapping if each.name == "kwargs" and each.raw.startswith("{")), None)
    within = _items(text, own.value[0]) if own is not None else None
    if own is None or within is None or within[1] != own.value[1]:
        return None
    section = _Section("json", (own.value[0] + 1, within[1] - 1))
    parameters = _named(text, within[0], section)
    if parameters is None:
        return None
    return (section,), [*parameters, *called, *(each for each in wrapping if each is not own)]


def _items(text: str, opening: int) -> tuple[list[Span], int] | None:
    """The items in the bracket that opens there, without the spaces around them, and the place after the bracket."""
    items: list[Span] = []
    closing: list[str] = []
    begin = opening + 1
    for token in _TOKEN.finditer(text, opening):
        sign = token[0]
        if token["unclosed"]:
            return None
        if sign in _CLOSING:
            closing.append(_CLOSING[sign])
        elif sign == "," and len(closing) == 1:
            items.append(_trimmed(text, begin, token.start()))
            begin = token.end()
        elif sign in ")]}":
            if closing.pop() != sign:
                return None
            if not closing:
                if items or text[begin : token.start()].strip():
                    items.append(_trimmed(text, begin, token.start()))
                return items, token.end()
    return None


def _trimmed(text: str, start: int, end: int) -> Span:
    within = text[start:end]
    return start + len(within) - len(within.lstrip()), end - len(within) + len(within.rstrip())


def _named(text: str, items: list[Span], section: _Section) -> list[_Parameter] | None:
    """The items of a JSON object."""
    found = []
    for start, end in items:
        name = _JSON_NAME.match(text, start, end)
        if name is None or name.end() == end:
            return None
        value = (name.end(), end)
        found.append(_Parameter(name[1], text[slice(*value)], (start, end), value, section))
    return found


def _listed(text: str, opening: int, end: int, section: _Section) -> list[_Parameter] | None:
    """The items of a list of pairs that goes from one place to the other."""
    items = _items(text, opening) if text.startswith("[", opening) else None
    if items is None or items[1] != end:
        return None
    found = []
    for start, stop in items[0]:
        pair = _items(text, start) if text.startswith("(", start) else None
        if pair is None or pair[1] != stop or len(pair[0]) != 2:
            return None
        name = _PYTHON_NAME.fullmatch(text, *pair[0][0])
        value = pair[0][1]
        if name is None or value[0] == value[1]:
            return None
        found.append(_Parameter(name[1] or name[2], text[slice(*value)], (start, stop), value, section))
    return found


def _with_names_of_their_own(found: list[_Parameter]) -> list[_Parameter]:
    """A call may have a parameter of the same name as the model: it is the second one then."""
    names: set[str] = set()
    told_apart = []
    for each in found:
        name, number = each.name, 1
        while name in names:
            number += 1
            name = f"{each.name} ({number})"
        names.add(name)
        told_apart.append(_Parameter(name, each.raw, each.item, each.value, each.section))
    return told_apart


def _rank(parameter: _Parameter) -> int:
    """What people ask for first comes first."""
    if parameter.name in MODEL_NAMES:
        return 0
    if parameter.name == "temperature":
        return 1
    return 3 if parameter.section.is_wrapping else 2


def _written(parameter: _Parameter, typed: str) -> str:
    """What a person typed for a parameter, as LangChain would write it."""
    raw, form = parameter.raw, parameter.section.form
    if _PLAIN_TEXT.fullmatch(raw):
        return _quoted(typed, form)
    is_number = _NUMBER.fullmatch(raw) is not None
    is_fraction = (is_number and not _WHOLE_NUMBER.fullmatch(raw)) or (not is_number and parameter.name in FRACTIONS)
    return _literal(typed.replace(",", ".") if is_number else typed, form, is_fraction=is_fraction)


def _literal(typed: str, form: Form, *, is_fraction: bool) -> str:
    bare = typed.strip()
    if bare in _WORDS[form]:
        return _WORDS[form][bare]
    if _NUMBER.fullmatch(bare) and math.isfinite(float(bare)):
        return repr(int(bare)) if _WHOLE_NUMBER.fullmatch(bare) and not is_fraction else repr(float(bare))
    return bare if _is_whole(bare) else _quoted(typed, form)


def _is_whole(text: str) -> bool:
    """Whether it can stand for one value: a text in quotes, or a list or the like that ends where it must."""
    if text[:1] not in _CLOSING:
        return _PLAIN_TEXT.fullmatch(text) is not None
    items = _items(text, 0)
    return items is not None and items[1] == len(text)


def _quoted(text: str, form: Form) -> str:
    return json.dumps(text) if form == "json" else repr(text)
