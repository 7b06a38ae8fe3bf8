"""What a person sees of a run: a live picture in a terminal, one line per event anywhere else."""

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from emulators.simulator.board import Board, Transition
from emulators.simulator.measures import Lags, Measures

SHOWN_EVENTS = 12
REFRESHES_PER_SECOND = 4


@dataclass(slots=True)
class Picture:
    """Everything there is to show."""

    dashboard: str
    seed: str
    board: Board
    measures: Measures
    is_connected: bool = False
    events: deque[str] = field(default_factory=lambda: deque(maxlen=SHOWN_EVENTS))


class View(Protocol):
    """Shows a run."""

    def event(self, text: str) -> None:
        """Something happened."""

    def refresh(self) -> None:
        """Time has passed."""

    def close(self) -> None:
        """Leaves the terminal as it was found."""


def describe(change: Transition, lag: float | None) -> str:
    """One line for a transition."""
    shown = f"{change.facility_id:<8} {change.status:<8} {change.reason or '':<10}"
    return (
        f"{shown} {change.region_id:<6} sessions {change.sessions:<3} since {change.since}  {_seconds(lag, 'after ')}"
    )


def summary(measures: Measures) -> str:
    """One line for the figures of a run."""
    problems = ", ".join(f"{count}x {name}" for name, count in sorted(measures.problems.items()))
    return (
        f"{measures.accepted} heartbeats accepted, {measures.rate():.1f}/s now, {measures.live} front-ends, "
        f"{measures.transitions} changes, {measures.resyncs} resyncs, "
        f"lag online {_lag(measures.online_lag)}, offline {_lag(measures.offline_lag)}"
        + (f"; {problems}" if problems else "")
    )


class PlainView:
    """One line per event, and the figures every ten seconds."""

    def __init__(self, picture: Picture) -> None:
        self._picture = picture
        self._refreshes = 0
        self.event(f"dashboard {picture.dashboard}")
        self.event(f"seed {picture.seed}")

    def event(self, text: str) -> None:
        """Prints it with the time."""
        print(f"{_now()} {text}", flush=True)

    def refresh(self) -> None:
        """Prints the figures when it is time."""
        self._refreshes += 1
        if self._refreshes % (10 * REFRESHES_PER_SECOND) == 0:
            self.event(summary(self._picture.measures))

    def close(self) -> None:
        """Prints the figures."""
        self.event(summary(self._picture.measures))


class LiveView:
    """The picture, redrawn in place."""

    def __init__(self, picture: Picture, console: Console) -> None:
        self._picture = picture
        self._console = console
        self._live = Live(self._draw(), console=console, auto_refresh=False, transient=False)
        self._live.start()

    def event(self, text: str) -> None:
        """Adds it to the newest events."""
        self._picture.events.extend(f"{_now()} {line}" for line in text.splitlines())

    def refresh(self) -> None:
        """Draws the picture anew."""
        self._live.update(self._draw(), refresh=True)

    def close(self) -> None:
        """Leaves the last picture and the figures on the screen."""
        self.refresh()
        self._live.stop()
        self._console.print(summary(self._picture.measures), highlight=False)

    def _draw(self) -> RenderableType:
        picture = self._picture
        parts: list[RenderableType] = []
        stale = [region.region_id for region in picture.board.regions.values() if region.stale]
        if stale:
            parts.append(
                Text(f" STALE: states of {', '.join(sorted(stale))} may be out of date ", "bold black on yellow")
            )
        if not picture.is_connected:
            parts.append(Text(" live feed not connected ", "bold white on red"))
        parts += [self._regions(), self._figures(), Text("\n".join(picture.events) or "waiting for the first change")]
        title = f"Facility Pulse   {picture.dashboard}   Ctrl-C stops"
        return Panel(Group(*parts), title=title, title_align="left")

    def _regions(self) -> Table:
        table = Table.grid(padding=(0, 1))
        for region_id, region in sorted(self._picture.board.regions.items()):
            count = len(region.facilities)
            bar = ProgressBar(total=max(1, count), completed=region.online, width=40)
            table.add_row(region_id, bar, f"{region.online} of {count} online")
        return table

    def _figures(self) -> Table:
        measures = self._picture.measures
        table = Table.grid(padding=(0, 3))
        table.add_row(
            f"{measures.live} front-ends",
            f"{measures.rate():.1f} heartbeats/s",
            f"{measures.transitions} changes",
            f"{measures.resyncs} resyncs",
        )
        table.add_row(
            "lag, median / p99", f"online {_lag(measures.online_lag)}", f"offline {_lag(measures.offline_lag)}"
        )
        if measures.problems:
            table.add_row(*(f"{count}x {name}" for name, count in measures.problems.most_common(4)), style="red")
        return table


def _now() -> str:
    return f"{datetime.now().astimezone():%H:%M:%S.%f}"[:-3]


def _lag(lags: Lags) -> str:
    return f"{_seconds(lags.quantile(0.5))} / {_seconds(lags.quantile(0.99))}"


def _seconds(value: float | None, before: str = "") -> str:
    return "-" if value is None else f"{before}{value:.2f} s"
