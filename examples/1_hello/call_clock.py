# 1_hello/call_clock.py - calls the C program clock by its name, from Python, with the classes that protoc made.
#
# usage: python -m grpc_tools.protoc -I. --python_out=. clock.proto && python call_clock.py [calls]
import sys
import time

import nebula
from clock_pb2 import NowRequest

clock = nebula.service("demo.v1.Clock", timeout=0.5)

for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else 1):
    began = time.perf_counter()
    reply = clock.Now(NowRequest())
    print(f"OK  {reply.utc}  {(time.perf_counter() - began) * 1e3:.1f} ms")
