"""The guide's third section: what the numbers of the app mean, and how they are measured."""

from __future__ import annotations

from lab.prices import CHARACTERS_PER_TOKEN
from ui import words
from ui.guide_elements import detail, heading, prose, table
from ui.language import _
from ui.numbers import count, decimal, duration
from ui.safe_text import shown_in_line
from ui.session import laboratory

OUTCOMES = ("hit", "miss", "expired", "corrupt", "error", "bypass", "shared")


def show_numbers() -> None:
    """Outcomes, times of one request, key figures, and how they come about."""
    _how_measured()
    _outcomes()
    _times()
    _key_figures()
    _about_figures()


def _how_measured() -> None:
    heading(_("How it is measured"), "how-measured")
    prose(
        _(
            "Every number comes from a request that was really made. The clock runs around the calls themselves: "
            "drawing this page, the way to your browser and the opening of a store are in none of the times."
        )
    )
    detail(
        _(
            "Each request is one LangChain `invoke` with the cache set on that model. Between LangChain and the cache "
            "stands a thin wrapper that reads `time.perf_counter` right before and after each call of the cache. It is "
            "the same one for all strategies, LangChain's own included."
        )
    )
    detail(
        _(
            "The Compare page times thousands of hits in a process of its own, so that nothing this app does meanwhile "
            "is in them, and says beside its results how that was done."
        )
    )


def _outcomes() -> None:
    heading(_("Outcomes"), "outcomes")
    meanings = {
        "hit": _("The cache had the answer, and the model was not asked."),
        "miss": _("The cache had no answer. The model answered, and its answer was stored if it was worth it."),
        "expired": _("The cache had an answer whose time to live was over. The model answered anew."),
        "corrupt": _("The stored answer was damaged and has been set aside. The model answered anew."),
        "error": _("The cache failed, or there is no answer because the model failed; the message says which."),
        "bypass": _("There was no cache to ask, because none was chosen or it was bypassed."),
        "shared": _(
            "The cache had no answer, but an equal request was being answered just then. This one waited for that "
            "answer and shares it: no second call was made."
        ),
    }
    table(
        [_("Outcome"), _("What it means")],
        [[f"{words.OUTCOME_ICONS[name]} {words.outcome(name)}", meanings[name]] for name in OUTCOMES],
        alt=_("The outcomes of a request and what they mean"),
    )


def _times() -> None:
    heading(_("The times of one request"), "times")
    table(
        [_("Time"), _("What it means"), _("From, to")],
        [
            [
                _("Total"),
                _("How long the request took for the program that asked, LangChain's own work included."),
                _("From the call of `invoke` to its return."),
            ],
            [
                _("Lookup"),
                _("How long the cache took to say whether it has the answer."),
                _("From the call of the cache's `lookup` to its return. A dash where no cache was asked."),
            ],
            [
                _("Model"),
                _("How long the model took, or was waited for."),
                _(
                    "From the end of the lookup until the whole answer is handed on to be stored, or until the request "
                    "ends without one. A dash for a hit and a shared answer."
                ),
            ],
            [
                _("First word"),
                _("When the answer began to appear."),
                _("From the call of `invoke` to the model's first token. Hits have none: the answer comes whole."),
            ],
            [
                _("Store"),
                _("How long the cache took to store the answer."),
                _("From the call of the cache's `update` to its return. A dash where it was not called."),
            ],
        ],
        alt=_("The times of a request, what they mean and how they are measured"),
    )
    detail(
        _(
            "The total includes LangChain's own work, which is about the same for every cache. To compare caches, "
            "compare lookup and store."
        )
    )


def _key_figures() -> None:
    heading(_("The key figures"), "key-figures")
    table(
        [_("Figure"), _("What it means"), _("Exactly")],
        [
            [
                _("Requests"),
                _("How many requests the history holds."),
                _("All of them, those without an answer included."),
            ],
            [
                _("Hit ratio"),
                _("Which part of the lookups found an answer."),
                _(
                    "Hits divided by lookups, with both numbers beside it. A shared answer counts as a lookup that is "
                    "no hit; requests whose cache was not asked don't count. Where there was no lookup there is a "
                    "dash: that is not the same as 0 %."
                ),
            ],
            [
                _("Median hit"),
                _("What a hit usually takes: half of them were faster."),
                _("The median of the total times of all hits; n says of how many."),
            ],
            [
                _("Median miss"),
                _("What a request usually takes when the model has to answer."),
                _(
                    "The median of the total times of all requests that the model answered after the cache was asked; "
                    "n says of how many. Those that shared an answer are not among them."
                ),
            ],
            [
                _("Time saved"),
                _("How much longer all would have waited without hits."),
                _(
                    "For each hit, the model time of the answer when it was stored, less the time of the lookup; added "
                    "up. A hit whose model time is not known adds nothing."
                ),
            ],
            [
                _("Money saved"),
                _("What the answers that needed no model call of their own would have cost."),
                _(
                    "For each hit and each shared answer, the price of the tokens of the answer and its prompt; added "
                    "up. A model without a known price adds nothing."
                ),
            ],
        ],
        alt=_("The key figures of the history, what they mean and how they are calculated"),
    )


def _about_figures() -> None:
    simulated = laboratory().settings.simulated
    heading(_("How to read them"), "how-to-read")
    table(
        [_("Term"), _("What it means")],
        [
            [
                _("Median and n"),
                _(
                    "The median is the middle of all values: unlike the mean, it does not move when one request was "
                    "unusually slow. n is how many values there are; a median of three says little."
                ),
            ],
            [
                _("Dash"),
                _("It stands where there is no number: it did not happen, or nobody knows. It is not a nought."),
            ],
            [
                _("Simulated model"),
                _(
                    "The simulated model makes its answers up, words them anew each time, and waits as a real one "
                    "would: its first word comes after {first_word} at the median, the others at {tokens} tokens a "
                    "second, both varied at random. So its model time, and every saving that follows from it, is "
                    "simulated; lookup and store are always measured."
                ).format(first_word=duration(simulated.first_token_s), tokens=decimal(simulated.tokens_per_second, 2)),
            ],
            [
                _("Money"),
                _(
                    "Prices in US dollars come from a price list that is installed with the app, or from its operator. "
                    "The simulated model costs nothing; its tokens get the price of {model}."
                ).format(model=shown_in_line(simulated.priced_as)),
            ],
            [
                _("Tokens estimated"),
                _(
                    "Where a server does not say how many tokens it used, one token is counted for {characters} "
                    "characters. The simulated model counts so too."
                ).format(characters=count(CHARACTERS_PER_TOKEN)),
            ],
        ],
        alt=_("Terms that help to read the figures"),
    )
    detail(
        _(
            "The simulated model's times are drawn from log-normal distributions with sigma {sigma}. The median of an "
            "even number of values is the mean of the middle two."
        ).format(sigma=decimal(simulated.spread, 2))
    )
