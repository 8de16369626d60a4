"""`Connection`: PyMySQL's, without some detours that a lookup would feel."""

from __future__ import annotations

import ssl
from typing import Any

import pymysql  # type: ignore[import-untyped]
from pymysql.connections import MAX_PACKET_LEN  # type: ignore[import-untyped]
from pymysql.constants import CR  # type: ignore[import-untyped]
from pymysql.protocol import FieldDescriptorPacket, MysqlPacket  # type: ignore[import-untyped]

from cache_backends.servers.mysql_tls import encrypting_only


class Connection(pymysql.connections.Connection):  # type: ignore[misc]  # a class without types
    """PyMySQL's connection. It overrides two of its inner methods, which is why requirements name its minor version.

    PyMySQL makes an SSL context for each connection, even to a server without TLS: 18 of 20 ms. And it takes twice as
    many steps as needed for each packet, and reads the descriptions of a statement's columns anew each time: together
    a quarter of a lookup.
    """

    _next_seq_id: int

    def __init__(self, *, timeout_s: float, **parameters: Any) -> None:
        """`timeout_s` is for reading and writing: were they different, each packet would have to set it."""
        self._columns: dict[bytes, FieldDescriptorPacket] = {}
        super().__init__(read_timeout=timeout_s, write_timeout=timeout_s, **parameters)

    def _create_ssl_ctx(self, options: Any) -> ssl.SSLContext:
        context: ssl.SSLContext = super()._create_ssl_ctx(options) if options else encrypting_only()
        return context

    def packet(self) -> bytes:
        """The next packet that the server sends. Raises the driver's errors, those that the server tells too."""
        data = self._packet_data()
        if data[0] == 0xFF:
            MysqlPacket(data, self.encoding).raise_for_error()
        return data

    def _read_packet(self, packet_type: type[MysqlPacket] = MysqlPacket) -> MysqlPacket:
        data = self.packet()
        if packet_type is not FieldDescriptorPacket:
            return packet_type(data, self.encoding)
        column = self._columns.get(data)
        if column is None:
            column = self._columns[data] = FieldDescriptorPacket(data, self.encoding)
        return column

    def _packet_data(self) -> bytes:
        whole = b""
        while True:
            try:
                header = self._rfile.read(4)
                size = int.from_bytes(header[:3], "little")
                data: bytes = self._rfile.read(size)
            except OSError as error:
                self._force_close()
                raise _lost(str(error)) from error
            if len(header) < 4 or len(data) < size or header[3] != self._next_seq_id or not (data or whole):
                self._force_close()  # a server that shuts down says so in a packet that is not in sequence
                raise _lost("it ended in the middle of an answer")
            self._next_seq_id = (self._next_seq_id + 1) % 256
            if not whole and size < MAX_PACKET_LEN:
                return data
            whole += data
            if size < MAX_PACKET_LEN:
                return whole


def _lost(why: str) -> pymysql.Error:
    return pymysql.OperationalError(CR.CR_SERVER_LOST, f"The connection was lost: {why}")
