"""A receiver of OTLP, by gRPC and by HTTP, that decodes what it gets by OpenTelemetry's own
definitions and hands it out as JSON.

    receiver.py GRPC_PORT HTTP_PORT [CERTIFICATE KEY]

GET /spans     all spans, each with its resource and the way it came
GET /metrics   all data points
GET /headers   the headers of each request
PUT /fail/N    the next N requests are refused, in a way that says: come again
"""

import json
import sys
import threading
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc as metrics_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as traces
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as traces_grpc

lock = threading.Lock()
spans, points, headers = [], [], []
failing = 0


def plain(value):
    return getattr(value, value.WhichOneof("value"))


def attributes(pairs):
    names = [pair.key for pair in pairs]
    assert len(names) == len(set(names)), f"twice the same key: {names}"
    return {pair.key: plain(pair.value) for pair in pairs}


def take_failure():
    global failing
    with lock:
        if failing:
            failing -= 1
            return True
        return False


def take_spans(request, way):
    for resource in request.resource_spans:
        of = attributes(resource.resource.attributes)
        for scope in resource.scope_spans:
            for span in scope.spans:
                told = {
                    "way": way,
                    "resource": of,
                    "scope": [scope.scope.name, scope.scope.version],
                    "trace": span.trace_id.hex(),
                    "id": span.span_id.hex(),
                    "parent": span.parent_span_id.hex(),
                    "state": span.trace_state,
                    "flags": span.flags,
                    "name": span.name,
                    "kind": span.kind,
                    "start": span.start_time_unix_nano,
                    "end": span.end_time_unix_nano,
                    "status": span.status.code,
                    "attributes": attributes(span.attributes),
                }
                with lock:
                    spans.append(told)


def take_points(request, way):
    for resource in request.resource_metrics:
        of = attributes(resource.resource.attributes)
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                kind = metric.WhichOneof("data")
                data = getattr(metric, kind)
                for point in data.data_points:
                    told = MessageToDict(point)
                    told["attributes"] = attributes(point.attributes)
                    told.update(way=way, resource=of, name=metric.name, kind=kind, unit=metric.unit)
                    if kind == "sum":
                        told["monotonic"] = data.is_monotonic
                    if kind in ("sum", "histogram"):
                        told["temporality"] = data.aggregation_temporality
                    for place, exemplar in enumerate(getattr(point, "exemplars", [])):
                        told["exemplars"][place]["trace"] = exemplar.trace_id.hex()
                    with lock:
                        points.append(told)


def by_grpc(request, context, take, answer):
    with lock:
        headers.append(dict((pair.key, str(pair.value)) for pair in context.invocation_metadata()))
    if take_failure():
        context.abort(grpc.StatusCode.UNAVAILABLE, "come again")
    take(request, "grpc")
    return answer


class Traces(traces_grpc.TraceServiceServicer):
    def Export(self, request, context):
        return by_grpc(request, context, take_spans, traces.ExportTraceServiceResponse())


class Metrics(metrics_grpc.MetricsServiceServicer):
    def Export(self, request, context):
        return by_grpc(request, context, take_points, metrics.ExportMetricsServiceResponse())


class Http(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", kind="application/json"):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        told = {"/spans": spans, "/metrics": points, "/headers": headers}[self.path]
        with lock:
            body = json.dumps(told).encode()
        self.answer(200, body)

    def do_PUT(self):
        global failing
        with lock:
            failing = int(self.path.rsplit("/", 1)[1])
        self.answer(200)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with lock:
            headers.append({name.lower(): value for name, value in self.headers.items()})
        if take_failure():
            return self.answer(503)
        if self.headers["Content-Type"] != "application/x-protobuf":
            return self.answer(415)
        if self.path == "/v1/traces":
            take_spans(traces.ExportTraceServiceRequest.FromString(body), "http")
            answer = traces.ExportTraceServiceResponse()
        elif self.path == "/v1/metrics":
            take_points(metrics.ExportMetricsServiceRequest.FromString(body), "http")
            answer = metrics.ExportMetricsServiceResponse()
        else:
            return self.answer(404)
        self.answer(200, answer.SerializeToString(), "application/x-protobuf")


def main():
    grpc_port, http_port, *pair = sys.argv[1:]
    server = grpc.server(futures.ThreadPoolExecutor(4))
    traces_grpc.add_TraceServiceServicer_to_server(Traces(), server)
    metrics_grpc.add_MetricsServiceServicer_to_server(Metrics(), server)
    if pair:
        certificate, key = (open(path, "rb").read() for path in pair)
        credentials = grpc.ssl_server_credentials([(key, certificate)])
        assert server.add_secure_port(f"127.0.0.1:{grpc_port}", credentials)
    else:
        assert server.add_insecure_port(f"127.0.0.1:{grpc_port}")
    server.start()
    ThreadingHTTPServer(("127.0.0.1", int(http_port)), Http).serve_forever()


main()
