"""Starts `nx-27017` with updates that keep what they are given, as MongoDB's do.

Left alone it updates a document that is there in SQL, which rounds doubles to 15 digits and makes numbers of switches
and texts of dates; and its other way, in Python, stumbles over bytes.
"""

from __future__ import annotations

from typing import Any

from neosqlite.binary import Binary
from neosqlite.collection.json_helpers import NeoSQLiteJSONEncoder
from neosqlite.collection.query_helper._sql_updates import SqlUpdatesMixin
from nx_27017.nx_27017 import main

encode_what_json_lacks = NeoSQLiteJSONEncoder.default


def encode_bytes_too(encoder: NeoSQLiteJSONEncoder, value: Any) -> Any:
    """What becomes of a value that JSON has no form for."""
    return encode_what_json_lacks(encoder, Binary(value) if type(value) is bytes else value)


if __name__ == "__main__":
    NeoSQLiteJSONEncoder.default = encode_bytes_too
    SqlUpdatesMixin._can_use_sql_updates = lambda *_, **__: False
    main()
