"""The programs of the guide: how to use a cache of this app with LangChain, as text that runs."""

from __future__ import annotations

import json
from dataclasses import dataclass

from ui.language import _


@dataclass(frozen=True, slots=True)
class Snippet:
    """A piece of a program. All but `start` go on where `start` ends."""

    name: str
    title: str
    explanation: str
    code: str


def snippets(url: str) -> list[Snippet]:
    """The pieces for the cache that `url` names, in the order in which they are read."""
    return [_start(url), _for_all_models(), _observe(), _limits(url), _share(), _browse()]


def _start(url: str) -> Snippet:
    code = f"""\
from langchain_openai import ChatOpenAI

from cache_backends import open_cache

cache = open_cache({_text(url)})
llm = ChatOpenAI(model="gpt-4o-mini", temperature=0.7, cache=cache)

question = {_text(_("Who was Carl Sagan?"))}
{_comment(_("The model is asked, and its answer is stored."))}
print(llm.invoke(question).text)
{_comment(_("The answer comes from the cache."))}
print(llm.invoke(question).text)
"""
    return Snippet(
        "start",
        _("A model with a cache"),
        _("This is the whole program: the cache is given to the model, and nothing else changes."),
        code,
    )


def _for_all_models() -> Snippet:
    code = f"""\
from langchain_core.globals import set_llm_cache

set_llm_cache(cache)

{_comment(_("No cache is named here: the model takes the one that was set."))}
llm = ChatOpenAI(model="gpt-4o-mini", temperature=0.7)
print(llm.invoke(question).text)
"""
    return Snippet(
        "for_all_models",
        _("One cache for all models of a program"),
        _(
            "`set_llm_cache` sets it once for the whole process. In a web server that is one cache for all visitors: "
            "there, give each model its own, as above."
        ),
        code,
    )


def _observe() -> Snippet:
    code = f"""\
with cache.observe() as lookups:
    llm.invoke(question)

for lookup in lookups:
    print(lookup.outcome, lookup.elapsed_s, lookup.age_s)
for store in lookups.stores:
    print(store.stored, store.elapsed_s, store.refusal)

{_comment(_("Since the program began:"))}
counters = cache.counters
print(counters.hits, counters.lookups, counters.lookup_percentile_s(95))
"""
    return Snippet(
        "observe",
        _("See hits and misses"),
        _(
            "`observe` collects every lookup and every store inside its block, whichever thread makes them for "
            "LangChain; `counters` counts all of this process."
        ),
        code,
    )


def _limits(url: str) -> Snippet:
    code = f"""\
limited = open_cache({_text(f"{url}?ttl=1d&max_entries=10000")})

{_comment(_("The same store with another time to live, and with another namespace."))}
short = limited.view(ttl="10m")
customer = limited.view(namespace="customer-42")

llm = ChatOpenAI(model="gpt-4o-mini", temperature=0.7, cache=short)
print(llm.invoke(question).text)

{_comment(_("Remove what has expired; it is never given as an answer in any case."))}
print(limited.purge_expired())
"""
    return Snippet(
        "limits",
        _("Time to live, limits, namespaces"),
        _(
            "Options stand in the address or are given by name. When `max_entries` or `max_bytes` is exceeded, the "
            "least recently used answers go, but none that was pinned. To save work, all but memory check only after "
            "each hundredth part of the limit was stored, so they may be over it by that much for each program that "
            "stores."
        ),
        code,
    )


def _share() -> Snippet:
    code = f"""\
from cache_backends import OneRequest, SingleFlight

{_comment(_("One for the whole program:"))}
flights = SingleFlight()


def ask(question):
    with OneRequest(cache, flights) as one:
        answer = llm.model_copy(update=dict(cache=one)).invoke(question)
    print(one.outcome)
    return answer


print(ask(question).text)
"""
    return Snippet(
        "share",
        _("One call for equal requests at the same time"),
        _(
            "Of all threads and tasks that ask the same and miss, one asks the model; the others wait and get its "
            "answer, with the outcome `shared`, or its error. Whoever has waited for a minute (`timeout_s`) gets a "
            "`FlightTimeoutError`; the call goes on."
        ),
        code,
    )


def _browse() -> Snippet:
    code = f"""\
page = cache.entries(search="carl sagan", order_by="hits", limit=20)
print(page.total)
for summary in page.entries:
    print(summary.key, summary.model, summary.prompt, summary.hits)

entry = cache.get(page.entries[0].key)
print(entry.text, entry.location)

{_comment(_("Another time to live from now on; or kept, whatever the clock and the limits say:"))}
cache.set_ttl(entry.key, "1h")
cache.pin(entry.key)

print(cache.stats())
cache.delete(entry.key)
{_comment(_("All of this namespace, and nothing else in the store:"))}
cache.clear()
cache.close()
"""
    return Snippet(
        "browse",
        _("Find, read, keep and remove answers"),
        _(
            "A search finds answers whose prompt or text has all its words, or words that begin with them; capital "
            "letters and accents make no difference."
        ),
        code,
    )


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _comment(text: str) -> str:
    return f"# {' '.join(text.split())}"
