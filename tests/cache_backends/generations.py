"""Hypothesis strategies for the generations of one request: what JSON can carry, and anything at all."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, Generation

without_haste = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
"""No time limits; one cache serves all examples of a test."""

Answers = st.SearchStrategy[list[Generation]]

any_text = st.lists(st.one_of(*[st.text(max_size=15)] * 5, st.sampled_from("\ud800\udfff\0")), max_size=4).map("".join)
"""Any `str`: NUL, emoji, combining marks, unassigned code points, lone surrogates."""
unicode_text = st.one_of(
    st.sampled_from(["Carl Sagan", "naïve\u0301", "\0", "🪐", "\u202eabc\u2028", "{'a': 1}", '"\\', "x" * 500]),
    st.text(max_size=30),
)


def answers_of(text: st.SearchStrategy[str], leaves: st.SearchStrategy[Any], extra_names: list[str]) -> Answers:
    """All generations of a request, made of these texts and values in every field that LangChain has."""
    values: st.SearchStrategy[Any] = st.recursive(
        leaves | text,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
        max_leaves=6,
    )
    objects = st.dictionaries(st.sampled_from(["finish_reason", "parsed", "refusal", "lc"]) | text, values, max_size=3)
    names = st.none() | text
    blocks = st.one_of(
        text,
        st.fixed_dictionaries({"type": st.just("text"), "text": text}),
        st.fixed_dictionaries({"type": st.just("image_url"), "image_url": objects}),
        objects,
    )
    tool_calls = st.fixed_dictionaries(
        {"name": text, "args": objects, "id": names, "type": st.just("tool_call")},
    )
    invalid_tool_calls = st.fixed_dictionaries(
        {"name": names, "args": names, "id": names, "error": names, "type": st.just("invalid_tool_call")}
    )
    tokens = st.integers(0, 10**9)
    usage = st.fixed_dictionaries(
        {"input_tokens": tokens, "output_tokens": tokens, "total_tokens": tokens},
        optional={
            "input_token_details": st.fixed_dictionaries({}, optional={"cache_read": tokens, "audio": tokens}),
            "output_token_details": st.fixed_dictionaries({}, optional={"reasoning": tokens}),
        },
    )
    extras = st.dictionaries(st.sampled_from(extra_names), values, max_size=2)

    @st.composite
    def messages(draw: st.DrawFn) -> AIMessage:
        return AIMessage(
            content=draw(text | st.lists(blocks, max_size=4)),
            additional_kwargs=draw(objects),
            response_metadata=draw(objects),
            name=draw(names),
            id=draw(names),
            tool_calls=draw(st.lists(tool_calls, max_size=2)),
            invalid_tool_calls=draw(st.lists(invalid_tool_calls, max_size=2)),
            usage_metadata=draw(st.none() | usage),
            **draw(extras),
        )

    infos = st.none() | objects
    plain = st.builds(Generation, text=text, generation_info=infos)
    chat = st.builds(ChatGeneration, message=messages(), generation_info=infos)
    return st.lists(plain | chat, max_size=3)


json_answers = answers_of(
    unicode_text,
    st.one_of(
        st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.none()
    ),
    ["example", "extra", "lc", "values", "model_name", "text", "é\0", ""],
)
"""What JSON can carry: it must come back equal, unless it is empty or cut off."""

wild_answers = answers_of(
    unicode_text | any_text,
    st.one_of(
        st.integers(-(2**70), 2**70),
        st.floats(),
        st.sampled_from([b"bytes", (1, 2), {1, 2}, {1: "int key"}, object, complex(1, 2)]),
    ),
    ["_fields_set", "cls", "extra"],
)
"""What JSON can't carry is among it: it comes back equal, or is refused."""
