# 1_hello/stock_client.py - a gRPC client that has never heard of Nebula calls hello.
import json

import grpc

channel = grpc.insecure_channel("127.0.0.1:26491")
greet = channel.unary_unary("/hello/greet", lambda request: json.dumps(request).encode(), json.loads)
print(greet({"name": "Ada"}, timeout=1))
