# 3_chain/chain.py - a link of the chain in Python: says what reached it, after the next link has.
import sys

import nebula

app = nebula.Service("chain-python")


@app.rpc
async def ask(ctx: nebula.Context) -> list[str]:
    left, trace = ctx.time_remaining(), ctx.metadata.get("trace")
    # The deadline goes along by itself, and metadata where one says so.
    rest = await nebula.service(sys.argv[1]).ask({}, metadata={"trace": trace})
    return [f"python  {left:.3f} s left  trace {trace}", *rest]


app.run()
