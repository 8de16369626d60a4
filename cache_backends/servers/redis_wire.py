"""Redis's protocol, version 2: commands to the bytes that are sent, and replies from the bytes that come.

See "Redis serialization protocol specification" in Redis's documentation.
"""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from redis import exceptions
from redis._parsers import BaseParser

Command = Sequence[bytes]
Piece = TypeVar("Piece")

SHORT = 1024
_LENGTHS = [b"\r\n$%d\r\n" % length for length in range(SHORT)]
"""What stands before a short part of a command: to write these each time takes four times as long."""
_READ_AT_ONCE = 65_536
_LINE_ENDS = b"\r\n"
_TEXT, _BYTES, _NUMBER, _LIST, _ERROR = b"+$:*-"


def packed(command: Command) -> bytes:
    """A command as it is sent."""
    parts = [b"*%d" % len(command)]
    for part in command:
        length = len(part)
        parts += (_LENGTHS[length] if length < SHORT else b"\r\n$%d\r\n" % length, part)
    parts.append(_LINE_ENDS)
    return b"".join(parts)


class Replies:
    """The replies that come over a socket, one after another.

    redis-py takes 5 µs more for a value that is here in 25, and half as long again for a page of a list.
    """

    __slots__ = ("_at", "_data", "_monotonic", "_socket", "until")

    def __init__(self, connected: socket.socket, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._socket = connected
        self._monotonic = monotonic
        self._data = b""
        self._at = 0
        self.until = math.inf
        """When, by `monotonic`, a reply must be here as a whole: the socket's timeout begins anew with each piece."""

    def next(self, *, is_begun: bool = False) -> Any:
        """Bytes, a number, None, or a list of these. Raises redis-py's errors, and OSError.

        For its first piece the socket's own timeout is right; a hit nearly always comes in one, and so costs no more.
        """
        end = self._data.find(_LINE_ENDS, self._at)
        while end < 0:
            if is_begun:
                self._in_time(self._read_more)
            else:
                self._read_more()
                is_begun = True
            end = self._data.find(_LINE_ENDS)
        kind, said = self._data[self._at], self._data[self._at + 1 : end]
        self._at = end + 2
        if kind == _BYTES:
            return self._bytes(_number(said))
        if kind == _NUMBER:
            return _number(said)
        if kind == _LIST:
            length = _number(said)
            return None if length < 0 else [self.next(is_begun=True) for _ in range(length)]
        if kind == _TEXT:
            return said
        if kind == _ERROR:
            raise BaseParser.parse_error(said.decode("utf-8", "replace"))
        raise _no_reply()

    def _bytes(self, length: int) -> bytes | None:
        if length < 0:
            return None
        at = self._at
        end = at + length
        data = self._data
        if end + 2 <= len(data):
            self._at = end + 2
            return data[at:end]
        whole = bytearray(length + 2)
        come = len(data) - at
        whole[:come] = data[at:]
        self._data, self._at = b"", 0
        with memoryview(whole) as rest:
            while come < len(whole):
                more = self._in_time(lambda come=come: self._socket.recv_into(rest[come:]))  # type: ignore[misc]
                if not more:
                    raise _ended()
                come += more
        return bytes(whole[:length])

    def _read_more(self) -> None:
        more = self._socket.recv(_READ_AT_ONCE)
        if not more:
            raise _ended()
        self._data, self._at = self._data[self._at :] + more, 0

    def _in_time(self, receive: Callable[[], Piece]) -> Piece:
        """What `receive` gives, which waits for no longer than what is left. Raises TimeoutError."""
        if self.until == math.inf:
            return receive()
        left_s = self.until - self._monotonic()
        if left_s <= 0:
            raise TimeoutError("the reply did not come in time")
        timeout_s = self._socket.gettimeout()
        self._socket.settimeout(left_s)
        piece = receive()
        self._socket.settimeout(timeout_s)
        return piece


def _number(said: bytes) -> int:
    try:
        return int(said)
    except ValueError as error:
        raise _no_reply() from error


def _no_reply() -> exceptions.InvalidResponse:
    return exceptions.InvalidResponse("what it answers is not Redis's protocol")


def _ended() -> exceptions.ConnectionError:
    return exceptions.ConnectionError("it was closed by the server")
