# bindings/python_peer.py - a service in Python for the tests of the other bindings, and a caller of theirs.
#
# usage: python_peer.py serve                     serves "py-hello" until it is ended
#        python_peer.py call <service> [fields]   calls a service of the same methods, says "all is well"
#
# fields: what the service says that `greet` has, if it checks that. Found by name; nothing is configured.
import sys
from typing import AsyncIterator

import nebula

app = nebula.Service("py-hello")


@app.rpc
async def greet(name: str = "world", ctx: nebula.Context = None) -> str:
    if name == "nobody":
        raise nebula.Error(nebula.NOT_FOUND, "nobody is not here", {"who": name})
    return f"Hello {name}!"


@app.rpc
async def countdown(start: int) -> AsyncIterator[int]:
    for number in range(start, 0, -1):
        yield number


@app.rpc
async def total(numbers: AsyncIterator[int]) -> int:
    return sum([number async for number in numbers])


@app.rpc
async def chat(lines: AsyncIterator[str]) -> AsyncIterator[str]:
    async for line in lines:
        yield line + "?"


def call(service, fields=None):
    hello = nebula.service(service, timeout=50)
    assert hello.greet(name="Ada") == "Hello Ada!"
    if fields is not None:
        try:
            hello.greet(nme="Ada")
            raise SystemExit("a wrong field is taken")
        except nebula.Error as error:
            assert error.code == nebula.INVALID_ARGUMENT, error
            words = f'{service}.greet has no field "nme" (fields: {fields}); did you mean "name"?'
            assert (error.message, error.fate) == (words, nebula.Fate.UNSENT), error
    assert list(hello.countdown.stream({"start": 3})) == [3, 2, 1]
    assert list(hello.chat.stream(iter(["a", "b"]))) == ["a?", "b?"]
    assert hello.total(iter([1, 2, 3])) == 6
    print("all is well")


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        app.run()
    else:
        call(*sys.argv[2:])
