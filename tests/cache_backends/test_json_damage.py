"""What `JSONFileCache` promises about damage: set aside, never an answer, and never anything but an answer."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from langchain_core.outputs import Generation

from cache_backends import CacheConfigError, CacheUnavailableError, JSONFileCache, cache_key
from cache_backends.json_format import BODY_OFFSET, _head, to_bytes
from cache_backends.storage import StoredEntry
from tests.cache_backends.answers import LLM, found, look, store
from tests.cache_backends.json_outside import OpenJSON, entry_of, file_of, files


@pytest.fixture
def cache(open_json: OpenJSON) -> JSONFileCache:
    """An empty cache."""
    return open_json()


@pytest.mark.parametrize("flip", [0x01, 0x08, 0x20, 0x80])
def test_a_flipped_byte_is_set_aside_or_the_answer_is_still_right(cache: JSONFileCache, flip: int) -> None:
    store(cache, "q", "answer")
    file = file_of(cache, "q")
    whole = file.read_bytes()
    aside = file.with_name(f"{file.name}.damaged")
    hits = range(whole.index(b'"hits": ') + 8, whole.index(b'"hits": ') + 19)
    for position in range(0, len(whole), 3):
        changed = bytearray(whole)
        changed[position] ^= flip
        file.write_bytes(changed)
        lookup = look(cache, "q")
        if lookup.outcome == "hit":
            assert position in hits
            assert found(cache, "q") == ["answer"]
        elif lookup.outcome == "error":
            assert bytes(changed[:16]) in (b'{\n  "format": 9,\n'[:16], b'{\n  "format": 3,\n'[:16])
            assert file.read_bytes() == changed, "what a newer version may have made is left alone"
        else:
            assert lookup.outcome == "corrupt"
            assert aside.read_bytes() == changed
            assert not file.exists()
            assert look(cache, "q").outcome == "miss"


def test_a_truncated_file_is_corrupt_and_is_set_aside(cache: JSONFileCache) -> None:
    store(cache, "q", "answer")
    file = file_of(cache, "q")
    whole = file.read_bytes()
    for length in range(0, len(whole), 3):
        file.write_bytes(whole[:length])
        assert look(cache, "q").outcome == "corrupt"
        assert not file.exists()
    file.write_bytes(whole + b" ")
    assert look(cache, "q").outcome == "corrupt"
    file.write_bytes(whole)
    assert found(cache, "q") == ["answer"]


def test_a_file_under_another_key_is_corrupt(cache: JSONFileCache) -> None:
    store(cache, "q", "answer")
    store(cache, "other", "other answer")
    shutil.copy(file_of(cache, "other"), file_of(cache, "q"))
    assert look(cache, "q").outcome == "corrupt"
    assert found(cache, "other") == ["other answer"]


@pytest.mark.parametrize("content", [b"", b"{}", b"null", b"\0" * 4096, b"An astronomer.", b"\xff" * 100])
def test_what_is_no_entry_is_corrupt_and_the_list_passes_over_it(cache: JSONFileCache, content: bytes) -> None:
    store(cache, "q", "answer")
    store(cache, "other", "answer")
    file_of(cache, "q").write_bytes(content)
    assert [entry.prompt for entry in cache.entries().entries] == ["other"]
    assert entry_of(cache, "q") is None
    assert cache.stats().entries == 1
    assert look(cache, "q").outcome == "corrupt"
    store(cache, "q", "new")
    assert found(cache, "q") == ["new"]


def test_a_folder_where_a_file_should_be_is_set_aside(cache: JSONFileCache) -> None:
    for _ in range(2):
        file_of(cache, "q").mkdir(parents=True)
        assert cache.entries().entries == []
        assert entry_of(cache, "q") is None
        assert look(cache, "q").outcome == "corrupt"
        store(cache, "q", "answer")
        assert found(cache, "q") == ["answer"]
        assert cache.delete(cache_key("q", LLM)) == 1


def test_a_folder_where_a_file_should_be_is_nothing_to_delete_and_is_cleared_away(cache: JSONFileCache) -> None:
    file_of(cache, "q").mkdir(parents=True)
    with pytest.raises(CacheUnavailableError, match="can't be written: Is a directory"):
        cache.delete(cache_key("q", LLM))
    cache.clear()
    store(cache, "q", "answer")
    assert found(cache, "q") == ["answer"]


def test_a_file_where_a_folder_should_be_fails_open(cache: JSONFileCache, folder: Path) -> None:
    store(cache, "q", "answer")
    namespace = file_of(cache, "q").parent.parent
    shutil.rmtree(namespace)
    namespace.write_text("in the way")
    assert found(cache, "q") is None
    with cache.observe() as lookups:
        store(cache, "q", "answer")
    assert [made.refusal for made in lookups.stores] == ["error"]
    assert cache.entries().total == 0
    assert namespace.read_text() == "in the way"


PLANTED = [
    '[{"lc": 1, "type": "constructor", "id": ["langchain_core", "prompts", "PromptTemplate"], "kwargs": {}}]',
    '{"lc": 1, "type": "constructor", "id": ["langchain", "schema", "output", "Generation"], "kwargs": {"text": "x"}}',
    '[{"message": {"lc": 1, "type": "constructor", "id": ["langchain", "schema", "messages", "AIMessage"]}}]',
    '[{"message": {"content": "x", "extra": {"type": "system"}}}]',
    '[{"py/object": "os.system"}]',
    "[]",
    "null",
]


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_constructor_with_a_right_checksum_is_corrupt(cache: JSONFileCache, planted: str) -> None:
    store(cache, "q", "answer")
    _plant(cache, "q", planted)
    assert look(cache, "q").outcome == "corrupt"


def test_a_planted_constructor_inside_an_answer_stays_data(cache: JSONFileCache) -> None:
    store(cache, "q", "answer")
    secret = {"lc": 1, "type": "secret", "id": ["OPENAI_API_KEY"]}
    _plant(cache, "q", json.dumps([{"message": {"content": "x", "additional_kwargs": {"a": secret}}}]))
    answer = cache.lookup("q", LLM)
    assert answer is not None
    assert answer[0].message.additional_kwargs == {"a": secret}  # type: ignore[attr-defined]


def _plant(cache: JSONFileCache, prompt: str, generations: str) -> None:
    entry = StoredEntry(
        digest=bytes.fromhex(cache_key(prompt, LLM)),
        payload=generations.encode(),
        created_at=cache.clock(),
        expires_at=None,
        model_time_s=None,
        model=None,
        raw_prompt=prompt,
        llm_string=LLM,
        last_used_at=cache.clock(),
    )
    file_of(cache, prompt).write_bytes(to_bytes(entry, "default"))


@pytest.mark.parametrize(
    ("field", "value"), [("created_at", '"then"'), ("created_at", "true"), ("expires_at", "[]"), ("model_time_s", "{}")]
)
def test_a_field_of_the_wrong_type_is_corrupt_even_with_a_right_checksum(
    cache: JSONFileCache, field: str, value: str
) -> None:
    from cache_backends.codec import checksum

    store(cache, "q", "answer")
    file = file_of(cache, "q")
    head, body = file.read_bytes()[:BODY_OFFSET], file.read_bytes()[BODY_OFFSET:]
    lines = [f'  "{field}": {value},' if f'"{field}"' in line else line for line in body.decode().split("\n")]
    changed = "\n".join(lines).encode()
    old_checksum = head[head.index(b'"checksum": "') + 13 :][:32]
    file.write_bytes(head.replace(old_checksum, checksum(file.stem, changed).hex().encode()) + changed)
    assert json.loads(file.read_bytes())[field] == json.loads(value)
    assert look(cache, "q").outcome == "corrupt"


def test_an_entry_of_a_newer_version_is_an_error_and_stays_where_it_is(cache: JSONFileCache) -> None:
    store(cache, "q", "answer")
    file = file_of(cache, "q")
    newer = file.read_bytes().replace(b'"format": 2,', b'"format": 3,')
    file.write_bytes(newer)
    lookup = look(cache, "q")
    assert lookup.outcome == "error"
    assert "made by a newer version (format 3; this one knows up to 2). Update the program." in str(lookup.error)
    assert file.read_bytes() == newer
    assert cache.entries().total == 0
    assert entry_of(cache, "q") is None


def test_a_folder_of_a_newer_version_is_refused_and_left_alone(open_json: OpenJSON, folder: Path) -> None:
    with open_json() as cache:
        store(cache, "q", "answer")
    marker = folder / "llm-cache.json"
    marker.write_text(json.dumps({"kind": "LLM answers as JSON files", "format": 3}))
    before = files(folder)
    with pytest.raises(CacheConfigError, match=r"newer version of this cache\. Update the program, or name another"):
        open_json()
    assert files(folder) == before


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"format": null}', '{"format": "x"}', "{}"])
def test_a_damaged_mark_of_the_folder_loses_no_answer(open_json: OpenJSON, folder: Path, content: str) -> None:
    with open_json() as cache:
        store(cache, "q", "answer")
    (folder / "llm-cache.json").write_text(content)
    assert found(open_json(), "q") == ["answer"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"namespace": 1}', "{}"])
def test_a_damaged_mark_of_a_namespace_hides_its_name_only(cache: JSONFileCache, content: str) -> None:
    store(cache, "q", "answer")
    (file_of(cache, "q").parent.parent / "namespace.json").write_text(content)
    assert cache.namespaces() == []
    assert found(cache, "q") == ["answer"]


def test_what_else_lies_in_the_folder_is_left_alone(open_json: OpenJSON, folder: Path) -> None:
    folder.mkdir()
    (folder / "notes.txt").write_text("precious")
    theirs = [
        "project/ab/settings.json",
        "project/ab/x.tmp",
        "notes.tmp",
        "a.json",
        "ab/cd.json",
        f"{'0' * 32}/ab/x.json",
        f"project/ab/{'0' * 64}.json",
    ]
    for name in theirs:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("precious")
    cache = open_json(max_entries=1)
    for prompt in "abc":
        store(cache, prompt, "answer")
    assert cache.stats().entries == 1
    cache.clear()
    open_json()
    assert {(folder / name).read_text() for name in ("notes.txt", *theirs)} == {"precious"}


def _pipe(file: Path) -> None:
    os.mkfifo(file)


def _endless(file: Path) -> None:
    file.symlink_to("/dev/zero")


def _link_to_itself(file: Path) -> None:
    file.symlink_to(file)


def _socket(file: Path) -> None:
    os.mknod(file, stat.S_IFSOCK | 0o600)


NO_FILES = [_pipe, _endless, _link_to_itself, _socket]


@pytest.fixture
def few_bytes() -> Iterator[None]:
    """Reading without end fails soon, and waiting without end too."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (1 << 31, limits[1]))
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail("it waits for ever"))
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_AS, limits)


@pytest.mark.parametrize("planted", NO_FILES)
@pytest.mark.usefixtures("few_bytes")
def test_what_is_no_file_is_set_aside(cache: JSONFileCache, planted: Callable[[Path], None]) -> None:
    store(cache, "q", "answer")
    file = file_of(cache, "q")
    file.unlink()
    planted(file)
    assert cache.entries().total == 0
    assert look(cache, "q").outcome == "corrupt"
    assert look(cache, "q").outcome == "miss"
    store(cache, "q", "new answer")
    assert found(cache, "q") == ["new answer"]


@pytest.mark.parametrize("planted", NO_FILES)
@pytest.mark.usefixtures("few_bytes")
def test_what_is_no_file_does_not_keep_others_from_being_evicted(
    open_json: OpenJSON, planted: Callable[[Path], None]
) -> None:
    cache = open_json(max_entries=3)
    store(cache, "q", "answer")
    file_of(cache, "q").unlink()
    planted(file_of(cache, "q"))
    os.utime(file_of(cache, "q"), (1, 1), follow_symlinks=False)
    for number in range(8):
        store(cache, f"q{number}", "answer")
    assert cache.counters.errors == 0
    assert cache.stats().entries <= 3


def _planted(cache: JSONFileCache, prompt: str, change: Callable[[bytes], bytes]) -> None:
    """A file that somebody wrote who knows how to make a checksum."""
    body = change(file_of(cache, prompt).read_bytes()[BODY_OFFSET:])
    file_of(cache, prompt).write_bytes(_head(cache_key(prompt, LLM), 0, body) + body)


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body.replace(b'"key": "', b'"key": "zz'),
        lambda body: body.replace(b'"namespace": "', b'"namespace": "not '),
        lambda body: body[: body.index(b'"generations"')] + b'"generations": ' + b"[" * 600 + b"]" * 600 + b"}",
    ],
    ids=["key", "namespace", "depth"],
)
def test_a_planted_file_does_not_hide_the_others(cache: JSONFileCache, change: Callable[[bytes], bytes]) -> None:
    store(cache, "q", "answer")
    store(cache, "other", "answer")
    _planted(cache, "q", change)
    assert entry_of(cache, "q") is None
    assert not cache.pin(cache_key("q", LLM))
    assert cache.purge_expired() == 0
    assert [entry.prompt for entry in cache.entries().entries] == ["other"]


def test_what_has_the_right_checksum_and_the_wrong_shape_is_set_aside(cache: JSONFileCache) -> None:
    store(cache, "q", "answer")
    _planted(cache, "q", lambda body: body[: body.index(b'"generations"')] + b'"generations": [{"nothing": 1}]}')
    assert look(cache, "q").outcome == "corrupt"
    assert look(cache, "q").outcome == "miss"


def test_what_is_nested_too_deep_for_a_file_is_not_stored(open_json: OpenJSON) -> None:
    cache = open_json(strict=True)
    nested: object = "x"
    for depth in range(256):
        nested = [nested]
        cache.update(f"q{depth}", LLM, [Generation(text="answer", generation_info={"nested": nested})])
    assert cache.counters.uncacheable
    assert cache.counters.stores + cache.counters.uncacheable == 256
