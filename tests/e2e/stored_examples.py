"""Entries that tests and photographs of the entries page need, stored as another process would: by `cache_backends`."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, Generation

from cache_backends import CacheBackend, cache_key, open_cache
from cache_backends.readable import message_prompt

OWN = "shared:simulated"
"""The namespace of the simulated model's answers."""
PARAMETERS = "[('_type', 'simulated-chat'), ('model_name', '{model}'), ('stop', None), ('temperature', {temperature})]"
ELSEWHERE = "http://elsewhere.example"
"""Another host, which nothing may ask for anything."""

HOSTILE = {
    "script": "Before <script>alert('script'); document.title = 'taken'</script> after",
    "onerror": f"Before <img src=x onerror=\"alert('onerror')\"> <img src='{ELSEWHERE}/a.png'> after",
    "frame": f"Before <iframe src='{ELSEWHERE}/frame'></iframe><svg onload=alert('svg')></svg> after",
    "markdown": (
        f"Before ![a picture]({ELSEWHERE}/b.png) [a link]({ELSEWHERE}/page) [worse](javascript:alert('link')) "
        f"![referred][one] :material/home: :red[red] $x^2$ after\n\n[one]: {ELSEWHERE}/c.png\n\n# A title"
    ),
    "right-to-left": "Before \u202eeht si siht\u202c مرحبا بالعالم שלום \u2067עולם\u2069 after",
    "nul": "Before \0 \x01 \x1b[31m after",
    "addresses": (
        "Before (http://elsewhere.example/c) www.elsewhere.example a@elsewhere.example HTTPS://elsewhere.example "
        "mailto:b@elsewhere.example xmpp:c@elsewhere.example after"
    ),
    "formula": f'Before =HYPERLINK("{ELSEWHERE}","x") after',
    "long-word": "Before " + "W" * 3_000 + " after",
}
"""Answers that try to be more than text; all of them say "Before" and "after"."""
BIG = "Before " + "ten million characters " * 440_000 + " after"


def store(cache: CacheBackend, prompt: str, answer: str, *, model: str = "simulated", temperature: float = 0.7) -> str:
    """Store the answer of a chat model, as LangChain does; return its key."""
    raw_prompt, llm_string = message_prompt(prompt), PARAMETERS.format(model=model, temperature=temperature)
    message = AIMessage(answer, response_metadata={"model_name": model, "finish_reason": "stop"})
    cache.update(raw_prompt, llm_string, [ChatGeneration(message=message)])
    return cache_key(raw_prompt, llm_string)


def sqlite(data_dir: Path, namespace: str = OWN) -> CacheBackend:
    """The store of the strategy "sqlite"."""
    return open_cache(f"sqlite:///{data_dir}/cache.db", namespace=namespace, strict=True)


def json_files(data_dir: Path, namespace: str = OWN) -> CacheBackend:
    """The store of the strategy "json"."""
    return open_cache(f"json:///{data_dir}/answers", namespace=namespace, strict=True)


def store_hostile(cache: CacheBackend, *, with_big: bool = False) -> dict[str, str]:
    """Store every hostile answer, with a prompt as hostile; return their keys by name."""
    answers = HOSTILE | ({"big": BIG} if with_big else {})
    models = {"addresses": "(www.elsewhere.example)"}
    keys = {
        name: store(cache, f"{name}: {answer[:3_000]}", answer, model=models.get(name, "simulated"))
        for name, answer in answers.items()
    }
    raw = "completion: <b>bold</b> \0 prompt"
    cache.update(
        raw, "not a list of parameters <script>alert('parameters')</script>", [Generation(text="Before after")]
    )
    return keys


def store_some(cache: CacheBackend, language: str, number: int = 120) -> None:
    """Store entries of several models, ages, sizes and times to live, some of them used, pinned or expired."""
    now, day = time.time(), 86_400.0
    templates = {
        "en": ("What is entry {n} about?", "It is about number {n}, which is a good number. "),
        "pt": ("De que trata a entrada {n}?", "Ela trata do número {n}, que é um bom número. "),
    }
    question, answer = templates[language]
    for n in range(number):
        model = ("gpt-4o-mini", "simulated", "gpt-4.1-mini", "llama-3.3-70b-instruct-q4")[n % 7 % 4]
        key = store(cache, question.format(n=n + 1), answer.format(n=n + 1) * (1 + n % 11 * 3), model=model)
        entry = cache.get(key)
        assert entry is not None
        created_at = now - 40 * day * ((number - n) / number) ** 2
        ends = {1: created_at + 45 * day, 2: created_at + 7 * day, 3: now + 3_600 * (1 + n)}.get(n % 5)
        hits = (n * 37) % 53 if n % 3 else 0
        cache.restore(
            replace(
                entry, created_at=created_at, expires_at=ends, hits=hits, pinned=n % 17 == 5,
                last_used_at=created_at + (now - created_at) * (0.9 if hits else 0), model_time_s=0.4 + n % 13 / 3,
            )
        )  # fmt: skip
