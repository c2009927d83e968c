"""Clients of others call applications of others through a mesh: mesh_client.py LOCAL GATEWAY APP CERTIFICATES.

LOCAL is the Unix socket where applications call their own node, GATEWAY where a node takes calls from outside, APP where the application
of gRPC itself listens.
"""

import asyncio
import importlib.metadata
import subprocess
import sys
import time

import grpc

import grpc_client
import http3_client
import mesh_curl
import messages
from checks import LIMIT, Certificates, Report, expect
from grpc_app import SERVICE as APP
from grpc_client import OPTIONS, failure_of
from mesh_curl import SHOP

# Of the protobuf messages google.rpc.Status and google.protobuf.Any.
CODE, MESSAGE, DETAILS, TYPE_URL, VALUE = 1, 2, 3, 1, 2


class AppCalls:
    """What the application says of its calls, asked past the mesh."""

    def __init__(self, address):
        self.channel = grpc.insecure_channel(address)
        self.ask = self.channel.unary_unary(f"/{APP}/Calls")

    def wait(self, what, at_least=0):
        return int(self.ask(f"{what} {at_least}".encode(), timeout=LIMIT))


def unknown_service(client):
    error = failure_of(lambda: client.channel.unary_unary("/no.such/Method")(b"", timeout=LIMIT))
    told = "service `no.such` is not known here or in the mesh"
    expect((error.code(), error.details()), (grpc.StatusCode.NOT_FOUND, told))


def trailers_of_an_answer(client):
    _, call = client.unary.with_call(messages.request(b"a"), metadata=(("echo-key", "value"),), timeout=LIMIT)
    trailers = {item.key: item.value for item in call.trailing_metadata()}
    expect(trailers["echo-key"], "value")


def deadline_is_told_on(client):
    left = client.channel.unary_unary(f"/{APP}/Left")
    # The library itself rounds up, by some milliseconds.
    expect(0 < float(left(b"", timeout=5)) <= 5.1, True)
    by_header = left(b"", metadata=(("rpc-ttl-ms", "3000"),), timeout=LIMIT)
    expect(0 < float(by_header) <= 3.1, True)


def deadline_in_the_past(client):
    past = (("rpc-deadline", "2001-01-01T00:00:00Z"),)
    error = failure_of(lambda: client.unary(messages.request(b"a"), metadata=past, timeout=LIMIT))
    told = "the deadline had passed when the call came"
    expect((error.code(), error.details()), (grpc.StatusCode.DEADLINE_EXCEEDED, told))


def details_of_google_rpc(client):
    detail = {TYPE_URL: "type.googleapis.com/google.rpc.ErrorInfo", VALUE: messages.write({1: "STOCKOUT"})}
    status = messages.write({CODE: 9, MESSAGE: "no stock", DETAILS: messages.write(detail)})
    failure = messages.failure(9, "no stock", status)
    error = failure_of(lambda: client.unary(messages.request(failure=failure), timeout=LIMIT))
    trailers = {item.key: item.value for item in error.trailing_metadata()}
    told = messages.read(trailers["grpc-status-details-bin"])
    expect((told[CODE], told[MESSAGE]), (9, b"no stock"))
    told = messages.read(told[DETAILS])
    expect((told[TYPE_URL].decode(), messages.read(told[VALUE])), (detail[TYPE_URL], {1: b"STOCKOUT"}))


def failure_of_an_http_application(client):
    error = failure_of(lambda: client.channel.unary_unary(f"/{SHOP}/Sold")(b"{}", timeout=LIMIT))
    expect((error.code(), error.details()), (grpc.StatusCode.ABORTED, "sold out"))
    trailers = {item.key: item.value for item in error.trailing_metadata()}
    expect(trailers["omnirelay-error-code"], "shop.sold")


def stream_of_an_http_application(client):
    replies = client.channel.unary_stream(f"/{SHOP}/Stock")(b"{}", timeout=LIMIT)
    expect(list(replies), [b"3", b"2", b"1"])


def http_application_is_slow(client):
    error = failure_of(lambda: client.channel.unary_unary(f"/{SHOP}/Slow")(b"{}", timeout=0.2))
    expect(error.code(), grpc.StatusCode.DEADLINE_EXCEEDED)


THROUGH_A_MESH = [
    unknown_service,
    trailers_of_an_answer,
    deadline_is_told_on,
    deadline_in_the_past,
    details_of_google_rpc,
    failure_of_an_http_application,
    stream_of_an_http_application,
    http_application_is_slow,
]


class Plain(http3_client.Call):
    """A request of plain HTTP over HTTP/3."""

    def __init__(self, client, stream):
        super().__init__(client, stream)
        self.body = b""

    def on_data(self, data):
        self.body += data

    async def ended(self, body):
        self.client.http.send_data(self.stream, body, True)
        self.client.transmit()
        await self.has_ended.wait()
        return int(self.head[":status"]), self.body


async def post_over_http3(client, _):
    call = client.post("Unary", [("rpc-encoding", "protobuf")], Plain)
    status, body = await call.ended(messages.request(b"a"))
    expect((status, messages.read_reply(body), call.head["rpc-status"]), (200, (b"a", 0), "ok"))


async def failure_over_http3(client, _):
    call = client.post("Unary", [("rpc-encoding", "protobuf")], Plain)
    status, body = await call.ended(messages.request(failure=messages.failure(5, "gone")))
    expect((status, body), (404, mesh_curl.failure_json("gone", "NOT_FOUND")))


async def events_over_http3(client, _):
    call = client.post("ServerStream", [("accept", "text/event-stream")], Plain)
    status, body = await call.ended(messages.stream_request(messages.request(b"b"), 3))
    expect((status, mesh_curl.events_of(body)), (200, [(b"b", 0), (b"b", 1), (b"b", 2)]))


async def deadline_after_the_head_by_a_node_on_the_way(client, calls):
    """The node beside the application is the first to whom it comes, or the gateway: one says it, the other resets."""
    before = await calls("dropped", 0)
    call = client.call("Chat", messages.request(b"one"), more=True, metadata=[("grpc-timeout", "500m")])
    expect(await call.reply(), (b"one", 0))
    await call.has_ended.wait()
    if call.reset is None:
        expect((await call.status())[0], 4)
    else:
        expect(call.reset, http3_client.ErrorCode.H3_REQUEST_CANCELLED)
    expect(await calls("dropped", before + 1), before + 1)


OVER_HTTP3 = [
    post_over_http3,
    failure_over_http3,
    events_over_http3,
    deadline_after_the_head_by_a_node_on_the_way,
]
OF_GRPC = [check for check in http3_client.CHECKS if check is not http3_client.deadline_after_the_head]


def call_with_grpcio(channel, where, calls):
    report = Report(f"grpcio {grpc.__version__} {where}")
    client = grpc_client.Client(channel, calls)
    for check in grpc_client.CHECKS + THROUGH_A_MESH:
        with report.check(check):
            check(client)
    channel.close()
    return report


async def call_with_aioquic(gateway, certificates, calls):
    report = Report(f"aioquic {importlib.metadata.version('aioquic')} calls through a gateway over HTTP/3")

    async def wait(what, at_least):
        return await asyncio.to_thread(calls.wait, what, at_least)

    client = await http3_client.connect(gateway, certificates, "client")
    for check in OF_GRPC + OVER_HTTP3:
        with report.check(check):
            await asyncio.wait_for(check(client, wait), LIMIT)
    with report.check(http3_client.without_certificate):
        await asyncio.wait_for(http3_client.without_certificate(gateway, certificates), LIMIT)
    client.close()
    await client.wait_closed()
    return report


def until_known(curl, services):
    """Waits until a node has heard of them."""
    until = time.monotonic() + LIMIT
    for service in services:
        while curl.post(f"/{service}/Nothing").status == 404:
            if time.monotonic() > until:
                raise AssertionError(f"{curl.who}: nobody knows `{service}`")
            time.sleep(0.05)


def main():
    local, gateway, app = sys.argv[1:4]
    certificates, calls = Certificates(sys.argv[4]), AppCalls(app)
    version = subprocess.run(["curl", "--version"], check=True, capture_output=True, text=True).stdout
    curls = mesh_curl.all_of(version, local, gateway, certificates)
    for curl in curls:
        until_known(curl, [messages.SERVICE, APP, SHOP])
    reports = [call_with_grpcio(grpc.insecure_channel(local, OPTIONS), "calls its own node", calls)]
    outside = grpc_client.secure(gateway, certificates)
    reports.append(call_with_grpcio(outside, "calls through a gateway over HTTP/2", calls))
    reports.append(asyncio.run(call_with_aioquic(gateway, certificates, calls)))
    reports.extend(mesh_curl.call(curl, calls) for curl in curls)
    reports.append(mesh_curl.refused(gateway, certificates))
    sys.exit(1 if any(report.failed for report in reports) else 0)


if __name__ == "__main__":
    main()
