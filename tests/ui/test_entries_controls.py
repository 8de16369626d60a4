"""The controls of the entries page: what their choices are called."""

from __future__ import annotations

import pytest

from ui.entries_controls import order_title, size_title
from ui.entries_state import ORDERS, SIZES


@pytest.mark.usefixtures("code")
def test_every_order_and_size_has_a_title_of_its_own() -> None:
    assert len({order_title(order) for order in ORDERS}) == len(ORDERS)
    assert len({size_title(size) for size in SIZES}) == len(SIZES)
