"""Draws grouped bar charts as SVG text that needs no script and no style sheet."""

import math
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

_WIDTH, _HEIGHT = 820, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 16, 56, 44
_COLOURS = ("#2563a8", "#d9822b", "#4f9d69", "#8a63b0", "#b5433e", "#6b7280", "#3aa6a6", "#a3932f")
_CHARACTER = 6.4  # widths in this font, about


def bar_chart(chart: dict[str, Any]) -> str:
    """Returns the SVG document of a `bench.report.Chart` as it is written to JSON."""
    series: dict[str, Sequence[float | None]] = chart["series"]
    values = [value for row in series.values() for value in row if value is not None]
    scale = _Scale([*values, *([chart["goal"]] if chart["goal"] is not None else [])], log=chart["log"])
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
        'font-size="11">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        f'<text x="{_LEFT}" y="18" font-size="14" fill="#111">{escape(chart["title"])}</text>',
        *_legend(list(series)),
        *_grid(scale, chart["unit"]),
        *_bars(chart["categories"], series, scale),
    ]
    if chart["goal"] is not None:
        parts += _goal(scale.y(chart["goal"]))
    return "\n".join([*parts, "</svg>", ""])


class _Scale:
    """From values to heights on the page; from zero, or from the power of ten below the least value."""

    def __init__(self, values: Sequence[float], *, log: bool) -> None:
        positive = [value for value in values if value > 0] or [1.0]
        self._log = log
        if log:
            low = math.floor(math.log10(min(positive)) - 0.01)
            high = max(math.ceil(math.log10(max(positive))), low + 1)
            self._low, self._high = float(low), float(high)
            self.ticks = [10.0**power for power in range(low, high + 1)]
        else:
            step = _round_step(max(positive) / 5)
            count = math.ceil(max(positive) * 1.02 / step)
            self._low, self._high = 0.0, step * count
            self.ticks = [step * index for index in range(count + 1)]

    def y(self, value: float) -> float:
        """Returns where a value is on the page."""
        if self._log:
            value = math.log10(value) if value > 0 else self._low
        share = (value - self._low) / (self._high - self._low)
        return _HEIGHT - _BOTTOM - max(0.0, share) * (_HEIGHT - _TOP - _BOTTOM)


def _round_step(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= value * 0.999)


def _legend(names: Sequence[str]) -> Iterator[str]:
    x = float(_LEFT)
    for index, name in enumerate(names):
        yield f'<rect x="{x:.0f}" y="28" width="10" height="10" fill="{_COLOURS[index % len(_COLOURS)]}"/>'
        yield f'<text x="{x + 14:.0f}" y="37" fill="#333">{escape(name)}</text>'
        x += 30 + len(name) * _CHARACTER


def _grid(scale: _Scale, unit: str) -> Iterator[str]:
    yield f'<text x="8" y="{_TOP - 8}" fill="#555">{escape(unit)}</text>'
    for tick in scale.ticks:
        y = scale.y(tick)
        yield f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e2e5ea"/>'
        yield f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" fill="#555">{tick:,.6g}</text>'


def _bars(categories: Sequence[str], series: dict[str, Sequence[float | None]], scale: _Scale) -> Iterator[str]:
    floor = _HEIGHT - _BOTTOM
    group = (_WIDTH - _LEFT - _RIGHT) / len(categories)
    width = min(46.0, group * 0.82 / len(series))
    for place, category in enumerate(categories):
        middle = _LEFT + group * (place + 0.5)
        yield f'<text x="{middle:.1f}" y="{floor + 18}" text-anchor="middle" fill="#333">{escape(category)}</text>'
        for index, row in enumerate(series.values()):
            value = row[place]
            if value is None:
                continue
            x, y = middle + (index - len(series) / 2) * width, scale.y(value)
            colour = _COLOURS[index % len(_COLOURS)]
            yield (
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{width - 2:.1f}" height="{floor - y:.1f}" fill="{colour}"/>'
                f'<text x="{x + width / 2 - 1:.1f}" y="{y - 3:.1f}" text-anchor="middle" font-size="9" fill="#333">'
                f"{short(value)}</text>"
            )


def _goal(y: float) -> Iterator[str]:
    yield (
        f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#c0392b" stroke-dasharray="6 4"/>'
        f'<text x="{_WIDTH - _RIGHT}" y="{y - 4:.1f}" text-anchor="end" fill="#c0392b">goal</text>'
    )


def short(value: float) -> str:
    """Returns a number as it is shown: three significant digits, thousands separated."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
