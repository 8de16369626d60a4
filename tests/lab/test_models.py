"""The list of models, which key each gets, and that a parameter set is an object of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, Generation
from langchain_openai import ChatOpenAI, OpenAI

from lab.models import COMPLETION_TOKENS, MODELS_KEPT, NO_KEY, BadKeyError, ModelChoice, Models, NoKeyError, unfinished
from lab.settings import EndpointSettings, Settings
from lab.simulated import SIMULATED_MODEL, SimulatedChatModel
from tests.lab.building import quick_settings


def models(*endpoints: EndpointSettings, secrets: dict[str, str] | None = None) -> Models:
    return Models(Settings(endpoints=list(endpoints)), secrets)


def local(**others: Any) -> EndpointSettings:
    values: dict[str, Any] = {"name": "local", "base_url": "http://127.0.0.1:9/v1", "models": ["m"]}
    return EndpointSettings(**values | others)


def key_of(runnable: Any) -> str:
    return str(runnable.openai_api_key.get_secret_value())


def test_the_simulated_model_comes_first_and_every_model_of_every_endpoint_follows() -> None:
    found = models(local(models=["m", "org/m"]), local(name="other", models=["m"])).choices
    assert list(found) == [SIMULATED_MODEL, "local/m", "local/org/m", "other/m"]
    assert [choice.simulated for choice in found.values()] == [True, False, False, False]
    assert [choice.model for choice in found.values()] == [SIMULATED_MODEL, "m", "org/m", "m"]
    assert all(name == choice.id for name, choice in found.items())


def test_by_default_there_are_openais_models_beside_the_simulated_one() -> None:
    assert list(Models(Settings()).choices) == [
        "simulated",
        "openai/gpt-4o-mini",
        "openai/gpt-4.1-mini",
        "openai-completion/gpt-3.5-turbo-instruct",
    ]


def test_the_namespace_tells_endpoints_apart_by_name_and_by_address() -> None:
    same = ModelChoice("local/m", "m", local()), ModelChoice("local/n", "n", local())
    others = local(name="other"), local(base_url="http://127.0.0.1:10/v1"), None
    assert same[0].namespace == same[1].namespace
    assert len({same[0].namespace, *(ModelChoice("x", "m", other).namespace for other in others)}) == 4


def test_the_simulated_model_is_made_as_the_settings_say(tmp_path: Path) -> None:
    model = Models(quick_settings(tmp_path)).get(SIMULATED_MODEL, 0.3)
    runnable = model.runnable
    assert isinstance(runnable, SimulatedChatModel)
    assert (runnable.temperature, runnable.first_token_s, runnable.spread) == (0.3, 0, 0)
    assert model.priced_as == "gpt-4o-mini"


def test_clients_are_built_as_the_endpoint_says_and_stream() -> None:
    found = models(
        local(timeout_s=7, max_retries=2, api_key="sk-config", stream_usage=False),
        local(name="completion", kind="completion", timeout_s=8, api_key="sk-config"),
    )
    chat, completion = found.get("local/m", 0.2).runnable, found.get("completion/m", 0.4).runnable
    assert isinstance(chat, ChatOpenAI)
    assert isinstance(completion, OpenAI)
    for runnable, temperature, timeout in ((chat, 0.2, 7), (completion, 0.4, 8)):
        assert runnable.streaming
        assert (runnable.temperature, runnable.request_timeout, runnable.model_name) == (temperature, timeout, "m")
        assert runnable.openai_api_base == "http://127.0.0.1:9/v1"
        assert key_of(runnable) == "sk-config"
        assert runnable.cache is None
    assert (chat.max_retries, chat.stream_usage, chat.max_tokens) == (2, False, None)


def test_a_completion_is_not_cut_off_at_langchains_256_tokens() -> None:
    found = models(
        local(kind="completion", needs_key=False), local(name="short", kind="completion", needs_key=False, max_tokens=9)
    )
    long, short = found.get("local/m", 0).runnable, found.get("short/m", 0).runnable
    assert isinstance(long, OpenAI)
    assert isinstance(short, OpenAI)
    assert (long.max_tokens, short.max_tokens) == (COMPLETION_TOKENS, 9)


def test_a_parameter_set_is_built_once_and_every_other_is_another_object() -> None:
    found = models(local(needs_key=False), local(name="other", needs_key=False))
    model = found.get("local/m", 0.5)
    assert found.get("local/m", 0.5) is model
    others = [
        found.get("local/m", 0.6),
        found.get("other/m", 0.5),
        found.get("local/m", 0.5, "sk-a"),
        found.get("local/m", 0.5, "sk-b"),
    ]
    assert len({id(each.runnable) for each in (model, *others)}) == 5
    assert [key_of(each.runnable) for each in (model, *others)] == [NO_KEY, NO_KEY, NO_KEY, "sk-a", "sk-b"]


def test_the_models_used_least_recently_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[float] = []

    def build(choice: ModelChoice, endpoint: Any, temperature: float, *args: Any, **kwargs: Any) -> Any:
        built.append(temperature)
        return object()

    monkeypatch.setattr("lab.models._build", build)
    found = models(local(needs_key=False))
    first = found.get("local/m", 0)
    for number in range(1, MODELS_KEPT + 5):
        found.get("local/m", number)
        assert found.get("local/m", 0) is first
    assert built == list(range(MODELS_KEPT + 5))
    found.get("local/m", 1)
    assert built[-1] == 1


def test_the_key_comes_from_the_environment_then_the_secrets_then_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    named = local(api_key_name="SOME_KEY", api_key="sk-config")
    with_secret, without = models(named, secrets={"SOME_KEY": "sk-secret"}), models(named)
    assert key_of(without.get("local/m", 0).runnable) == "sk-config"
    assert key_of(with_secret.get("local/m", 0).runnable) == "sk-secret"
    monkeypatch.setenv("SOME_KEY", "sk-environment\n")
    for found in (with_secret, without):
        assert key_of(found.get("local/m", 0).runnable) == "sk-environment"
        assert key_of(found.get("local/m", 0, "sk-visitor").runnable) == "sk-visitor"
    monkeypatch.setenv("SOME_KEY", " ")
    assert key_of(with_secret.get("local/m", 0.1).runnable) == "sk-secret"


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        (local(), False),
        (local(needs_key=False), True),
        (local(api_key="sk-config"), True),
        (local(api_key=" "), False),
        (local(api_key_name="SOME_KEY"), False),
        (local(api_key_name="KEY_OF_SECRETS"), True),
    ],
)
def test_a_model_can_be_asked_without_a_visitors_key_if_there_is_one_or_none_is_needed(
    endpoint: EndpointSettings, expected: bool
) -> None:
    found = models(endpoint, secrets={"KEY_OF_SECRETS": "sk-secret"})
    assert found.has_key(found.choices["local/m"]) is expected
    assert found.has_key(found.choices[SIMULATED_MODEL])
    if expected:
        assert found.get("local/m", 0).temperature == 0
    else:
        with pytest.raises(NoKeyError, match="local needs a key"):
            found.get("local/m", 0)


@pytest.mark.parametrize("key", ["with space", "ümlaut", "line\nbreak", "nul\0", "\x7f", "\ud800"])
def test_what_no_header_can_carry_is_no_key_and_is_not_repeated(key: str) -> None:
    with pytest.raises(BadKeyError) as caught:
        models(local()).get("local/m", 0, key)
    assert key not in str(caught.value)
    with pytest.raises(BadKeyError):
        models(local(api_key=key)).get("local/m", 0)


def test_an_unknown_model_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        models(local()).get("local/other", 0)


def test_a_model_shows_its_key_to_nobody() -> None:
    model = models(local()).get("local/m", 0, "sk-visitor-0123456789")
    assert model.secrets == ("sk-visitor-0123456789",)
    assert "visitor" not in repr(model)
    assert models(local(needs_key=False)).get("local/m", 0).secrets == ()


@pytest.mark.parametrize(
    ("generations", "expected"),
    [
        ([Generation(text="x", generation_info={"finish_reason": "stop"})], None),
        ([Generation(text="x", generation_info={"finish_reason": "length"})], None),
        ([Generation(text="x", generation_info={"finish_reason": None})], "no_finish"),
        ([Generation(text="x", generation_info={"finish_reason": ""})], "no_finish"),
        ([Generation(text="x")], "no_finish"),
        ([ChatGeneration(message=AIMessage("x", response_metadata={"finish_reason": "stop"}))], None),
        ([ChatGeneration(message=AIMessage("x"), generation_info={"finish_reason": "stop"})], None),
        ([ChatGeneration(message=AIMessage("x"))], "no_finish"),
        ([Generation(text="x", generation_info={"finish_reason": "stop"}), Generation(text="y")], "no_finish"),
    ],
)
def test_an_answer_without_a_reason_to_have_ended_is_unfinished(
    generations: list[Generation], expected: str | None
) -> None:
    assert unfinished(generations) == expected


def test_what_is_slow_to_import_is_imported_when_it_is_needed() -> None:
    code = (
        "import sys; import lab.laboratory; "
        "print(sorted({'langchain_openai', 'openai', 'langchain_community', 'streamlit'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
