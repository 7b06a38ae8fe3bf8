"""What a benchmark is, what it is given, and what it says."""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Cell = str | int | float | None
Size = Literal["small", "full"]


@dataclass(frozen=True)
class Context:
    """What a run gives to a benchmark: its size, an empty folder, and where to say how it goes."""

    size: Size
    directory: Path
    progress: Callable[[str], None]

    def pick[T](self, small: T, full: T) -> T:
        """Returns what belongs to the size of this run."""
        return full if self.size == "full" else small


@dataclass(frozen=True)
class Table:
    """Rows of figures; numbers are rounded when they are shown, not here."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]


@dataclass(frozen=True)
class Chart:
    """Grouped bars: one group per category, one bar per series in it; None leaves a bar out.

    `goal` draws a line across; `log` scales logarithmically.
    """

    title: str
    unit: str
    categories: Sequence[str]
    series: dict[str, Sequence[float | None]]
    log: bool = False
    goal: float | None = None


@dataclass(frozen=True)
class Goal:
    """A figure that was to be reached. `met` is None when this size of run cannot tell."""

    what: str
    goal: str
    measured: str
    met: bool | None


@dataclass(frozen=True)
class Report:
    """The outcome of a benchmark; `notes` say how to read it and where its limits are."""

    tables: Sequence[Table]
    goals: Sequence[Goal] = ()
    charts: Sequence[Chart] = ()
    notes: Sequence[str] = field(default=())


@dataclass(frozen=True)
class Benchmark:
    """A module's `BENCH`: the name it is called by, one line on what it measures, and how it is run."""

    name: str
    summary: str
    run: Callable[[Context], Coroutine[Any, Any, Report]]
