"""What hits are worth: model calls, money and waiting time that a cache saves in a month."""

from __future__ import annotations

from dataclasses import dataclass

DAYS = 30
"""Of a month."""


@dataclass(frozen=True, slots=True)
class Savings:
    """Of one month. Money in US dollars, time in seconds."""

    requests: float
    calls: float
    """Model calls that hits make unnecessary."""
    usd: float
    seconds: float
    """What users no longer wait, all of them together."""


def savings(*, requests_a_day: float, hit_ratio: float, price_usd: float, model_s: float, hit_s: float) -> Savings:
    """Requests of a month times hit ratio is the calls saved; each saves its price, and model time less hit time.

    >>> savings(requests_a_day=1000, hit_ratio=0.5, price_usd=0.01, model_s=2.0, hit_s=0.5)
    Savings(requests=30000, calls=15000.0, usd=150.0, seconds=22500.0)
    """
    requests = requests_a_day * DAYS
    calls = requests * hit_ratio
    return Savings(requests, calls, calls * price_usd, calls * max(0.0, model_s - hit_s))
