"""aioquic as a client of our server: http3_client.py ADDRESS CERTIFICATES."""

import asyncio
import importlib.metadata
import sys
import urllib.parse

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, ErrorCode, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated, StopSendingReceived, StreamReset

import messages
from checks import LIMIT, Calls, Certificates, Report, expect

# RFC 8446 §6, as RFC 9001 §4.8 puts it into QUIC.
CERTIFICATE_REQUIRED = 0x100 + 116


class Call:
    """One request stream. What comes is in the order in which it came."""

    def __init__(self, client, stream):
        self.client, self.stream = client, stream
        self.head, self.trailers, self.has_ended = None, None, asyncio.Event()
        self.reset = self.stopped = None
        self.replies, self._buffer = asyncio.Queue(), bytearray()

    def send(self, message, last=False):
        self.client.http.send_data(self.stream, messages.frame(message), last)
        self.client.transmit()

    def end(self):
        self.client.http.send_data(self.stream, b"", True)
        self.client.transmit()

    def cancel(self):
        self.client.quic.reset_stream(self.stream, ErrorCode.H3_REQUEST_CANCELLED)
        self.client.quic.stop_stream(self.stream, ErrorCode.H3_REQUEST_CANCELLED)
        self.client.transmit()

    async def reply(self):
        return messages.read_reply(await self.replies.get())

    async def status(self):
        """Waits for the end, and returns gRPC's status, the message, and all trailers."""
        await self.has_ended.wait()
        trailers = self.trailers or self.head
        return int(trailers["grpc-status"]), urllib.parse.unquote(trailers.get("grpc-message", "")), trailers

    def on_headers(self, headers):
        headers = {key.decode(): value.decode() for key, value in headers}
        if self.head is None:
            self.head = headers
        else:
            self.trailers = headers

    def on_data(self, data):
        self._buffer += data
        for message in messages.unframe(self._buffer):
            self.replies.put_nowait(message)


class Client(QuicConnectionProtocol):
    """A connection over HTTP/3."""

    def __init__(self, quic):
        super().__init__(quic)
        self.quic, self.http, self.under_way = quic, H3Connection(quic), {}
        self.terminated = asyncio.get_running_loop().create_future()

    def quic_event_received(self, event):
        if isinstance(event, ConnectionTerminated):
            self.terminated.set_result(event.error_code)
        elif isinstance(event, StreamReset) and event.stream_id in self.under_way:
            call = self.under_way[event.stream_id]
            call.reset = event.error_code
            call.has_ended.set()
        elif isinstance(event, StopSendingReceived) and event.stream_id in self.under_way:
            self.under_way[event.stream_id].stopped = event.error_code
        for arrived in self.http.handle_event(event):
            call = self.under_way[arrived.stream_id]
            if isinstance(arrived, HeadersReceived):
                call.on_headers(arrived.headers)
            elif isinstance(arrived, DataReceived):
                call.on_data(arrived.data)
            if arrived.stream_ended:
                call.has_ended.set()

    def post(self, method, headers, kind):
        """Begins a request, as a call of this kind."""
        call = kind(self, self.quic.get_next_available_stream_id())
        self.under_way[call.stream] = call
        headers = [
            (":method", "POST"),
            (":scheme", "https"),
            (":authority", "server"),
            (":path", f"/{messages.SERVICE}/{method}"),
            *headers,
        ]
        self.http.send_headers(call.stream, [(key.encode(), value.encode()) for key, value in headers])
        return call

    def call(self, method, *requests, more=False, metadata=()):
        """Begins a call of gRPC with these requests, and with more of them to come if so said."""
        call = self.post(method, [("te", "trailers"), ("content-type", "application/grpc"), *metadata], Call)
        for request in requests:
            call.send(request)
        if not more:
            call.end()
        self.transmit()
        return call


async def connect(address, certificates, holder):
    """Begins a connection. No name is checked: this library knows no SPIFFE IDs, and a node has no other name."""
    host, port = address.rsplit(":", 1)
    configuration = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN, cafile=str(certificates.ca))
    configuration.idle_timeout = LIMIT
    if holder is not None:
        configuration.load_cert_chain(*certificates.of(holder))
    _, client = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Client(QuicConnection(configuration=configuration)), local_addr=("127.0.0.1", 0)
    )
    client.connect((host, int(port)))
    return client


async def unary_with_metadata(client, _):
    metadata = [("echo-key", "value"), ("echo-bin", "AP8"), ("other", "stays")]
    call = client.call("Unary", messages.request(b"a"), metadata=metadata)
    expect((await call.status())[0], 0)
    expect(await call.reply(), (b"a", 0))
    expect((call.head[":status"], call.head["content-type"]), ("200", "application/grpc"))
    expect((call.head["echo-key"], call.head["echo-bin"], "other" in call.head), ("value", "AP8", False))


async def trailers_only_failure(client, _):
    failure = messages.failure(9, "nöt now", b"why")
    call = client.call("Unary", messages.request(failure=failure), metadata=[("echo-key", "value")])
    code, message, trailers = await call.status()
    expect((code, message, trailers["grpc-status-details-bin"], trailers["echo-key"]), (9, "nöt now", "d2h5", "value"))
    expect((call.trailers, call.replies.qsize()), (None, 0))


async def server_stream(client, _):
    call = client.call("ServerStream", messages.stream_request(messages.request(b"b"), 3))
    expect((await call.status())[0], 0)
    expect([await call.reply() for _ in range(3)], [(b"b", 0), (b"b", 1), (b"b", 2)])


async def failure_after_replies(client, _):
    failure = messages.failure(10, "enough")
    call = client.call("ServerStream", messages.stream_request(messages.request(b"b"), 2, failure))
    expect((await call.status())[:2], (10, "enough"))
    expect(call.replies.qsize(), 2)


async def client_stream(client, _):
    call = client.call("ClientStream", *(messages.request(payload) for payload in (b"c", b"dd", b"eee")))
    expect((await call.status())[0], 0)
    expect(messages.read_summary(await call.replies.get()), (3, 6))


async def chat_in_turns(client, _):
    call = client.call("Chat", more=True)
    for index, word in enumerate((b"one", b"two", b"three")):
        call.send(messages.request(word))
        expect(await call.reply(), (word, index))
    call.end()
    expect((await call.status())[0], 0)


async def unknown_method(client, _):
    expect((await client.call("Nothing", b"").status())[0], 12)


async def deadline_before_the_head(client, calls):
    """Kept by the server: aioquic knows nothing of deadlines."""
    before = await calls("dropped", 0)
    call = client.call("Unary", messages.request(held=True), metadata=[("grpc-timeout", "100m")])
    expect((await call.status())[0], 4)
    expect(await calls("dropped", before + 1), before + 1)


async def deadline_after_the_head(client, calls):
    before = await calls("dropped", 0)
    call = client.call("Chat", messages.request(b"one"), more=True, metadata=[("grpc-timeout", "500m")])
    expect(await call.reply(), (b"one", 0))
    await call.has_ended.wait()
    expect((call.reset, call.stopped), (ErrorCode.H3_REQUEST_CANCELLED, ErrorCode.H3_REQUEST_CANCELLED))
    expect(await calls("dropped", before + 1), before + 1)


async def cancelled_unary(client, calls):
    before = await calls("dropped", 0)
    call = client.call("Unary", messages.request(held=True))
    await calls("running", 1)
    call.cancel()
    expect(await calls("dropped", before + 1), before + 1)


async def cancelled_chat(client, calls):
    before = await calls("dropped", 0)
    call = client.call("Chat", messages.request(b"one"), more=True)
    expect(await call.reply(), (b"one", 0))
    call.cancel()
    expect(await calls("dropped", before + 1), before + 1)


async def cancelled_upload(client, calls):
    """What has come must not look like all there is."""
    before = await calls("dropped", 0)
    call = client.call("ClientStream", messages.request(b"a"), more=True)
    await calls("running", 1)
    call.cancel()
    expect(await calls("dropped", before + 1), before + 1)


async def two_mib(client, _):
    payload = bytes(range(256)) * (2 << 12)
    call = client.call("Unary", messages.request(payload))
    expect((await call.status())[0], 0)
    expect(await call.reply() == (payload, 0), True)


CHECKS = [
    unary_with_metadata,
    trailers_only_failure,
    server_stream,
    failure_after_replies,
    client_stream,
    chat_in_turns,
    unknown_method,
    deadline_before_the_head,
    deadline_after_the_head,
    cancelled_unary,
    cancelled_chat,
    cancelled_upload,
    two_mib,
]


async def without_certificate(address, certificates):
    client = await connect(address, certificates, None)
    expect(await client.terminated, CERTIFICATE_REQUIRED)


async def main():
    address, certificates = sys.argv[1], Certificates(sys.argv[2])
    report = Report(f"aioquic {importlib.metadata.version('aioquic')} calls us over HTTP/3")
    watch = Calls(address, certificates)

    async def calls(what, at_least):
        return await asyncio.to_thread(watch.wait, what, at_least)

    client = await connect(address, certificates, "client")
    for check in CHECKS:
        with report.check(check):
            await asyncio.wait_for(check(client, calls), LIMIT)
    with report.check(without_certificate):
        await asyncio.wait_for(without_certificate(address, certificates), LIMIT)
    client.close()
    await client.wait_closed()
    report.end()


if __name__ == "__main__":
    asyncio.run(main())
