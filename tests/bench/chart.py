# bench/chart.py - a line chart as SVG: a few curves over logarithmic axes, for docs/performance.md.
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


def line_chart(title, x_words, y_words, curves):
    """curves: {name: [(x, y), ...]}, all positive; one whose name ends in " p99" has the last one's colour, dashed."""
    points = [point for curve in curves.values() for point in curve]
    x = Axis([point[0] for point in points], LEFT, WIDTH - RIGHT)
    y = Axis([point[1] for point in points], HEIGHT - BOTTOM, TOP)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
           f'font-size="12">', f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>']

    def text(at_x, at_y, what, more=""):
        out.append(f'<text x="{at_x:.1f}" y="{at_y:.1f}" {more}>{html.escape(what)}</text>')

    text(LEFT, 22, title, 'font-size="14" font-weight="bold"')
    for value in ticks(x.low, x.high):
        out.append(f'<path d="M{x.place(value):.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#ddd"/>')
        text(x.place(value), HEIGHT - BOTTOM + 18, words(value), 'text-anchor="middle"')
    for value in ticks(y.low, y.high):
        out.append(f'<path d="M{LEFT} {y.place(value):.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        text(LEFT - 6, y.place(value) + 4, words(value), 'text-anchor="end"')
    text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, x_words, 'text-anchor="middle"')
    text(14, HEIGHT / 2, y_words, f'text-anchor="middle" transform="rotate(-90 14 {HEIGHT / 2})"')
    colour = -1
    for number, (name, curve) in enumerate(curves.items()):
        is_dashed = name.endswith(" p99")
        colour += not is_dashed
        style = f'stroke="{COLOURS[colour % len(COLOURS)]}" stroke-width="2"' + ' stroke-dasharray="5 4"' * is_dashed
        path = "L".join(f"{x.place(a):.1f} {y.place(b):.1f}" for a, b in sorted(curve))
        out.append(f'<path d="M{path}" fill="none" {style}/>')
        at = TOP + 18 * number
        out.append(f'<path d="M{WIDTH - RIGHT + 12} {at}h24" {style}/>')
        text(WIDTH - RIGHT + 42, at + 4, name)
    return "\n".join([*out, "</svg>", ""])
