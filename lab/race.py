"""The race of a comparison: one prompt, every strategy; cold, then warm."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal

from lab.ask import answer_from_elsewhere, ask
from lab.laboratory import Laboratory
from lab.measurement import Measurement
from lab.models import Model
from lab.observed_cache import Exchange
from lab.strategies import NO_CACHE, Strategy

Act = Literal["cold", "warm"]


@dataclass(frozen=True, slots=True)
class Raced:
    """One strategy has its answer."""

    strategy: str
    act: Act
    measurement: Measurement


@dataclass(frozen=True, slots=True, kw_only=True)
class Race:
    """One prompt for several strategies, which hold nothing of it yet."""

    laboratory: Laboratory
    model: Model
    prompt: str
    strategies: Sequence[Strategy]
    ask_each: bool
    show: Callable[[Raced], None]
    stopping: Callable[[], bool]

    def run(self) -> Exchange | None:
        """Every strategy cold, then warm, as the results come; what was exchanged, None where there is no answer.

        One that did not keep the answer is not asked again: it would be one more call of the model, and paid for.
        """
        exchanges: list[Exchange] = []
        kept: set[str] = set()

        def is_cold(measured: Measurement) -> None:
            if measured.kept:
                kept.add(measured.strategy)
            self.show(Raced(measured.strategy, "cold", measured))

        ask_cold = self._each_asks if self.ask_each else self._one_asks_for_all
        ask_cold(exchanges, is_cold)
        for strategy in self.strategies:
            if not exchanges or self.stopping():
                break
            if strategy.name in kept:
                self.show(Raced(strategy.name, "warm", self._ask(strategy)))
        return exchanges[0] if exchanges else None

    def _each_asks(self, exchanges: list[Exchange], is_cold: Callable[[Measurement], None]) -> None:
        """All at once, each by its own call of the model."""
        with ThreadPoolExecutor(len(self.strategies)) as pool:
            list(pool.map(lambda strategy: is_cold(self._ask(strategy, exchanges.append)), self.strategies))

    def _one_asks_for_all(self, exchanges: list[Exchange], is_cold: Callable[[Measurement], None]) -> None:
        """The model is called once; what it answered is stored in every strategy."""
        bought = self._ask(Strategy(NO_CACHE, None, self.strategies[0].namespace), exchanges.append)
        for strategy in self.strategies:
            if strategy.name == NO_CACHE or not exchanges:
                is_cold(replace(bought, strategy=strategy.name))
            else:
                is_cold(answer_from_elsewhere(self.model, strategy, bought, exchanges[0]))

    def _ask(self, strategy: Strategy, exchanged: Callable[[Exchange], None] = lambda _: None) -> Measurement:
        return ask(
            self.model,
            strategy,
            self.prompt,
            scope=strategy.namespace,
            prices=self.laboratory.prices,
            stopping=self.stopping,
            exchanged=exchanged,
            clock=time.time,
        )
