"""`Connection`: PyMySQL's, without some detours that a lookup would feel."""

from __future__ import annotations

import io
import socket
import ssl
from time import monotonic
from typing import Any

import pymysql  # type: ignore[import-untyped]
from pymysql.connections import MAX_PACKET_LEN  # type: ignore[import-untyped]
from pymysql.constants import CR  # type: ignore[import-untyped]
from pymysql.protocol import FieldDescriptorPacket, MysqlPacket  # type: ignore[import-untyped]

from cache_backends.servers.mysql_tls import encrypting_only


class Connection(pymysql.connections.Connection):  # type: ignore[misc]  # a class without types
    """PyMySQL's connection. It overrides some of its inner methods, which is why requirements name its minor version.

    PyMySQL makes an SSL context for each connection, even to a server without TLS: 18 of 20 ms. And it takes twice as
    many steps as needed for each packet, and reads the descriptions of a statement's columns anew each time: together
    a quarter of a lookup.
    """

    _next_seq_id: int
    _rfile: io.BufferedReader

    def __init__(self, *, timeout_s: float, **parameters: Any) -> None:
        """`timeout_s` is for reading and writing: were they different, each packet would have to set it."""
        self._columns: dict[bytes, FieldDescriptorPacket] = {}
        self._answer: Answer | None = None
        self._timeout_s = timeout_s
        super().__init__(read_timeout=timeout_s, write_timeout=timeout_s, **parameters)

    def connect(self, sock: socket.socket | None = None) -> None:
        """Connect; from then on answers come within `timeout_s` of the command. Raises the driver's errors."""
        super().connect(sock)
        self._answer = Answer(self._sock, self._timeout_s)
        self._rfile.close()
        self._rfile = io.BufferedReader(self._answer)

    def _write_bytes(self, data: bytes) -> None:
        answer = self._answer
        if answer is not None:
            answer.asked_at = monotonic()
            answer.has_begun = False
            if answer.is_late:
                answer.is_late = False
                self._sock.settimeout(self._timeout_s)
        try:
            self._sock.sendall(data)
        except OSError as error:
            self._force_close()
            raise _lost(str(error)) from error

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


class Answer(io.RawIOBase):
    """What a server sends, which ends with its time however much comes of it bit by bit.

    A socket's own timeout begins anew with every bit. Only what does not come at once costs more than that.
    """

    asked_at = 0.0
    """When the command was sent, by `time.monotonic`."""
    has_begun = False
    """Whether anything has come since then."""
    is_late = False
    """Whether the socket's timeout is what was left of the time."""

    def __init__(self, sock: socket.socket, timeout_s: float) -> None:
        self._sock = sock
        self._timeout_s = timeout_s

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """As many bytes as have come, one at least. Raises `OSError`."""
        if self.has_begun:
            left_s = self.asked_at + self._timeout_s - monotonic()
            if left_s <= 0:
                raise TimeoutError("timed out")
            self.is_late = True
            self._sock.settimeout(left_s)
        self.has_begun = True
        return self._sock.recv_into(buffer)


def _lost(why: str) -> pymysql.Error:
    return pymysql.OperationalError(CR.CR_SERVER_LOST, f"The connection was lost: {why}")
