# bindings/cases.py - the cases of cases.json: written out for a program, and compared with what it answers.
import base64
import json
import pathlib

CASES = pathlib.Path(__file__).with_name("cases.json")
FOR_US = ("expect", "only", "not_server", "not_client", "why")  # what a program does not get


def load():
    """All cases, in their order; names are theirs alone."""
    cases = [
        {**{name: value for name, value in group.items() if name not in ("group", "cases")}, **case,
         "name": f"{group['group']}/{case['name']}"}
        for group in json.loads(CASES.read_text()) for case in group["cases"]
    ]
    names = [case["name"] for case in cases]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"cases.json has two of {', '.join(sorted(twice))}")
    return cases


def reason_against(case, client, server):
    """Why a case does not apply to a pair; None: it does."""
    if "only" in case and client not in case["only"]:
        return f"is for {', '.join(case['only'])}"
    return case.get("not_server", {}).get(server) or case.get("not_client", {}).get(client)


def handed_out(case, run):
    """A case as a program gets it. run: a text that makes its keys unique."""
    return _with_keys(_written_out({name: value for name, value in case.items() if name not in FOR_US}), run)


def _written_out(value):
    if isinstance(value, list):
        return [_written_out(item) for item in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"repeat", "times"}:
        return value["repeat"] * value["times"]
    if set(value) == {"zeros"}:
        return base64.b64encode(bytes(value["zeros"])).decode()
    return {name: _written_out(item) for name, item in value.items()}


def _with_keys(case, run):
    asks = {"asks": [_with_key(ask, run) for ask in case["asks"]]} if "asks" in case else {}
    recall = {"recall": f"{run}/{case['recall']}"} if "recall" in case else {}
    return {**case, **asks, **recall}


def _with_key(ask, run):
    key = {"key": f"{run}/{ask['key']}"} if "key" in ask else {}
    return {**ask, **key, **({"relay": _with_key(ask["relay"], run)} if "relay" in ask else {})}


def differences(case, result):
    """What is other than expected, a line each."""
    return list(_differences(_written_out(case["expect"]), result, ""))


def _differences(expected, got, where):
    if isinstance(expected, dict) and set(expected) <= {"min", "max"} and expected:
        number = _number(got)
        if number is None or not expected.get("min", number) <= number <= expected.get("max", number):
            yield f"{where}: {_shown(got)} is not within {_shown(expected)}"
    elif isinstance(expected, dict) and set(expected) == {"has"}:
        if not isinstance(got, str) or expected["has"] not in got:
            yield f"{where}: {_shown(got)} does not have {_shown(expected['has'])}"
    elif isinstance(expected, dict) and set(expected) == {"any"}:
        if all(any(_differences(one, got, where)) for one in expected["any"]):
            yield f"{where}: {_shown(got)} is none of {_shown(expected['any'])}"
    elif isinstance(expected, dict):
        if not isinstance(got, dict):
            yield f"{where}: {_shown(got)} is no object"
        else:
            for name, value in expected.items():
                yield from _differences(value, got.get(name), f"{where}.{name}" if where else name)
    elif isinstance(expected, list):
        yield from _list_differences(expected, got or [], where)
    elif got != expected and not (got is None and expected in (0, "", "0", False)):
        yield f"{where}: {_shown(got)} is not {_shown(expected)}"


def _list_differences(expected, got, where):
    # Of metadata only the order of the values of one name is promised.
    if all(isinstance(item, dict) and "name" in item for item in [*expected, *got]):
        expected, got = ([*sorted(pairs, key=lambda pair: pair["name"])] for pairs in (expected, got))
    if len(expected) != len(got):
        yield f"{where}: {len(got)} of them are not {len(expected)}: {_shown(got)}"
        return
    for index, (one, other) in enumerate(zip(expected, got)):
        yield from _differences(one, other, f"{where}[{index}]")


def _number(value):
    """Also of a number of 64 bits, which in JSON is a text; a missing one is 0."""
    try:
        return 0 if value is None else float(value)
    except (TypeError, ValueError):
        return None


def _shown(value):
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else text[:180] + f"... ({len(text)} characters)"
