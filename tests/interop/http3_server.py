"""aioquic as a server for our client: http3_server.py CERTIFICATES. It ends with its input."""

import asyncio
import base64
import importlib.metadata
import sys
import urllib.parse

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import QuicServer
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import StopSendingReceived, StreamReset

import echo
import messages
from checks import Certificates

HEAD = [(b":status", b"200"), (b"content-type", b"application/grpc")]


class Call:
    """One request stream and its handler."""

    def __init__(self, connection, stream, headers):
        self.connection, self.stream, self.has_head = connection, stream, False
        headers = dict(headers)
        self.method = headers[b":path"].decode().rsplit("/", 1)[1]
        self.metadata = [(key, value) for key, value in headers.items() if key.decode().startswith(echo.RETURNED)]
        self.requests, self._buffer = asyncio.Queue(), bytearray()
        self.task = asyncio.create_task(self._handle())

    def on_data(self, data):
        self._buffer += data
        for message in messages.unframe(self._buffer):
            self.requests.put_nowait(message)

    async def _each_request(self):
        while (request := await self.requests.get()) is not None:
            yield request

    async def _handle(self):
        code, trailers = 0, []
        try:
            async for reply in echo.serve(self.method, self._each_request()):
                self._head()
                self.connection.http.send_data(self.stream, messages.frame(reply), False)
                self.connection.transmit()
        except echo.Failed as failed:
            code, message = failed.code, urllib.parse.quote(failed.message).encode()
            details = base64.b64encode(failed.details).rstrip(b"=")
            trailers = [(b"grpc-message", message), (b"grpc-status-details-bin", details), *self.metadata]
        # Without a reply the trailers are all there is: their head is in them.
        head = [] if self.has_head else HEAD
        trailers = [*head, (b"grpc-status", str(code).encode()), *trailers]
        self.connection.http.send_headers(self.stream, trailers, end_stream=True)
        self.connection.transmit()

    def _head(self):
        if not self.has_head:
            self.connection.http.send_headers(self.stream, HEAD + self.metadata)
            self.has_head = True


class Connection(QuicConnectionProtocol):
    """A connection over HTTP/3."""

    def __init__(self, quic, stream_handler=None):
        super().__init__(quic, stream_handler)
        self.http, self.calls = H3Connection(quic), {}

    def quic_event_received(self, event):
        if isinstance(event, (StreamReset, StopSendingReceived)) and event.stream_id in self.calls:
            self.calls[event.stream_id].task.cancel()
        for arrived in self.http.handle_event(event):
            if isinstance(arrived, HeadersReceived):
                self.calls[arrived.stream_id] = Call(self, arrived.stream_id, arrived.headers)
            elif isinstance(arrived, DataReceived):
                self.calls[arrived.stream_id].on_data(arrived.data)
            if arrived.stream_ended:
                self.calls[arrived.stream_id].requests.put_nowait(None)


async def main():
    certificates = Certificates(sys.argv[1])
    configuration = QuicConfiguration(is_client=False, alpn_protocols=H3_ALPN)
    configuration.load_cert_chain(*certificates.of("server"))
    transport, server = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: QuicServer(configuration=configuration, create_protocol=Connection), local_addr=("127.0.0.1", 0)
    )
    _, port = transport.get_extra_info("sockname")
    print(f"aioquic {importlib.metadata.version('aioquic')} at 127.0.0.1:{port}", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(main())
