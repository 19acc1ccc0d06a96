# faults/findings.py - what a row has measured, beside what it must reach.


class Findings:
    """Every check says its figure, whether it is good or not."""

    def __init__(self):
        self.measured, self.broken = [], []

    def at_most(self, what, value, limit, unit=""):
        self._judge(value is not None and value <= limit, what, value, f"at most {figure(limit)}{unit}", unit)

    def at_least(self, what, value, limit, unit=""):
        self._judge(value is not None and value >= limit, what, value, f"at least {figure(limit)}{unit}", unit)

    def nothing(self, what):
        """A list of what must not be, in words."""
        self.measured += what
        self.broken += what

    def note(self, text):
        self.measured.append(text)

    def _judge(self, is_good, what, value, wanted, unit):
        text = f"{what} {'never' if value is None else figure(value) + unit}"
        self.measured.append(text)
        if not is_good:
            self.broken.append(f"{text}, wanted {wanted}")


def figure(value):
    if isinstance(value, int):
        return f"{value:,}"
    if value != 0 and abs(value) < 0.01:
        return f"{value:.4f}"
    return f"{value:,.2f}".rstrip("0").rstrip(".")
