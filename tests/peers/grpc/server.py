"""A gRPC server on a port of loopback, which it prints: with a health service, or with `bare` without one. With `tls CERTIFICATE KEY` it
speaks TLS, and with a further file it lets in whom the authority in it has certified."""

import sys
from concurrent import futures

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

mode = sys.argv[1] if len(sys.argv) > 1 else ""
server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
if mode != "bare":
    servicer = health.HealthServicer()
    servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    servicer.set("triage.v1", health_pb2.HealthCheckResponse.SERVING)
    servicer.set("down.v1", health_pb2.HealthCheckResponse.NOT_SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
if mode == "tls":
    certificate, key, *callers = [open(path, "rb").read() for path in sys.argv[2:]]
    authority = callers[0] if callers else None
    credentials = grpc.ssl_server_credentials([(key, certificate)], authority, require_client_auth=authority is not None)
    port = server.add_secure_port("127.0.0.1:0", credentials)
else:
    port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(port, flush=True)
# ends with the test, which holds the other end
sys.stdin.read()
server.stop(None)
