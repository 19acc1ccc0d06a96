# faults/history.py - what has happened: every call as its caller saw it, and every time that a handler began with it.
import collections
from typing import NamedTuple

WRONG_ANSWER = -1


class Call(NamedTuple):
    kind: str  # "i": idempotent. "n": not. "s": a long stream. "p": no call, but a time in which the client did not run
    key: str
    began: float  # seconds, of the clock that all programs of a run share
    took: float
    code: int
    fate: str
    instance: str  # who has answered; "-": nobody

    @property
    def ended(self):
        return self.began + self.took


class History:
    """Of a cluster whose clients have stopped calling."""

    def __init__(self, cluster):
        noted = {name: [read_call(line) for line in client.calls.open()] for name, client in cluster.clients.items()}
        self.calls = [call for calls in noted.values() for call in calls if call.kind != "p"]
        self.pauses = {name: [call for call in calls if call.kind == "p"] for name, calls in noted.items()}
        self.runs = collections.defaultdict(list)  # of a key: when handlers began with it
        self.begun = {}  # by instance: when its handler began, with which key
        for path in cluster.folder.glob("*.ledger"):
            self.begun[path.stem] = [(int(when) / 1e6, key) for key, when in map(str.split, path.open())]
            for when, key in self.begun[path.stem]:
                self.runs[key].append(when)

    def of(self, kinds="in", since=0.0, until=float("inf")):
        """Those that began in that time."""
        return [call for call in self.calls if call.kind in kinds and since <= call.began < until]

    def open_between(self, since, until):
        """Calls that were open at some moment of it."""
        return [call for call in self.of() if call.began <= until and call.ended >= since]

    def beyond(self, timeout_s):
        """Calls that ended after their deadline, with by how much: but for the time in which their client did not run."""
        found = []
        for call in self.of():
            if call.took > timeout_s:
                pauses = self.pauses[call.key.partition("-")[0]]
                due = call.began + timeout_s
                stood = sum(max(0.0, min(call.ended, pause.ended) - max(due, pause.began)) for pause in pauses)
                found.append((call.took - timeout_s - stood, call))
        return found

    def longest_pause(self):
        return max((pause.took for pauses in self.pauses.values() for pause in pauses), default=0.0)

    def attempts(self, calls):
        """How often handlers began, for each of them."""
        return sum(len(self.runs.get(call.key, ())) for call in calls) / max(1, len(calls))

    def untold(self):
        """What must not be, whatever happens, in words."""
        twice = [key for key, runs in self.runs.items() if len(runs) > 1 and key in self._of_kind("n")]
        wrong = [call for call in self.calls if call.code == WRONG_ANSWER]
        counts = collections.Counter(call.key for call in self.calls)
        ended_twice = [key for key, count in counts.items() if count > 1]
        unrun = [call for call in self.of("ins") if call.code == 0 and call.key not in self.runs]
        return [f"{len(found)} {what}" for found, what in (
            (twice, "calls run twice that may not be"), (wrong, "wrong or stale answers"),
            (ended_twice, "calls that ended twice"), (unrun, "answers without a handler")) if found]

    def _of_kind(self, kind):
        if not hasattr(self, "_kinds"):
            self._kinds = collections.defaultdict(set)
            for call in self.calls:
                self._kinds[call.kind].add(call.key)
        return self._kinds[kind]


def read_call(line):
    kind, key, began_us, took_us, code, fate, instance = line.split()
    return Call(kind, key, int(began_us) / 1e6, int(took_us) / 1e6, int(code), fate, instance)


def failed(calls):
    return [call for call in calls if call.code != 0]


def percentile(calls, share):
    times = sorted(call.took for call in calls)
    return times[min(len(times) - 1, int(len(times) * share))] if times else 0.0


def share_of(calls, instance):
    answered = [call for call in calls if call.code == 0]
    return sum(call.instance == instance for call in answered) / max(1, len(answered))


STEP_S, WINDOW_S = 0.1, 0.5


def recovered_after(calls, since, until, before):
    """Seconds from `since` until answers came again at 95 % of the rate `before`, for good; None: they did not."""
    ends = sorted(call.ended for call in calls if call.code == 0 and since <= call.ended < until)
    counts = collections.Counter(int((end - since) / STEP_S) for end in ends)
    steps, width = int((until - since) / STEP_S), int(WINDOW_S / STEP_S)
    good = [sum(counts[i + j] for j in range(width)) >= 0.95 * before * WINDOW_S for i in range(steps - width)]
    # One window that is a little short does not undo it: the generator itself has moods.
    for i in range(len(good)):
        if all(good[i:i + width]) and sum(good[i:]) >= 0.9 * len(good[i:]):
            return i * STEP_S
    return None


def answers_a_second(calls, since, until):
    return sum(call.code == 0 and since <= call.ended < until for call in calls) / (until - since)
