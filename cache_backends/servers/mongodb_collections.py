"""The collections of a cache in MongoDB, as a client of the driver reaches them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import pymongo
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.collection import Collection
from pymongo.write_concern import WriteConcern

from cache_backends.servers.mongodb_documents import Document

Client = pymongo.MongoClient[dict[str, Any]]
AsyncClient = pymongo.AsyncMongoClient[dict[str, Any]]

ACKNOWLEDGED = WriteConcern(w=1)


@dataclass(frozen=True, slots=True)
class Collections:
    """All of them, for a process."""

    entries: Collection[Document]
    """For stores, which wait for as many servers as the URL says."""
    counted: Collection[Document]
    """The same, for who needs to know how many documents were changed."""
    texts: Collection[Document]
    damaged: Collection[Document]
    format: Collection[Document]

    @classmethod
    def of(cls, client: Client, database: str, prefix: str) -> Self:
        """Those with names that begin with a prefix."""
        counting = here = client[database]
        if not here.write_concern.acknowledged:
            counting = here.with_options(write_concern=ACKNOWLEDGED)
        return cls(
            entries=here[f"{prefix}_entries"],
            counted=counting[f"{prefix}_entries"],
            texts=counting[f"{prefix}_texts"],
            damaged=counting[f"{prefix}_damaged"],
            format=counting[f"{prefix}_format"],
        )


@dataclass(frozen=True, slots=True)
class AsyncCollections:
    """Those that tasks need, for an event loop."""

    entries: AsyncCollection[Document]
    texts: AsyncCollection[Document]

    @classmethod
    def of(cls, client: AsyncClient, database: str, prefix: str) -> Self:
        """Those with names that begin with a prefix."""
        here = client[database]
        return cls(here[f"{prefix}_entries"], here[f"{prefix}_texts"])
