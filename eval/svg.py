"""Plots as inline SVG: axes, points, curves and interval bars. Colours are the page's CSS variables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, log10

import numpy as np
from markupsafe import Markup, escape

WIDTH, HEIGHT = 460.0, 340.0
LEFT, RIGHT, TOP, BOTTOM = 52.0, 12.0, 12.0, 44.0
MOST = 2000  # points drawn; of more, evenly spread ones


@dataclass(frozen=True)
class Axis:
    """Maps [low, high] onto drawing units from `begin` to `end`."""

    low: float
    high: float
    begin: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.begin + share * (self.end - self.begin), 1)

    @property
    def ticks(self) -> list[float]:
        """About five round numbers."""
        step = _round_step((self.high - self.low) / 5)
        first = np.ceil(self.low / step - 1e-9)
        count = int(np.floor((self.high - first * step) / step + 1e-9)) + 1
        return [float(round((first + k) * step, 10)) for k in range(count)]


def _round_step(rough: float) -> float:
    power = 10.0 ** floor(log10(rough))
    return float(next((m * power for m in (1, 2, 2.5, 5) if m * power >= rough * 0.999), 10 * power))


def span(*columns: np.ndarray, margin: float = 0.04) -> tuple[float, float]:
    """Range of all finite values with a margin; never empty."""
    values = np.concatenate([c[np.isfinite(c)] for c in columns])
    low, high = float(values.min()), float(values.max())
    room = (high - low or max(1.0, abs(high))) * margin
    return low - room, high + room


@dataclass
class Plot:
    """One picture, drawn in the order of the calls."""

    x: Axis
    y: Axis
    parts: list[str]
    width: float = WIDTH
    height: float = HEIGHT

    @classmethod
    def of(cls, xs: tuple[float, float], ys: tuple[float, float], x_label: str, y_label: str) -> Plot:
        plot = cls(Axis(*xs, LEFT, WIDTH - RIGHT), Axis(*ys, HEIGHT - BOTTOM, TOP), [])
        bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
        for t in plot.x.ticks:
            at = plot.x(t)
            plot.parts.append(f'<path class="grid" d="M{at} {TOP}V{bottom}"/>')
            plot.parts.append(f'<text x="{at}" y="{bottom + 16}" text-anchor="middle">{t:g}</text>')
        for t in plot.y.ticks:
            at = plot.y(t)
            plot.parts.append(f'<path class="grid" d="M{LEFT} {at}H{right}"/>')
            plot.parts.append(f'<text x="{LEFT - 7}" y="{at + 4}" text-anchor="end">{t:g}</text>')
        middle = (LEFT + right) / 2
        plot.parts.append(f'<text x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x_label)}</text>')
        y_at = (TOP + bottom) / 2
        plot.parts.append(
            f'<text transform="translate(13 {y_at}) rotate(-90)" text-anchor="middle">{escape(y_label)}</text>'
        )
        return plot

    def bars(self, x: np.ndarray, y: np.ndarray, half: np.ndarray) -> None:
        """Vertical intervals y +- half."""
        steps = [
            f"M{self.x(a)} {self.y(b - h)}V{self.y(b + h)}"
            for a, b, h in zip(x, y, half, strict=True)
            if np.isfinite(h)
        ]
        self.parts.append(f'<path class="bar" d="{"".join(steps)}"/>')

    def points(self, x: np.ndarray, y: np.ndarray, tips: Sequence[str], marked: Sequence[bool]) -> None:
        """Dots with a text each; marked ones on top."""
        dots = sorted(zip(marked, x, y, tips, strict=True), key=lambda d: d[0])
        for mark, a, b, tip in dots:
            kind = "dot worst" if mark else "dot"
            self.parts.append(
                f'<circle class="{kind}" cx="{self.x(a)}" cy="{self.y(b)}" r="{3.5 if mark else 2.2}">'
                f"<title>{escape(tip)}</title></circle>"
            )

    def line(self, x: np.ndarray, y: np.ndarray, kind: str = "curve") -> None:
        inside = [f"{self.x(a)} {self.y(b)}" for a, b in zip(x, y, strict=True) if self.y.low <= b <= self.y.high]
        if len(inside) > 1:
            self.parts.append(f'<path class="{kind}" d="M{"L".join(inside)}"/>')

    def svg(self, label: str) -> Markup:
        body = "".join(self.parts)
        return Markup(  # every text in it went through escape
            f'<svg viewBox="0 0 {self.width:g} {self.height:g}" role="img" aria-label="{escape(label)}">{body}</svg>'
        )


def thinned(count: int) -> np.ndarray:
    """Rows to draw of `count` points."""
    return np.arange(count) if count <= MOST else np.arange(MOST) * count // MOST


def forest(rows: Sequence[tuple[str, float, float | None, float | None]], label: str) -> Markup:
    """Values with their intervals, one line each: (name, value, low, high)."""
    ends = np.array([v for _, value, low, high in rows for v in (value, low, high) if v is not None], float)
    low, high = span(ends, margin=0.15)
    names = 170.0
    height = 26.0 * len(rows) + 34
    axis = Axis(low, high, names, 700.0)
    parts = []
    for t in axis.ticks:
        parts.append(f'<path class="grid" d="M{axis(t)} 6V{height - 26}"/>')
        parts.append(f'<text x="{axis(t)}" y="{height - 10}" text-anchor="middle">{t:g}</text>')
    for k, (name, value, a, b) in enumerate(rows):
        y = 19 + 26 * k
        shown = name if len(name) <= 26 else name[:25] + "…"
        text = f"{value:.3f}" + (f" [{a:.3f}, {b:.3f}]" if a is not None and b is not None else "")
        parts.append(f'<text class="name" x="0" y="{y + 4}">{escape(shown)}<title>{escape(name)}</title></text>')
        if a is not None and b is not None:
            parts.append(f'<path class="interval" d="M{axis(a)} {y}H{axis(b)}"/>')
        parts.append(f'<circle class="mean" cx="{axis(value)}" cy="{y}" r="4.5"/>')
        parts.append(f'<text x="712" y="{y + 4}">{escape(text)}</text>')
    return Markup(f'<svg viewBox="0 0 860 {height:g}" role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>')
