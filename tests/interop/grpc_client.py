"""grpcio as a client of our server: grpc_client.py ADDRESS CERTIFICATES."""

import queue
import sys

import grpc

import messages
from checks import LIMIT, Calls, Certificates, Report, expect

OPTIONS = [
    # A certificate of the mesh has no DNS name; its subject is the name of the node.
    ("grpc.ssl_target_name_override", "server"),
    ("grpc.max_receive_message_length", 16 << 20),
    ("grpc.max_send_message_length", 16 << 20),
]


def path(method):
    return f"/{messages.SERVICE}/{method}"


class Client:
    """The four shapes, and the eye on the server."""

    def __init__(self, channel, calls):
        self.channel, self.calls = channel, calls
        self.unary = self.channel.unary_unary(path("Unary"))
        self.server_stream = self.channel.unary_stream(path("ServerStream"))
        self.client_stream = self.channel.stream_unary(path("ClientStream"))
        self.chat = self.channel.stream_stream(path("Chat"))


def secure(address, certificates):
    """Returns a channel of a client that shows its certificate."""
    certificate, key = (file.read_bytes() for file in certificates.of("client"))
    credentials = grpc.ssl_channel_credentials(certificates.ca.read_bytes(), key, certificate)
    return grpc.secure_channel(address, credentials, OPTIONS)


def failure_of(call):
    """Runs what must fail, and returns its error."""
    try:
        call()
    except grpc.RpcError as error:
        return error
    raise AssertionError("it did not fail")


def unary_with_metadata(client):
    metadata = (("echo-key", "value"), ("echo-bin", b"\x00\xff"), ("other", "stays"))
    reply, call = client.unary.with_call(messages.request(b"a"), metadata=metadata, timeout=LIMIT)
    expect(messages.read_reply(reply), (b"a", 0))
    returned = {item.key: item.value for item in call.initial_metadata()}
    expect((returned["echo-key"], returned["echo-bin"], "other" in returned), ("value", b"\x00\xff", False))
    expect(call.code(), grpc.StatusCode.OK)


def server_stream(client):
    replies = client.server_stream(messages.stream_request(messages.request(b"b"), 3), timeout=LIMIT)
    expect([messages.read_reply(reply) for reply in replies], [(b"b", 0), (b"b", 1), (b"b", 2)])


def client_stream(client):
    requests = [messages.request(payload) for payload in (b"c", b"dd", b"eee")]
    expect(messages.read_summary(client.client_stream(iter(requests), timeout=LIMIT)), (3, 6))


def chat_in_turns(client):
    said = queue.SimpleQueue()
    replies = client.chat(iter(said.get, None), timeout=LIMIT)
    for index, word in enumerate((b"one", b"two", b"three")):
        said.put(messages.request(word))
        expect(messages.read_reply(next(replies)), (word, index))
    said.put(None)
    expect(list(replies), [])


def failure_with_details_and_trailers(client):
    failure = messages.failure(9, "nöt now", b"why")
    asked = messages.request(failure=failure)
    error = failure_of(lambda: client.unary(asked, metadata=(("echo-key", "value"),), timeout=LIMIT))
    expect((error.code(), error.details()), (grpc.StatusCode.FAILED_PRECONDITION, "nöt now"))
    trailers = {item.key: item.value for item in error.trailing_metadata()}
    expect((trailers["grpc-status-details-bin"], trailers["echo-key"]), (b"why", "value"))


def failure_after_replies(client):
    asked = messages.stream_request(messages.request(b"b"), 2, messages.failure(10, "enough"))
    replies = client.server_stream(asked, timeout=LIMIT)
    expect([messages.read_reply(next(replies)) for _ in range(2)], [(b"b", 0), (b"b", 1)])
    error = failure_of(lambda: next(replies))
    expect((error.code(), error.details()), (grpc.StatusCode.ABORTED, "enough"))


def unknown_method(client):
    error = failure_of(lambda: client.channel.unary_unary(path("Nothing"))(b"", timeout=LIMIT))
    expect(error.code(), grpc.StatusCode.UNIMPLEMENTED)


def deadline(client):
    before = client.calls.wait("dropped")
    error = failure_of(lambda: client.unary(messages.request(held=True), timeout=0.2))
    expect(error.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
    expect(client.calls.wait("dropped", before + 1), before + 1)


def cancelled_unary(client):
    before = client.calls.wait("dropped")
    call = client.unary.future(messages.request(held=True), timeout=LIMIT)
    client.calls.wait("running", 1)
    call.cancel()
    expect(call.code(), grpc.StatusCode.CANCELLED)
    expect(client.calls.wait("dropped", before + 1), before + 1)


def cancelled_chat(client):
    before = client.calls.wait("dropped")
    said = queue.SimpleQueue()
    replies = client.chat(iter(said.get, None), timeout=LIMIT)
    said.put(messages.request(b"one"))
    expect(messages.read_reply(next(replies)), (b"one", 0))
    replies.cancel()
    said.put(None)
    expect(client.calls.wait("dropped", before + 1), before + 1)


def cancelled_upload(client):
    """What has come must not look like all there is."""
    before = client.calls.wait("dropped")
    said = queue.SimpleQueue()
    said.put(messages.request(b"a"))
    call = client.client_stream.future(iter(said.get, None), timeout=LIMIT)
    client.calls.wait("running", 1)
    call.cancel()
    said.put(None)
    expect(client.calls.wait("dropped", before + 1), before + 1)


def gzip_both_ways(client):
    payload = b"a" * 100_000
    reply = client.unary(messages.request(payload), compression=grpc.Compression.Gzip, timeout=LIMIT)
    expect(messages.read_reply(reply), (payload, 0))


def eight_mib(client):
    payload = bytes(range(256)) * (8 << 12)
    reply = client.unary(messages.request(payload), timeout=LIMIT)
    expect(messages.read_reply(reply) == (payload, 0), True)


CHECKS = [
    unary_with_metadata,
    server_stream,
    client_stream,
    chat_in_turns,
    failure_with_details_and_trailers,
    failure_after_replies,
    unknown_method,
    deadline,
    cancelled_unary,
    cancelled_chat,
    cancelled_upload,
    gzip_both_ways,
    eight_mib,
]


def without_certificate(address, certificates):
    channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(certificates.ca.read_bytes()), OPTIONS)
    error = failure_of(lambda: channel.unary_unary(path("Unary"))(messages.request(b"a"), timeout=LIMIT))
    expect(error.code(), grpc.StatusCode.UNAVAILABLE)
    channel.close()


def main():
    address, certificates = sys.argv[1], Certificates(sys.argv[2])
    report = Report(f"grpcio {grpc.__version__} calls us over HTTP/2")
    client = Client(secure(address, certificates), Calls(address, certificates))
    for check in CHECKS:
        with report.check(check):
            check(client)
    with report.check(without_certificate):
        without_certificate(address, certificates)
    client.channel.close()
    report.end()


if __name__ == "__main__":
    main()
