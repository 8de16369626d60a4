"""What a MongoDB says about itself, and what of the entries survives a crash."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pymongo.database import Database
from pymongo.errors import OperationFailure

from cache_backends.records import Durability, StoreAbout
from cache_backends.servers.mongodb_documents import Document

MAJORITY_BY_DEFAULT = 5
"""From this version on, replica sets answer when most members have a write, unless told otherwise."""


def about(database: Database[Document]) -> StoreAbout:
    """What keeps a database, and what survives of a write with its write concern. Raises the driver's errors."""
    built = database.client.admin.command("buildInfo")
    version = str(built.get("version", "unknown"))
    other = _other_product(built)
    if other is not None:
        detail = f"no MongoDB, but a server that speaks its protocol as version {version} does"
        return StoreAbout(other, version, "unknown", detail)
    hello = database.client.admin.command("hello")
    has_replicas = "setName" in hello or hello.get("msg") == "isdbgrid"
    durability, detail = durability_of(
        database.write_concern.document or (_default_write_concern(database, version) if has_replicas else {}),
        has_replicas=has_replicas,
    )
    return StoreAbout("MongoDB", version, durability, detail)


def durability_of(write_concern: Mapping[str, Any], *, has_replicas: bool) -> tuple[Durability, str]:
    """What a crash leaves of what was written with a write concern, and what that is read from.

    See "Write Concern" in MongoDB's manual: it answers when the journal is on disk where `j` says so, or where most
    members of a replica set must have the write; else the journal follows within 100 ms.
    """
    w, journal = write_concern.get("w", 1), write_concern.get("j", write_concern.get("journal"))
    detail = f"w={w}, j={'unset' if journal is None else str(bool(journal)).lower()}"
    detail += ", replica set" if has_replicas else ", no replica set"
    if w == 0:
        return "unknown", f"{detail}: nothing is acknowledged"
    if journal or (journal is None and w == "majority" and has_replicas):
        return "every_write", detail
    return "every_second", f"{detail}: the journal is written every 100 ms"


def _other_product(built: Mapping[str, Any]) -> str | None:
    """What a server is that speaks MongoDB's protocol and is something else; None for MongoDB."""
    if "ferretdb" in built or "ferretdbVersion" in built:
        return "FerretDB"
    if "gitVersion" in built:
        return None
    return str(built.get("process", "unknown"))


def _default_write_concern(database: Database[Document], version: str) -> Mapping[str, Any]:
    try:
        default = database.client.admin.command("getDefaultRWConcern").get("defaultWriteConcern") or {}
    except OperationFailure:  # older than 4.4, or not allowed to this user
        default = {}
    major = version.partition(".")[0]
    if not default and major.isdecimal() and int(major) >= MAJORITY_BY_DEFAULT:
        return {"w": "majority"}
    result: Mapping[str, Any] = default
    return result
