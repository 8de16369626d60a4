"""`config.yaml`: defaults where it is absent, and a sentence for every mistake in it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from lab.settings import CONFIG_VARIABLE, Settings, SettingsError, config_path, load_settings

SECRET = "sk-do-not-show-0123456789"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


def mistake(file: Path, text: str | bytes) -> str:
    """What is said about a file with this content."""
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SettingsError) as caught:
        load_settings(file)
    return str(caught.value)


def what_is_said(file: Path) -> str | None:
    """The sentence on a file, None where it can be used."""
    try:
        assert isinstance(load_settings(file), Settings)
    except SettingsError as error:
        return str(error)
    return None


def test_without_a_file_the_defaults_hold(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CONFIG_VARIABLE, raising=False)
    monkeypatch.chdir(file.parent)
    assert config_path() == Path("config.yaml")
    assert load_settings() == load_settings(file) == Settings()
    assert [strategy.name for strategy in Settings().strategies] == [
        "memory", "sqlite", "json", "langchain-memory", "langchain-sqlite",
    ]  # fmt: skip
    assert (Settings().sharing, Settings().data_dir) == ("shared", Path("data"))


@pytest.mark.parametrize("text", ["", "# nothing but a comment\n", "---\n", "null\n", "\ufeff"])
def test_a_file_that_says_nothing_changes_nothing(text: str, file: Path) -> None:
    file.write_text(text, encoding="utf-8")
    assert load_settings(file) == Settings()


def test_a_whole_file_is_read(file: Path) -> None:
    file.write_text(
        """
        data_dir: /var/lib/lab
        sharing: private
        max_prompt_chars: 5000
        simulated: {first_token_s: 0.1, tokens_per_second: 100, spread: 0, priced_as: gpt-4o}
        endpoints:
          - name: ollama
            title: Ollama (here)
            base_url: http://localhost:11434/v1/
            models: [llama3.2, "qwen2.5:7b"]
            needs_key: false
            max_tokens: 500
        strategies:
          - {name: fast, title: Fast, url: "memory://?ttl=1h"}
          - name: theirs
            langchain: langchain_core.caches.InMemoryCache
            options: {maxsize: 10, name: x, fast: true, rate: 0.5, nothing: null}
            survives_restart: false
        prices:
          llama3.2: {input_usd_per_million: 0, output_usd_per_million: 0.5}
        history: {max_rows: 1000}
        """,
        encoding="utf-8",
    )
    read = load_settings(file)
    assert (read.data_dir, read.sharing, read.max_prompt_chars) == (Path("/var/lib/lab"), "private", 5000)
    assert read.simulated.first_token_s == 0.1
    assert read.endpoints[0].base_url == "http://localhost:11434/v1"
    assert read.endpoints[0].models == ["llama3.2", "qwen2.5:7b"]
    assert read.strategies[1].options == {"maxsize": 10, "name": "x", "fast": True, "rate": 0.5, "nothing": None}
    assert read.prices["llama3.2"].output_usd_per_million == 0.5
    assert read.history.max_rows == 1000


EXAMPLE = Path(__file__).parents[2] / "config.example.yaml"


def test_the_example_shows_the_defaults() -> None:
    assert load_settings(EXAMPLE) == Settings()


def test_what_the_example_has_in_comments_can_be_used(file: Path) -> None:
    text = re.sub(
        r"^(  )# (?=[-a-z])", r"\1", EXAMPLE.read_text(encoding="utf-8").replace("prices: {}", "prices:"), flags=re.M
    )
    file.write_text(text, encoding="utf-8")
    read = load_settings(file)
    assert len(read.endpoints) == 3
    assert [strategy.name for strategy in read.strategies[5:]] == ["small", "redis", "postgresql", "mysql", "mongodb"]
    assert len(read.prices) == 1


def test_a_section_left_out_keeps_its_defaults(file: Path) -> None:
    file.write_text("sharing: private\n", encoding="utf-8")
    assert load_settings(file) == Settings(sharing="private")


def test_the_environment_may_name_another_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("sharing: private\n", encoding="utf-8")
    monkeypatch.setenv(CONFIG_VARIABLE, str(file))
    assert config_path() == file
    assert load_settings().sharing == "private"


def test_a_file_that_the_environment_names_must_be_there(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CONFIG_VARIABLE, str(file))
    for path in (None, file):
        with pytest.raises(SettingsError) as caught:
            load_settings(path)
        assert str(caught.value) == f"{CONFIG_VARIABLE} names {file}, and there is no such file."
    assert load_settings(file.with_name("other.yaml")) == Settings()


def test_an_empty_variable_names_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CONFIG_VARIABLE, "")
    assert config_path() == Path("config.yaml")


def in_endpoint(text: str) -> str:
    return f"endpoints: [{{name: a, models: [m], {text}}}]"


def in_strategy(text: str) -> str:
    return f"strategies: [{{name: a, url: 'memory://', {text}}}]"


MISTAKES = [
    ("sharing: everybody", "sharing is 'everybody': Input should be 'shared' or 'private'."),
    ("data_dir: 5", "data_dir is '5': give the path of a folder."),
    ('data_dir: "a\\0b"', "give the path of a folder, without NUL characters."),
    ("data_dir: ~nobody-of-this-name/x", "data_dir is '~nobody-of-this-name/x': give the path of a folder"),
    ("max_prompt_chars: 99", "max_prompt_chars is '99': Input should be greater than or equal to 100."),
    ("max_prompt_chars: many", "max_prompt_chars is 'many': Input should be a valid integer"),
    ("max_prompt_chars: 1.5", "max_prompt_chars is '1.5': Input should be a valid integer"),
    ("max_prompt_chars:", "max_prompt_chars is 'None': Input should be a valid integer."),
    ("history: {max_rows: 7}", "history.max_rows is '7': Input should be greater than or equal to 100."),
    ("history: 7", "history is '7': Input should be"),
    ("history: []", "history: Input should be"),
    ("colour: red", "colour: unknown key. Known here: data_dir, sharing, max_prompt_chars, simulated"),
    ("history: {rows: 7}", "history.rows: unknown key. Known here: max_rows."),
    ("simulated: {speed: 7}", "simulated.speed: unknown key. Known here: first_token_s, tokens_per_second, spread"),
    ("simulated: {first_token_s: -1}", "simulated.first_token_s is '-1': Input should be greater than or equal to 0."),
    ("simulated: {first_token_s: .nan}", "simulated.first_token_s is 'nan': Input should be a finite number."),
    ("simulated: {tokens_per_second: 0}", "simulated.tokens_per_second is '0': Input should be greater than 0."),
    ("simulated: {priced_as: ''}", "simulated.priced_as is '': String should have at least 1 character."),
    ("prices: {m: {input_usd_per_million: .inf, output_usd_per_million: 1}}", "prices.m.input_usd_per_million is"),
    ("prices: {m: {input_usd_per_million: 1}}", "prices.m.output_usd_per_million: Field required."),
    ("prices: {m: cheap}", "prices.m is 'cheap'"),
    ("prices: {m: {usd: 1}}", "prices.m.usd: unknown key. Known here: input_usd_per_million, output_usd_per_million."),
    ("strategies: []", "strategies: List should have at least 1 item"),
    ("strategies: {}", "strategies: Input should be a valid list."),
    ("strategies: [memory]", "strategies.0 is 'memory': Input should be"),
    ("strategies: [{url: 'memory://'}]", "strategies.0.name: Field required."),
    ("strategies: [{name: a}]", "strategies.0: give either url (one of our caches) or langchain"),
    (in_strategy("langchain: a.B"), "strategies.0: give either url"),
    ("strategies: [{name: Fast!, url: 'memory://'}]", "strategies.0.name is 'Fast!': use 1 to 40 small letters"),
    ("strategies: [{name: a, langchain: no-path}]", "strategies.0.langchain is 'no-path': give the dotted"),
    (in_strategy("size: 3"), "strategies.0.size: unknown key. Known here: name, title, url"),
    (in_strategy("options: [1]"), "strategies.0.options: Input should be a valid dict"),
    (in_strategy("options: {x: [1]}"), "strategies.0.options.x: use a text, a number"),
    ("strategies: [{name: a, url: 'memory://'}, {name: a, url: 'memory://'}]", "the name 'a' is given twice"),
    ("strategies: [{name: none, url: 'memory://'}]", "strategies: the name 'none' is given twice ('simulated' and"),
    ("endpoints: [{name: simulated, models: [m]}]", "endpoints: the name 'simulated' is given twice"),
    ("endpoints: [{name: a, models: [m]}, {name: a, models: [n]}]", "endpoints: the name 'a' is given twice"),
    ("endpoints: [{name: a}]", "endpoints.0.models: Field required."),
    ("endpoints: [{name: a, models: []}]", "endpoints.0.models: List should have at least 1 item"),
    ("endpoints: [{name: a, models: ['']}]", "endpoints.0.models.0 is '': String should have at least 1 character."),
    ("endpoints: [{name: a, models: m}]", "endpoints.0.models is 'm': Input should be a valid list."),
    (in_endpoint("kind: embedding"), "endpoints.0.kind is 'embedding': Input should be 'chat' or"),
    (in_endpoint("timeout_s: 0"), "endpoints.0.timeout_s is '0': Input should be greater than 0."),
    (in_endpoint("max_retries: 11"), "endpoints.0.max_retries is '11': Input should be less than"),
    (in_endpoint("max_tokens: 0"), "endpoints.0.max_tokens is '0': Input should be greater than"),
    (in_endpoint("needs_key: maybe"), "endpoints.0.needs_key is 'maybe': Input should be a valid"),
    (in_endpoint("url: 'http://x'"), "endpoints.0.url: unknown key. Known here: name, title, kind"),
    ("1: one", "1: Keys should be strings."),
    ("- a", "must hold keys and values such as 'data_dir: data', not a list."),
    ("text", "must hold keys and values such as 'data_dir: data', not a single value."),
    ("5", "not a single value."),
    ("a: [1", "is not valid YAML: while parsing a flow sequence"),
    ("a: 'x", "is not valid YAML"),
    ("a:\n\t- b", "is not valid YAML"),
    ("a: b: c", "is not valid YAML: mapping values are not allowed here, line 1, column 5."),
    ("a: &x [*y]", "is not valid YAML"),
    ("!!python/object/apply:os.system ['true']", "is not valid YAML: could not determine a constructor for the tag"),
    ("a: 2024-13-45", "is not valid YAML: month must be in 1..12"),
    ("a: !!int x", "is not valid YAML"),
    ("a: !!timestamp x", "is not valid YAML"),
    ("a: !!float x", "is not valid YAML"),
    ("? [1, 2]\n: 3", "is not valid YAML: while constructing a mapping, found unhashable key"),
    ("sharing: private\nsharing: shared", "is not valid YAML: the key 'sharing' is given twice, line 2, column 1."),
    ("history: {max_rows: 100, max_rows: 200}", "the key 'max_rows' is given twice, line 1, column 26."),
    ("a: " + "[" * 3000 + "]" * 3000, "is not valid YAML"),
    ("a: \0", "is not valid YAML"),
    ("a: &a [*a]", "a: unknown key."),
    ("strategies: &a [*a]", "strategies"),
    ("prices: &a {m: *a}", "prices.m"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), MISTAKES)
def test_a_mistake_names_the_file_the_key_the_value_and_what_is_allowed(text: str, expected: str, file: Path) -> None:
    said = mistake(file, text)
    assert str(file) in said
    assert expected in said
    assert said.endswith(".")
    assert not [word for word in ("pydantic", "input_value", "Traceback", "errors.") if word in said]


@pytest.mark.parametrize(
    "url",
    ["localhost:11434", "ftp://host/v1", "http://", "http://:80", "text", "", "http://host:port", "http://host:99999",
     "http://host/a b", "http://[::1", "http://host/\u0007", "file:///etc/passwd", "HTTP//host"],
)  # fmt: skip
def test_an_address_that_is_none_is_told_with_an_example(url: str, file: Path) -> None:
    said = mistake(file, yaml.safe_dump({"endpoints": [{"name": "a", "models": ["m"], "base_url": url}]}))
    assert "endpoints.0.base_url" in said
    assert "give an address such as 'http://localhost:11434/v1'" in said


@pytest.mark.parametrize(
    "url", ["http://localhost:11434/v1", "https://host", "http://[::1]:8080/v1", "HTTPS://Host/v1/"]
)
def test_an_address_is_taken_as_it_is_but_for_its_last_slash(url: str, file: Path) -> None:
    file.write_text(yaml.safe_dump({"endpoints": [{"name": "a", "models": ["m"], "base_url": url}]}))
    assert load_settings(file).endpoints[0].base_url == url.rstrip("/")


@pytest.mark.parametrize(
    "text",
    [
        f"endpoints: [{{name: a, models: [m], api_key: [{SECRET}]}}]",
        f"endpoints: [{{name: a, models: [m], api_key: {{x: {SECRET}}}}}]",
        f"endpoints: [{{name: a, models: [m], apikey: {SECRET}}}]",
        f"endpoints: [{{name: a, models: [m], needs_key: {SECRET}}}]",
        f"endpoints: [{{name: A, models: [m], api_key: {SECRET}}}]",
        f"endpoints: [{{name: a, models: [], api_key: {SECRET}}}]",
        f"endpoints: {SECRET}",
        f"endpoints: [{SECRET}]",
        f"api_key: {SECRET}",
        f"strategies: [{{name: a, url: 'memory://', options: {{password: [{SECRET}]}}}}]",
        f"strategies: [{{name: a, url: 5, options: {{password: {SECRET}}}}}]",
        "strategies: [{name: a, langchain: 'redis://app:do-not-show@host'}]",
        f"endpoints: [{{name: a, models: [m], api_key: {SECRET}: x}}]",
        f"endpoints: [{{name: a, models: [m], api_key: '{SECRET}}}]",
        f"endpoints:\n- name: a\n  api_key: {SECRET}\n oops",
    ],
)  # fmt: skip
def test_a_secret_is_not_shown_whatever_is_wrong_around_it(
    text: str, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load_settings(file)
    traceback = str(caught.getrepr(chain=True, style="value"))
    for shown in (str(caught.value), repr(caught.value), caplog.text, traceback):
        assert "do-not-show" not in shown


def test_a_secret_that_is_right_is_not_shown_either(file: Path) -> None:
    file.write_text(f"endpoints: [{{name: a, models: [m], api_key: {SECRET}}}]", encoding="utf-8")
    read = load_settings(file)
    assert read.endpoints[0].api_key is not None
    assert read.endpoints[0].api_key.get_secret_value() == SECRET
    assert SECRET not in f"{read!r} {read} {read.model_dump()}"


def test_pydantics_own_error_shows_no_secret_either() -> None:
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate({"endpoints": [{"name": "a", "models": ["m"], "api_key": [SECRET]}]})
    assert SECRET not in str(caught.value)


def test_every_mistake_has_its_own_line(file: Path) -> None:
    said = mistake(file, "sharing: x\nhistory: {max_rows: 1}\ncolour: red\n")
    assert len(said.splitlines()) == 4
    assert said.startswith(f"{file} has mistakes:\n")
    assert mistake(file, "sharing: x").startswith(f"{file} has a mistake:\n")


def test_text_that_is_not_utf8_is_told_with_the_place(file: Path) -> None:
    assert "is not UTF-8 text: byte 11 can't be read. Save it as UTF-8." in mistake(file, b"sharing: p\xff")
    assert "is not UTF-8" in mistake(file, "sharing: private".encode("utf-16"))


def test_a_folder_in_the_files_place_is_told(file: Path) -> None:
    file.mkdir()
    with pytest.raises(SettingsError, match="can't be read: Is a directory"):
        load_settings(file)
    with pytest.raises(SettingsError, match="can't be read: Not a directory"):
        load_settings(Path(__file__) / "config.yaml")
    with pytest.raises(SettingsError, match="can't be read"):
        load_settings(Path("nul\0.yaml"))


def test_the_home_folder_may_be_written_short(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    file.write_text("data_dir: ~/lab", encoding="utf-8")
    assert load_settings(file).data_dir == Path("/home/somebody/lab")


def test_settings_are_never_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().sharing = "private"  # type: ignore[misc]


KNOWN = [
    "data_dir", "sharing", "max_prompt_chars", "simulated", "endpoints", "strategies", "prices", "history", "name",
    "url", "langchain", "options", "models", "base_url", "api_key", "max_rows", "first_token_s", "title", "kind",
]  # fmt: skip
SCALARS: Any = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.dates() | st.datetimes() | st.binary(max_size=5)
    | st.text(max_size=20)
)  # fmt: skip
VALUES: Any = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KNOWN) | st.text(max_size=8) | st.integers(), inner, max_size=4)
    ),
    max_leaves=12,
)
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@given(values=st.dictionaries(st.sampled_from(KNOWN), VALUES, max_size=5) | VALUES)
@QUICK
def test_whatever_the_values_there_are_settings_or_a_sentence(values: Any, file: Path) -> None:
    file.write_text(yaml.safe_dump(values), encoding="utf-8", errors="surrogatepass")
    said = what_is_said(file)
    assert said is None or str(file) in said


@given(text=st.text(max_size=60) | st.from_regex(r"[a-z\[\]{}:,'\"&*!|>%@`#\n \-?~0-9.]{0,40}", fullmatch=True))
@QUICK
def test_whatever_the_text_there_are_settings_or_a_sentence(text: str, file: Path) -> None:
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    said = what_is_said(file)
    assert said is None or str(file) in said
