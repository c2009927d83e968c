"""grpcio as a server for our client: grpc_server.py CERTIFICATES. It ends with its input."""

import asyncio
import sys

import grpc

import echo
import messages
from checks import Certificates

CODES = {code.value[0]: code for code in grpc.StatusCode}
# Metadata with which a client asks for compressed replies.
COMPRESSED = "compressed"
OPTIONS = [("grpc.max_receive_message_length", 16 << 20), ("grpc.max_send_message_length", 16 << 20)]


async def whole(requests, has_many):
    """Yields requests. The library ends those that are given up like those that are whole, and says a moment later that they were."""
    count = 0
    async for request in requests:
        count += 1
        yield request
    if has_many or count == 0:
        await asyncio.sleep(0.2)


class Handlers(grpc.GenericRpcHandler):
    """Every shape as a stream of requests that is answered by a stream of replies: on the wire there is no other."""

    def service(self, details):
        _, service, method = details.method.split("/")
        if service != messages.SERVICE or method not in (echo.UNARY, echo.SERVER_STREAM, echo.CLIENT_STREAM, echo.CHAT):
            return None

        async def handle(requests, context):
            metadata = [(key, value) for key, value in context.invocation_metadata() if key.startswith(echo.RETURNED)]
            # The library does not look at what the client says it can read.
            if (COMPRESSED, "gzip") in context.invocation_metadata():
                context.set_compression(grpc.Compression.Gzip)
            context.set_trailing_metadata(metadata)
            try:
                has_many = method in (echo.CLIENT_STREAM, echo.CHAT)
                async for reply in echo.serve(method, whole(requests, has_many)):
                    if metadata:
                        await context.send_initial_metadata(metadata)
                        metadata = []
                    yield reply
            except echo.Failed as failed:
                details = [("grpc-status-details-bin", failed.details)]
                await context.abort(CODES[failed.code], failed.message, (*metadata, *details))

        return grpc.stream_stream_rpc_method_handler(handle)


async def main():
    certificates = Certificates(sys.argv[1])
    certificate, key = (file.read_bytes() for file in certificates.of("server"))
    credentials = grpc.ssl_server_credentials([(key, certificate)], certificates.ca.read_bytes(), True)
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers((Handlers(),))
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    print(f"grpcio {grpc.__version__} at 127.0.0.1:{port}", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(None)


if __name__ == "__main__":
    asyncio.run(main())
