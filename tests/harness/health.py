"""A gRPC server with the official health service. Prints its port; each line of stdin is `SERVICE STATUS`, with `-` for
the server as a whole, and it ends with stdin. With `--bare` there is no health service."""
import sys
from concurrent import futures

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

server = grpc.server(futures.ThreadPoolExecutor(2))
servicer = health.HealthServicer()
if "--bare" not in sys.argv:
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
port = server.add_insecure_port("127.0.0.1:0")
servicer.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
server.start()
print(port, flush=True)
for line in sys.stdin:
    service, status = line.split()
    servicer.set(service.removeprefix("-"), health_pb2.HealthCheckResponse.ServingStatus.Value(status))
server.stop(None)
