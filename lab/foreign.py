"""LangChain's own caches know no namespaces: how entries are kept apart in them, and taken out again."""

from __future__ import annotations

from typing import Any

from langchain_core.caches import BaseCache

_BRACKETS = ("[", "{")


def qualified(namespace: str, llm_string: str) -> str:
    """The parameters with the namespace before them, so that they make another key."""
    return f"{namespace}\n{llm_string}"


def unqualified(llm_string: str) -> tuple[str | None, str]:
    """The namespace that `qualified` put before LangChain's parameters, None where there is none, and the parameters.

    These begin with a bracket, as a list or as JSON, and a namespace does not.
    """
    namespace, newline, parameters = llm_string.partition("\n")
    if newline and parameters.startswith(_BRACKETS) and not namespace.startswith(_BRACKETS):
        return namespace, parameters
    return None, llm_string


def remove_qualified(cache: BaseCache, namespace: str) -> None:
    """Remove what was stored with this namespace from one of LangChain's SQL caches; from others, nothing.

    Its own `clear` would remove what others have stored. Raises whatever the database does.
    """
    engine, schema = getattr(cache, "engine", None), getattr(cache, "cache_schema", None)
    if engine is None or schema is None:
        return
    from sqlalchemy import delete, func  # comes with langchain-community, whose cache this is

    columns: Any = schema.__table__.columns
    prefix = qualified(namespace, "")
    with engine.begin() as connection:  # not by LIKE, which takes "a" for "A" in SQLite
        connection.execute(delete(schema).where(func.substr(columns.llm, 1, len(prefix)) == prefix))
