# 1_hello/filter.py - a filter on each side: a service that refuses strangers, and a caller who says who it is.
import asyncio

import nebula


async def refusing(call, next):
    if call.metadata.get("token") != "secret":
        raise nebula.Error(nebula.UNAUTHENTICATED, "who are you?")
    return await next()


async def introducing(call, next):
    call.add_metadata("token", "secret")
    return await next()


app = nebula.Service("guarded", filters=[refusing])


@app.rpc
async def greet(name: str) -> str:
    return f"Hello {name}!"


async def main():
    async with nebula.serve(app):
        try:
            await nebula.service("guarded").greet(name="Ada")
        except nebula.Error as error:
            print(error)
        print(await nebula.service("guarded", filters=[introducing]).greet(name="Ada"))


asyncio.run(main())
