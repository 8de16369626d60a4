"""A visitor of the app without a browser: one session of `ui/shell.py` and what a person does and sees in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self
from unittest.mock import patch

from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.testing.v1 import AppTest

from lab.laboratory import Answered
from lab.measurement import Measurement
from ui import language
from ui.session import laboratory

SHELL = Path(__file__).parents[2] / "ui" / "shell.py"
PATIENCE_S = 30.0
"""How long a job may take before the test is given up: not a limit that anything should come near."""


def as_read(markdown: str) -> str:
    """Markdown without its escapes, and without what keeps addresses from being links."""
    return re.sub(r"\\([^A-Za-z0-9\s])", r"\1", markdown.replace(":small[]", ""))


class Visitor:
    """One browser session. What it does returns when the page shows what came of it."""

    def __init__(self, *, locale: str | None = None, **in_the_address: str) -> None:
        self.at = AppTest.from_file(str(SHELL), default_timeout=PATIENCE_S)
        self.page = "playground"
        if locale is not None:
            self.at.context = {"locale": locale}
        for name, value in in_the_address.items():
            self.at.query_params[name] = value

    def look(self) -> Self:
        """Let the page run once, with what was set since the last time."""
        in_script = language.language

        def session_language() -> str:
            # AppTest formats the options of widgets outside the script, where a page's language is not known.
            outside = get_script_run_ctx() is None and "lang" in self.at.session_state
            return str(self.at.session_state["lang"]) if outside else in_script()

        with patch.object(language, "language", session_language):
            self.at.run()
        return self

    def ask(self, prompt: str) -> Self:
        """Type a prompt, send it, and wait for its answer."""
        return self.choose(prompt=prompt).wait()

    def pick_sample(self, sample: str) -> Self:
        """Pick one of the sample prompts and wait for its answer."""
        return self.choose(sample_prompt=sample).wait()

    def click(self, key: str) -> Self:
        """Click a button and wait for what it began."""
        self.widget(key).click()
        return self.look().wait()

    def choose(self, **values: Any) -> Self:
        """Set widgets by their keys, then let the page run."""
        for key, value in values.items():
            self.widget(key).set_value(value)
        return self.look()

    def go(self, page: str) -> Self:
        """Go to a page by the name of its file, as the navigation does: not to where one is already."""
        if page != self.page:
            self.at.switch_page(f"../pages/{page}.py")
            self.page = page
        return self.look()

    def widget(self, key: str) -> Any:
        """The widget or container with this key."""
        return self.at.get_by_key(key)

    def wait(self) -> Self:
        """Wait for the request, demo, check or comparison in work, and show what came of it."""
        state = self.at.session_state["asking"]
        checking = self.at.session_state["health"].job if "health" in self.at.session_state else None
        comparing = self.at.session_state["comparing"].run_id if "comparing" in self.at.session_state else None
        compared = laboratory().jobs.get(comparing) if comparing else None
        for job in (state.job, state.demo, checking, compared):
            if job is not None and not job.finished:
                assert job.wait(PATIENCE_S), "the job did not end"
        return self.look()

    @property
    def answered(self) -> Answered:
        """The newest answer, as the page keeps it."""
        answered: Answered | None = self.at.session_state["asking"].answered
        assert answered is not None, f"nothing was answered: {self.text}"
        return answered

    @property
    def measurement(self) -> Measurement:
        """What was measured of the newest request."""
        return self.answered.measurement

    @property
    def outcome(self) -> str:
        """The end of the key of the container that shows the newest request: hit, miss, mistake, none …"""
        keys = [key for key in self.keys if key.startswith("outcome_")]
        assert len(keys) == 1, keys
        return keys[0].removeprefix("outcome_")

    @property
    def answer(self) -> str:
        """The text in the answer's box."""
        return "\n".join(str(shown.value) for shown in self.at.get_by_key("answer").markdown)

    @property
    def keys(self) -> list[str]:
        """The keys of all widgets and containers on the page."""
        return [str(key) for node in self.at._tree if (key := getattr(node, "key", None))]

    @property
    def placed(self) -> list[tuple[tuple[int, ...], Any]]:
        """All that is on the page with where it stands: its number among its siblings after its parent's, and so on."""

        def below(node: Any, place: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], Any]]:
            for number, child in getattr(node, "children", {}).items():
                yield (*place, number), child
                yield from below(child, (*place, number))

        return list(below(self.at._tree, ()))

    @property
    def places(self) -> dict[str, tuple[int, ...]]:
        """Where each widget or container with a key stands."""
        return {str(key): place for place, node in self.placed if (key := getattr(node, "key", None))}

    @property
    def text(self) -> str:
        """All that the page shows as text: titles, sentences, captions, warnings, figures; signs without escapes."""
        shown = []
        for node in self.at._tree:
            value = getattr(node, "value", None)
            shown += [value] if isinstance(value, str) else []
            shown += [str(label)] if (label := getattr(node, "label", None)) else []
        return as_read("\n".join(shown))

    @property
    def everything(self) -> str:
        """Everything that was sent to the browser, as text: whatever is in it can be read there."""
        return "\n".join(str(getattr(node, "proto", "")) for node in self.at._tree)

    def figure(self, label: str) -> str:
        """The value of the figure with this label."""
        values = [metric.value for metric in self.at.metric if metric.label == label]
        assert len(values) == 1, (label, values)
        return str(values[0])

    def assert_sound(self) -> Self:
        """No exception is shown."""
        assert not self.at.exception, [shown.message for shown in self.at.exception]
        return self
