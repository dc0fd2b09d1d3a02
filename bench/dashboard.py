"""Draws the stack's dashboard over a simulated day, into docs/img/dashboard.svg.

    .venv/bin/python -m bench.dashboard

What is drawn is read off the synthesised template: its widgets, their metrics, the alarms and their
thresholds. The values are those of bench/day.py. It is no picture of CloudWatch.
"""

from __future__ import annotations

import json
import math
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import app
from bench.day import DAY, HOUR, Metrics, play
from tests.faults import wires
from tests.infra.template import Template

PICTURE = Path(__file__).parents[1] / "docs" / "img" / "dashboard.svg"
POINT_SECONDS = HOUR
_MIDNIGHT = 10 * HOUR  # of UTC, before the day begins
_QUERY = re.compile(r'SELECT (\w+)\("(\w+)"\) FROM "([\w-]+)"')
_STATISTICS = {
    "SUM": "Sum", "MAX": "Maximum", "AVG": "Average", "Sum": "Sum", "Maximum": "Maximum",
    "Average": "Average", "p95": "p95",
}  # fmt: skip


@dataclass(frozen=True)
class Metric:
    """One line of a widget, or what an alarm watches. A query of CloudWatch's own has `dimensions`
    None: it takes the metric whatever its dimensions are."""

    namespace: str
    name: str
    dimensions: frozenset[tuple[str, str]] | None
    statistic: str
    period: float = 0.0
    label: str = ""

    def values(self, metrics: Metrics) -> list[tuple[float, float]]:
        return sorted(
            value
            for (namespace, name, dimensions), values in metrics.values.items()
            if (namespace, name) == (self.namespace, self.name)
            and self.dimensions in (None, dimensions)
            for value in values
        )

    def points(self, metrics: Metrics, period: float) -> list[tuple[float, float]]:
        """A value for each period that has data."""
        found = defaultdict(list)
        for at, value in self.values(metrics):
            found[max(0.0, (at + _MIDNIGHT) // period * period - _MIDNIGHT)].append(value)
        return [(at, _statistic(self.statistic, values)) for at, values in sorted(found.items())]


@dataclass(frozen=True)
class Widget:
    title: str
    x: int
    y: int
    width: int
    height: int
    metrics: tuple[Metric, ...] = ()
    alarms: tuple[str, ...] = ()  # titles of the template's resources


@dataclass(frozen=True)
class Alarm:
    """`is_math`: metric math that is more than one query, which is not reckoned here."""

    title: str
    metrics: tuple[Metric, ...]
    threshold: float
    is_math: bool = False


def _statistic(name: str, values: Sequence[float]) -> float:
    if name == "p95":
        return sorted(values)[math.ceil(0.95 * len(values)) - 1]
    if name == "Maximum":
        return max(values)
    return sum(values) if name == "Sum" else sum(values) / len(values)


# What the template says.


def widgets(template: Template) -> list[Widget]:
    body = json.loads(
        template.text(template.the_only("AWS::CloudWatch::Dashboard")["DashboardBody"])
    )
    return [
        Widget(
            one["properties"]["title"], one["x"], one["y"], one["width"], one["height"],
            tuple(_line(line) for line in one["properties"].get("metrics", ())),
            tuple(one["properties"].get("alarms", ())),
        )
        for one in body["widgets"]
    ]  # fmt: skip


def _line(line: list[Any]) -> Metric:
    """https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html"""
    more = line[-1] if isinstance(line[-1], dict) else {}
    if "expression" in more:
        return _query(more["expression"], more.get("period", 300))
    namespace, name, *rest = [part for part in line if not isinstance(part, dict)]
    dimensions = frozenset(zip(rest[::2], rest[1::2], strict=True))
    statistic = _STATISTICS[more.get("stat", "Average")]
    return Metric(
        namespace, name, dimensions, statistic, more.get("period", 300), _short(rest, name)
    )


def _short(rest: list[str], name: str) -> str:
    """A name for people: the function or queue where lines differ by it, else the metric."""
    if rest[:1] in (["FunctionName"], ["QueueName"]):
        return rest[1].removesuffix("Function")
    return name.removeprefix("Executions")


def _query(expression: str, period: float) -> Metric:
    found = _QUERY.fullmatch(expression)
    assert found, f"{expression} is more than one query"
    statistic, name, namespace = found.groups()
    return Metric(namespace, name, None, _STATISTICS[statistic], period, name)


def alarms(template: Template) -> dict[str, Alarm]:
    found = template.of_type("AWS::CloudWatch::Alarm")
    return {name: _alarm(template, alarm) for name, alarm in found.items()}


def _alarm(template: Template, alarm: dict[str, Any]) -> Alarm:
    title, threshold = alarm["AlarmName"].partition(": ")[2], float(alarm["Threshold"])
    if "MetricName" in alarm:
        return Alarm(title, (_stat(template, alarm, alarm, alarm["Statistic"]),), threshold)
    parts = alarm["Metrics"]
    stats = [one["MetricStat"] for one in parts if "MetricStat" in one]
    if not stats:
        (one,) = parts
        return Alarm(title, (_query(one["Expression"], one.get("Period", 300)),), threshold)
    metrics = (_stat(template, one["Metric"], one, one["Stat"]) for one in stats)
    return Alarm(title, tuple(metrics), threshold, is_math=True)


def _stat(template: Template, metric: Any, timed: Any, statistic: str) -> Metric:
    dimensions = frozenset(
        (one["Name"], template.text(one["Value"])) for one in metric.get("Dimensions", ())
    )
    name = metric["MetricName"]
    return Metric(
        metric["Namespace"], name, dimensions, _STATISTICS[statistic], float(timed["Period"]), name
    )


def environments(template: Template) -> dict[str, dict[str, str]]:
    return {name: one["Environment"]["Variables"] for name, one in template.functions().items()}


# Drawing.

_UNIT, _ROW, _TOP = 50, 35, 40
_COLOURS = (
    "#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f",
    "#bcbd22", "#17becf", "#393b79", "#637939",
)  # fmt: skip
_CAPTION = (
    "Drawn by bench/dashboard.py: the template's widgets over a day of the fault model, 72 voices "
    "at kie. No picture of CloudWatch. A point an hour, UTC."
)


@dataclass
class _Sheet:
    lines: list[str] = field(default_factory=list)

    def text(self, x: float, y: float, words: str, **more: object) -> None:
        self.lines.append(f'<text x="{x:g}" y="{y:g}"{_given(more)}>{escape(words)}</text>')

    def box(self, x: float, y: float, width: float, height: float, **more: object) -> None:
        size = f'width="{width:g}" height="{height:g}"'
        self.lines.append(f'<rect x="{x:g}" y="{y:g}" {size}{_given(more)}/>')

    def dots(self, points: Sequence[tuple[float, float]], colour: str, step: float) -> None:
        """A line that breaks off where a point is missing; a dot for what has no neighbour."""
        run: list[tuple[float, float]] = []
        for point in [*points, (math.inf, 0.0)]:
            if run and point[0] - run[-1][0] > step:
                if len(run) == 1:
                    x, y = run[0]
                    self.lines.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2" fill="{colour}"/>')
                self.line(run, colour)
                run = []
            run.append(point)

    def line(self, points: Sequence[tuple[float, float]], colour: str) -> None:
        shown = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.lines.append(
            f'<polyline points="{shown}" fill="none" stroke="{colour}" stroke-width="1.3"/>'
        )


def _given(more: dict[str, object]) -> str:
    return "".join(f' {name.replace("_", "-")}="{value}"' for name, value in more.items())


def draw(template: Template, metrics: Metrics) -> str:
    shown, sheet, of_template = widgets(template), _Sheet(), alarms(template)
    height = _TOP + _ROW * max(one.y + one.height for one in shown) + 10
    for one in shown:
        left, top = one.x * _UNIT + 5, _TOP + one.y * _ROW + 5
        size = one.width * _UNIT - 10, one.height * _ROW - 10
        sheet.box(left, top, *size, fill="#fff", stroke="#ccc", rx=4)
        sheet.text(left + 8, top + 17, one.title, font_weight="bold", font_size=12)
        if one.alarms:
            _draw_alarms(sheet, left, top, [of_template[name] for name in one.alarms], metrics)
        else:
            _draw_lines(sheet, (left, top, *size), one, metrics)
    body = "\n".join(sheet.lines)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1200 {height}" font-size="9.5" '
        f'font-family="Helvetica, Arial, sans-serif" fill="#222">\n'
        f'<rect width="1200" height="{height}" fill="#f4f4f4"/>\n'
        f'<text x="8" y="24" font-size="13">{escape(_CAPTION)}</text>\n{body}\n</svg>\n'
    )


def _draw_alarms(
    sheet: _Sheet, left: float, top: float, found: Sequence[Alarm], metrics: Metrics
) -> None:
    for number, one in enumerate(found):
        column, row = number % 5, number // 5
        colour, when = "#2ca02c", ""
        if one.is_math:
            colour, when = "#999", " (not reckoned)"
        elif hours := list(in_alarm(one, metrics)):
            colour, when = "#d62728", f" {_clock(min(hours))}"
        x, y = left + 8 + column * 236, top + 24 + row * 14
        sheet.box(x, y, 8, 8, fill=colour)
        sheet.text(x + 12, y + 8, one.title + when)


def in_alarm(one: Alarm, metrics: Metrics) -> Iterator[float]:
    """The periods in which the alarm's condition held. One that looks at several periods of math
    is not reckoned."""
    (metric,) = one.metrics
    return (at for at, value in metric.points(metrics, metric.period) if value >= one.threshold)


def _clock(at: float) -> str:
    return f"{int(10 + at // HOUR) % 24:02}:{int(at % HOUR // 60):02}"


def _draw_lines(
    sheet: _Sheet, frame: tuple[float, float, float, float], widget: Widget, metrics: Metrics
) -> None:
    left, top, width, height = frame
    lines = [
        (metric, metric.points(metrics, max(metric.period, POINT_SECONDS)))
        for metric in widget.metrics
    ]
    with_data = [(metric, points) for metric, points in lines if any(value for _, value in points)]
    silent = len(lines) - len(with_data)
    legend = [
        (metric.label, colour) for (metric, _), colour in zip(with_data, _COLOURS, strict=False)
    ]
    if silent:
        legend.append((f"{silent} stayed at 0", "#bbb"))
    rows = _draw_legend(sheet, left + 8, top + 30, legend)
    x, y = left + 40, top + 30 + 12 * rows
    wide, high = width - 52, height - (y - top) - 18
    most = _rounded(max((value for _, points in with_data for _, value in points), default=1.0))
    _draw_axes(sheet, (x, y, wide, high), most)
    for (metric, points), colour in zip(with_data, _COLOURS, strict=False):
        placed = [(x + at / DAY * wide, y + high * (1 - value / most)) for at, value in points]
        step = 1.5 * max(metric.period, POINT_SECONDS) / DAY * wide
        sheet.dots(placed, colour, step)


def _draw_legend(sheet: _Sheet, left: float, top: float, legend: Sequence[tuple[str, str]]) -> int:
    at, row = left, 0
    for label, colour in legend:
        needs = 22 + 5.2 * len(label)
        if at + needs > left + 380:
            at, row = left, row + 1
        sheet.box(at, top + 12 * row - 7, 7, 7, fill=colour)
        sheet.text(at + 10, top + 12 * row, label)
        at += needs
    return row + 1


def _draw_axes(sheet: _Sheet, frame: tuple[float, float, float, float], most: float) -> None:
    x, y, wide, high = frame
    for share in (0, 0.5, 1):
        level = y + high * (1 - share)
        sheet.line([(x, level), (x + wide, level)], "#e4e4e4")
        shown = f"{most * share:,.0f}" if most >= 10 else f"{most * share:g}"
        sheet.text(x - 4, level + 3, shown, text_anchor="end")
    for hour in range(0, 25, 6):
        at = x + hour * HOUR / DAY * wide
        sheet.text(at, y + high + 12, _clock(hour * HOUR), text_anchor="middle")


def _rounded(value: float) -> float:
    """The next of 1, 2, 5, 10, 20, …"""
    scale = 10.0 ** math.floor(math.log10(value))
    return next(scale * step for step in (1, 2, 5, 10) if scale * step >= value)


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        app.synthesise(Path(directory), {"options": {"budget_usd_per_day": 2.2}})
        (path,) = Path(directory).glob("*.template.json")
        template = Template(json.loads(path.read_text()), path)
    try:
        metrics = play(environments(template))
    finally:
        wires.release()
    PICTURE.write_text(draw(template, metrics))
    print(f"{PICTURE}: {len(widgets(template))} widgets")


if __name__ == "__main__":
    main()
