"""Redis's protocol: whatever pieces a reply comes in, it is read as it was sent; what is no reply is an error."""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import exceptions

from cache_backends.servers.redis_wire import SHORT, Replies, packed

replies = st.recursive(
    st.none() | st.integers(-(2**62), 2**62) | st.binary(max_size=60),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=12,
)


def sent(reply: Any) -> bytes:
    """A reply as a server sends it."""
    if reply is None:
        return b"$-1\r\n"
    if isinstance(reply, int):
        return b":%d\r\n" % reply
    if isinstance(reply, bytes):
        return b"$%d\r\n%b\r\n" % (len(reply), reply)
    return b"*%d\r\n" % len(reply) + b"".join(map(sent, reply))


class Pieces:
    """A socket that gives what was sent in pieces of these lengths, over and over; in between, nothing is lost."""

    def __init__(self, data: bytes, lengths: Sequence[int]) -> None:
        self._data = data
        self._lengths = lengths
        self._turn = 0

    def recv(self, most: int) -> bytes:
        """Some of what is left."""
        self._turn += 1
        length = min(most, self._lengths[self._turn % len(self._lengths)])
        piece, self._data = self._data[:length], self._data[length:]
        return piece

    def recv_into(self, room: memoryview) -> int:
        """The same into a buffer."""
        piece = self.recv(len(room))
        room[: len(piece)] = piece
        return len(piece)


def replies_in(data: bytes, *lengths: int) -> Replies:
    """A reader of what comes in such pieces."""
    pieces: Any = Pieces(data, lengths or (1 << 30,))
    return Replies(pieces)


@given(st.lists(replies, min_size=1, max_size=5), st.lists(st.integers(1, 40), min_size=1, max_size=5))
def test_replies_come_out_as_they_went_in_whatever_pieces_they_come_in(said: list[Any], lengths: list[int]) -> None:
    reader = replies_in(b"".join(map(sent, said)), *lengths)
    assert [reader.next() for _ in said] == said


def test_a_value_larger_than_what_is_read_at_once_is_whole() -> None:
    value = bytes(range(256)) * 4_000
    reader = replies_in(sent(value) + sent(b"next"), 65_536, 70_000, 1)
    assert reader.next() == value
    assert reader.next() == b"next"


def test_a_plain_word_is_bytes_and_no_list_is_none() -> None:
    reader = replies_in(b"+OK\r\n*-1\r\n")
    assert reader.next() == b"OK"
    assert reader.next() is None


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (b"-NOSCRIPT No matching script.\r\n", exceptions.NoScriptError),
        (b"-OOM command not allowed when used memory > 'maxmemory'.\r\n", exceptions.OutOfMemoryError),
        (b"-MOVED 7 127.0.0.1:6379\r\n", exceptions.MovedError),
        (b"-LOADING Redis is loading the dataset in memory\r\n", exceptions.BusyLoadingError),
        (b"-ERR syntax error\r\n", exceptions.ResponseError),
        (b"-\xff\xfe\r\n", exceptions.ResponseError),
        (b"HTTP/1.1 400 Bad Request\r\n", exceptions.InvalidResponse),
        (b"\r\n", exceptions.InvalidResponse),
    ],
)
def test_an_error_is_the_drivers(said: bytes, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        replies_in(said).next()


@pytest.mark.parametrize("said", [b"$x\r\n", b":\r\n", b"*?\r\n"])
def test_a_length_that_is_no_number_is_an_error_of_the_driver(said: bytes) -> None:
    with pytest.raises(exceptions.InvalidResponse, match="protocol"):
        replies_in(said).next()


@pytest.mark.parametrize("said", [b"", b"$5\r\nhe", b"*2\r\n:1\r\n", b":1"])
def test_a_connection_that_ends_in_the_middle_is_an_error(said: bytes) -> None:
    with pytest.raises(exceptions.ConnectionError, match="closed"):
        replies_in(said).next()


@given(st.lists(st.binary(max_size=2 * SHORT), min_size=1, max_size=4))
def test_a_command_is_a_list_of_its_parts(command: list[bytes]) -> None:
    assert replies_in(packed(command)).next() == command


def test_a_real_socket_is_read() -> None:
    ours, theirs = socket.socketpair()
    value = b"v" * 1_000_000
    with ours, theirs:
        sender = threading.Thread(target=theirs.sendall, args=[sent([value, 1])])
        sender.start()
        assert Replies(ours).next() == [value, 1]
        sender.join()


class SlowPieces(Pieces):
    """Pieces that take a quarter of a second each, by a clock of their own."""

    def __init__(self, data: bytes, lengths: Sequence[int]) -> None:
        super().__init__(data, lengths)
        self.now = 1_000.0
        self.timeout_s = 1.0
        self.waited: list[float] = []

    def recv(self, most: int) -> bytes:
        """Some of what is left, later."""
        self.now += 0.25
        self.waited.append(self.timeout_s)
        return super().recv(most)

    def gettimeout(self) -> float:
        """As a socket's."""
        return self.timeout_s

    def settimeout(self, timeout_s: float) -> None:
        """As a socket's."""
        self.timeout_s = timeout_s


def slow_replies(data: bytes, *lengths: int) -> tuple[Replies, SlowPieces]:
    """A reader of what comes in such pieces, and the pieces."""
    pieces: Any = SlowPieces(data, lengths)
    return Replies(pieces, lambda: pieces.now), pieces


@pytest.mark.parametrize("reply", [b"x" * 39, [b"x"] * 6, list(range(9)), int("1" * 30)])
def test_a_reply_in_many_pieces_is_waited_for_no_longer_than_one_in_one(reply: Any) -> None:
    reader, pieces = slow_replies(sent(reply), 4)
    reader.until = pieces.now + 1.0
    with pytest.raises(TimeoutError):
        reader.next()
    assert pieces.waited == [1.0, 0.75, 0.5, 0.25]


def test_a_reply_in_few_pieces_is_read_and_the_next_one_has_all_its_time() -> None:
    reader, pieces = slow_replies(sent(b"x" * 39) + sent(b"y" * 39), 23)
    for value in (b"x" * 39, b"y" * 39):
        reader.until = pieces.now + 1.0
        assert reader.next() == value
    assert pieces.waited == [1.0, 0.75, 1.0, 0.75]
    assert pieces.timeout_s == 1.0


def test_a_reply_without_an_end_of_its_time_is_waited_for_as_long_as_pieces_come() -> None:
    reader, pieces = slow_replies(sent([b"x" * 39]), 4)
    assert reader.next() == [b"x" * 39]
    assert set(pieces.waited) == {1.0}
