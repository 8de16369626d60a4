"""A table of results as Markdown, and goals beside what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under a title, with one sentence on how they were measured."""

    title: str
    how: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """The table as Markdown."""
        lines = [f"## {self.title}\n", f"{self.how}\n", _line(self.columns), _line(["---"] * len(self.columns))]
        return "\n".join([*lines, *(_line(row) for row in self.rows), ""])


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure that was measured, and what it should be."""

    what: str
    figure: float
    goal: str
    reached: bool | None

    @classmethod
    def at_most(cls, what: str, goal: float, figure: float) -> Self:
        """A figure that should not be larger."""
        return cls(what, figure, f"≤ {goal:g}", figure <= goal)

    @classmethod
    def at_least(cls, what: str, goal: float, figure: float) -> Self:
        """A figure that should not be smaller."""
        return cls(what, figure, f"≥ {goal:g}", figure >= goal)

    @classmethod
    def none(cls, what: str, figure: float) -> Self:
        """A figure to know."""
        return cls(what, figure, "", None)


def goals_table(title: str, how: str, goals: Sequence[Goal]) -> Table:
    """Goals beside figures."""
    said = {True: "yes", False: "**no**", None: ""}
    return Table(
        title,
        how,
        ("what", "measured", "goal", "reached"),
        [(goal.what, f"{goal.figure:.2f}", goal.goal, said[goal.reached]) for goal in goals],
    )


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
