# bench/chart.py - line charts as SVG: a few curves over logarithmic axes, for docs/performance.md, or over time, for
# docs/policies.md.
#
# By hand, as this is all that is needed: a plotting library would be the largest thing that `make setup` installs, and
# its pictures change with its version, where these change with the figures only.
import html
import math

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 70, 190, 40, 50  # margins; on the right are the names of the curves
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"]  # told apart by all eyes (Okabe, Ito)


def words(value):
    """1,500,000 as 1.5M."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def ticks(low, high):
    """1, 2 and 5 times the powers of ten from low to high; only the powers when those are many."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [digit * 10.0 ** power for power in powers for digit in ((1, 2, 5) if len(powers) < 4 else (1,))]
    return [value for value in found if low <= value <= high]


class Axis:
    """From values to places, by their logarithms."""

    def __init__(self, values, start, end):
        self.low, self.high = min(values) / 1.15, max(values) * 1.15
        self._start, self._scale = start, (end - start) / math.log(self.high / self.low)

    def place(self, value):
        return self._start + self._scale * math.log(value / self.low)


class EvenAxis:
    """From values to places; from 0 on."""

    def __init__(self, high, start, end):
        self.low, self.high = 0, high
        self._start, self._scale = start, (end - start) / high

    def place(self, value):
        return self._start + self._scale * value

    def ticks(self):
        """Five or so, at round numbers."""
        step = next(step for power in range(-3, 9) for digit in (1, 2, 5) if self.high / (step := digit * 10.0**power) <= 6)
        return [step * at for at in range(math.floor(self.high / step) + 1)]


class Chart:
    """The frame: title, axes, names of curves."""

    def __init__(self, title, height=HEIGHT, top=TOP):
        self.height, self.top, self.out = height, top, [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
            f'font-size="12">', f'<rect width="{WIDTH}" height="{height}" fill="white"/>']
        self.text(LEFT, 22, title, 'font-size="14" font-weight="bold"')

    def text(self, at_x, at_y, what, more=""):
        self.out.append(f'<text x="{at_x:.1f}" y="{at_y:.1f}" {more}>{html.escape(what)}</text>')

    def axes(self, x, y, x_words, y_words):
        """Each with the values at which it has lines."""
        (x, x_ticks), (y, y_ticks) = x, y
        bottom = self.height - BOTTOM
        for value in x_ticks:
            self.out.append(f'<path d="M{x.place(value):.1f} {self.top}V{bottom}" stroke="#ddd"/>')
            self.text(x.place(value), bottom + 18, words(value), 'text-anchor="middle"')
        for value in y_ticks:
            self.out.append(f'<path d="M{LEFT} {y.place(value):.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
            self.text(LEFT - 6, y.place(value) + 4, words(value), 'text-anchor="end"')
        self.text((LEFT + WIDTH - RIGHT) / 2, self.height - 10, x_words, 'text-anchor="middle"')
        middle = (self.top + bottom) / 2 if self.top != TOP else self.height / 2
        self.text(14, middle, y_words, f'text-anchor="middle" transform="rotate(-90 14 {middle:.1f})"')

    def curve(self, number, name, path, style):
        self.out.append(f'<path d="M{path}" fill="none" {style}/>')
        at = self.top + 18 * number
        self.out.append(f'<path d="M{WIDTH - RIGHT + 12} {at}h24" {style}/>')
        self.text(WIDTH - RIGHT + 42, at + 4, name)

    def svg(self):
        return "\n".join([*self.out, "</svg>", ""])


def line_chart(title, x_words, y_words, curves):
    """curves: {name: [(x, y), ...]}, all positive; one whose name ends in " p99" has the last one's colour, dashed."""
    points = [point for curve in curves.values() for point in curve]
    x = Axis([point[0] for point in points], LEFT, WIDTH - RIGHT)
    y = Axis([point[1] for point in points], HEIGHT - BOTTOM, TOP)
    chart = Chart(title)
    chart.axes((x, ticks(x.low, x.high)), (y, ticks(y.low, y.high)), x_words, y_words)
    colour = -1
    for number, (name, curve) in enumerate(curves.items()):
        is_dashed = name.endswith(" p99")
        colour += not is_dashed
        style = f'stroke="{COLOURS[colour % len(COLOURS)]}" stroke-width="2"' + ' stroke-dasharray="5 4"' * is_dashed
        chart.curve(number, name, "L".join(f"{x.place(a):.1f} {y.place(b):.1f}" for a, b in sorted(curve)), style)
    return chart.svg()


def time_chart(title, y_words, y_max, events, curves, seconds):
    """events: [(second, words)], each a line through the chart; curves: {name: [(second, y), ...]}."""
    height, top = 300, 40 + 18 * len(events)
    x, y = EvenAxis(seconds, LEFT, WIDTH - RIGHT), EvenAxis(y_max, height - BOTTOM, top)
    chart = Chart(title, height, top)
    chart.axes((x, x.ticks()), (y, y.ticks()), "seconds", y_words)
    for number, (second, what) in enumerate(events):
        at, line = x.place(second), 36 + 18 * number
        chart.out.append(f'<path d="M{at:.1f} {line}V{height - BOTTOM}" stroke="#777" stroke-dasharray="2 3"/>')
        chart.text(at + 5, line + 10, what, 'fill="#555"')
    for number, (name, curve) in enumerate(curves.items()):
        style = f'stroke="{COLOURS[number % len(COLOURS)]}" stroke-width="2" stroke-linejoin="round"'
        chart.curve(number, name, "L".join(f"{x.place(a):.1f} {y.place(b):.1f}" for a, b in curve), style)
    return chart.svg()
