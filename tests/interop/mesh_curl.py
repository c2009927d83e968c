"""curl as a client of nodes, over each version of HTTP that it has."""

import base64
import io
import json
import subprocess
from dataclasses import dataclass

import curl_cffi
import messages
from checks import LIMIT, Report, expect
from curl_cffi import CurlHttpVersion, CurlOpt
from grpc_app import SERVICE as APP

ECHO = f"/{messages.SERVICE}"
PROTOBUF = ("rpc-encoding: protobuf",)
# The application of plain HTTP.
SHOP = "interop.Shop"
JSON = ("content-type: application/json",)
EVENTS = ("accept: text/event-stream",)
# What curl says of itself when its time is over.
TIMED_OUT = 28


@dataclass
class Answer:
    """What curl has printed."""

    version: str
    status: int
    headers: dict
    body: bytes

    def json(self):
        return json.loads(self.body)


@dataclass
class Ended:
    """How a curl has ended, and the head and the body it was answered."""

    code: int
    why: str
    head: bytes
    body: bytes


class Curl:
    """Calls one node over one version of HTTP."""

    def __init__(self, who, version, base, options):
        self.who, self.version, self.base, self.options = who, version, base, options

    def run(self, path, body, headers, limit=LIMIT):
        """Posts to `path`, for at most `limit` seconds."""
        named = [word for header in ("expect:", *headers) for word in ("--header", header)]
        command = ["curl", "--silent", "--show-error", "--include", "--max-time", str(limit), *self.options]
        # The body comes last: curl would take `@-` twice otherwise.
        command += [*named, "--data-binary", "@-", self.base + path]
        ended = subprocess.run(command, check=False, input=body, capture_output=True)
        head, _, rest = ended.stdout.partition(b"\r\n\r\n")
        return Ended(ended.returncode, ended.stderr.decode().strip(), head, rest)

    def post(self, path, body=b"", headers=()):
        ended = self.run(path, body, headers)
        if ended.code != 0:
            raise AssertionError(f"curl ended with {ended.code}: {ended.why}")
        first, *lines = ended.head.decode().split("\r\n")
        version, status = first.split()[:2]
        pairs = (line.split(": ", 1) for line in lines)
        return Answer(version, int(status), {name.lower(): text for name, text in pairs}, ended.body)


class Libcurl(Curl):
    """Calls over HTTP/3: the library, since few programs called curl are built with it."""

    def run(self, path, body, headers, limit=LIMIT):
        curl, head, rest = curl_cffi.Curl(), io.BytesIO(), io.BytesIO()
        named = [header.encode() for header in ("expect:", *headers)]
        options = {
            CurlOpt.URL: self.base + path,
            CurlOpt.HTTP_VERSION: CurlHttpVersion.V3ONLY,
            CurlOpt.TIMEOUT_MS: int(limit * 1000),
            CurlOpt.HTTPHEADER: named,
            CurlOpt.POST: 1,
            CurlOpt.POSTFIELDSIZE: len(body),
            CurlOpt.POSTFIELDS: body,
            CurlOpt.HEADERDATA: head,
            CurlOpt.WRITEDATA: rest,
            **self.options,
        }
        for option, value in options.items():
            curl.setopt(option, value)
        try:
            curl.perform()
            code, why = 0, ""
        except curl_cffi.CurlError as error:
            code, why = error.code, str(error)
        curl.close()
        return Ended(code, why, head.getvalue().removesuffix(b"\r\n\r\n"), rest.getvalue())


def failure_json(message, status):
    """Returns the body of a failure."""
    fields = {"message": message, "status": status, "code": None, "metadata": {}}
    return json.dumps(fields, separators=(",", ":")).encode()


def events_of(body):
    """Returns the replies in a stream of events that has come to its end."""
    *events, end, rest = body.decode().split("\n\n")
    expect((end, rest), ("event: end\ndata: ", ""))
    return [messages.read_reply(base64.b64decode(event.removeprefix("data: "))) for event in events]


def post_unary(curl, _):
    answer = curl.post(f"{ECHO}/Unary", messages.request(b"a"), (*PROTOBUF, "echo-key: value"))
    expect((answer.version, answer.status), (curl.version, 200))
    expect(messages.read_reply(answer.body), (b"a", 0))
    told = [answer.headers.get(name) for name in ("rpc-status", "rpc-encoding", "rpc-transport", "echo-key")]
    expect(told, ["ok", "protobuf", "http", "value"])


def three_mib(curl, _):
    payload = bytes(range(256)) * (3 << 12)
    answer = curl.post(f"{ECHO}/Unary", messages.request(payload), PROTOBUF)
    expect((answer.status, messages.read_reply(answer.body) == (payload, 0)), (200, True))


def too_large(curl, _):
    answer = curl.post(f"{ECHO}/Unary", bytes(5 << 20), PROTOBUF)
    told = "request: body is larger than 4194304 bytes, the most that is taken"
    expect((answer.status, answer.body), (429, failure_json(told, "RESOURCE_EXHAUSTED")))


def failure_with_its_words(curl, _):
    answer = curl.post(f"{ECHO}/Unary", messages.request(failure=messages.failure(9, "not now")), PROTOBUF)
    expect((answer.status, answer.body), (412, failure_json("not now", "FAILED_PRECONDITION")))
    told = [answer.headers.get(name) for name in ("rpc-status", "rpc-error-message")]
    expect(told, ["failed-precondition", "not%20now"])


def unknown_service(curl, _):
    answer = curl.post("/no.such/Method")
    told = "service `no.such` is not known here or in the mesh"
    expect((answer.status, answer.body), (404, failure_json(told, "NOT_FOUND")))


def unknown_method(curl, _):
    answer = curl.post(f"{ECHO}/Nothing")
    expect((answer.status, answer.json()["status"]), (501, "UNIMPLEMENTED"))


def nothing_named(curl, _):
    answer = curl.post("/")
    expect((answer.status, answer.json()["status"]), (400, "INVALID_ARGUMENT"))


def named_by_headers(curl, _):
    headers = (*PROTOBUF, f"rpc-service: {messages.SERVICE}", "rpc-procedure: Unary")
    answer = curl.post("/", messages.request(b"a"), headers)
    expect((answer.status, messages.read_reply(answer.body)), (200, (b"a", 0)))


def oneway(curl, _):
    answer = curl.post(f"/{APP}/Note", b"remember")
    expect((answer.status, answer.body), (202, b""))
    expect(curl.post(f"/{APP}/Noted").body, b"remember")


def events(curl, _):
    asked = messages.stream_request(messages.request(b"b"), 3)
    answer = curl.post(f"{ECHO}/ServerStream", asked, EVENTS)
    expect((answer.status, answer.headers["content-type"]), (200, "text/event-stream"))
    expect(events_of(answer.body), [(b"b", 0), (b"b", 1), (b"b", 2)])


def failure_after_events(curl, _):
    asked = messages.stream_request(messages.request(b"b"), 1, messages.failure(10, "enough"))
    answer = curl.post(f"{ECHO}/ServerStream", asked, EVENTS)
    *_, last, rest = answer.body.split(b"\n\n")
    expect((last, rest), (b"event: error\ndata: " + failure_json("enough", "ABORTED"), b""))


def deadline(curl, calls):
    before = calls.wait("dropped")
    answer = curl.post(f"{ECHO}/Unary", messages.request(held=True), (*PROTOBUF, "rpc-ttl-ms: 200"))
    expect((answer.status, answer.headers["rpc-status"]), (504, "deadline-exceeded"))
    expect(calls.wait("dropped", before + 1), before + 1)


def given_up(curl, calls):
    before = calls.wait("dropped")
    ended = curl.run(f"{ECHO}/Unary", messages.request(held=True), PROTOBUF, limit=0.5)
    expect(ended.code, TIMED_OUT)
    expect(calls.wait("dropped", before + 1), before + 1)


def http_application(curl, _):
    answer = curl.post(f"/{SHOP}/Price", b'{"of": "tea"}', (*JSON, "rpc-caller: till", "x-tenant: 7"))
    told = {"rpc-service": SHOP, "rpc-caller": "till", "content-type": "application/json", "x-tenant": "7"}
    expect((answer.status, answer.json()), (200, {"asked": {"of": "tea"}, "told": told}))
    told = [answer.headers.get(name) for name in ("rpc-status", "content-type", "x-shelf")]
    expect(told, ["ok", "application/json", "3"])


def http_application_oneway(curl, _):
    answer = curl.post(f"/{SHOP}/Order", b"{}", JSON)
    expect((answer.status, answer.body), (202, b""))


def http_application_events(curl, _):
    answer = curl.post(f"/{SHOP}/Stock", b"{}", (*JSON, *EVENTS))
    expect((answer.status, answer.body), (200, b"data: 3\n\ndata: 2\n\ndata: 1\n\nevent: end\ndata: \n\n"))


def http_application_failure(curl, _):
    answer = curl.post(f"/{SHOP}/Sold", b"{}", JSON)
    told = {"message": "sold out", "status": "ABORTED", "code": "shop.sold", "metadata": {}}
    expect((answer.status, answer.json(), answer.headers["rpc-error-code"]), (409, told, "shop.sold"))


CHECKS = [
    post_unary,
    three_mib,
    too_large,
    failure_with_its_words,
    unknown_service,
    unknown_method,
    nothing_named,
    named_by_headers,
    oneway,
    events,
    failure_after_events,
    deadline,
    given_up,
    http_application,
    http_application_oneway,
    http_application_events,
    http_application_failure,
]


def all_of(about, local, gateway, certificates):
    """Returns a client for each way that this curl has, by what it says `about` itself."""
    certificate, key = certificates.of("client")
    port = gateway.rsplit(":", 1)[1]
    tls = ["--cacert", certificates.ca, "--cert", certificate, "--key", key, "--connect-to", f"::127.0.0.1:{port}"]
    name = " ".join(about.split()[:2])
    own, outside = f"{name} calls its own node over", f"{name} calls through a gateway over"
    socket = ["--unix-socket", local.removeprefix("unix:")]
    curls = [
        Curl(f"{own} HTTP/1.1", "HTTP/1.1", "http://localhost", ["--http1.1", *socket]),
        Curl(f"{own} HTTP/2", "HTTP/2", "http://localhost", ["--http2-prior-knowledge", *socket]),
        # By this name the gateway is certified.
        Curl(f"{outside} HTTP/1.1", "HTTP/1.1", "https://server", ["--http1.1", *tls]),
        Curl(f"{outside} HTTP/2", "HTTP/2", "https://server", ["--http2", *tls]),
    ]
    return [*curls, over_http3(port, certificates.ca, certificate, key)]


def over_http3(port, ca, certificate, key):
    """Returns libcurl as a client of the gateway at `port`."""
    options = {
        CurlOpt.CAINFO: str(ca),
        CurlOpt.SSLCERT: str(certificate),
        CurlOpt.SSLKEY: str(key),
        CurlOpt.RESOLVE: [f"server:{port}:127.0.0.1"],
    }
    name = curl_cffi.__curl_version__.split()[0]
    return Libcurl(f"{name} calls through a gateway over HTTP/3", "HTTP/3", f"https://server:{port}", options)


def call(curl, calls):
    report = Report(curl.who)
    for check in CHECKS:
        with report.check(check):
            check(curl, calls)
    return report


def without_certificate(gateway, certificates):
    port = gateway.rsplit(":", 1)[1]
    tls = ["--cacert", certificates.ca, "--connect-to", f"::127.0.0.1:{port}"]
    ended = Curl("", "", "https://server", tls).run(f"{ECHO}/Unary", b"", ())
    expect((ended.code != 0, "certificate required" in ended.why), (True, True))


def refused(gateway, certificates):
    report = Report("curl calls a gateway")
    with report.check(without_certificate):
        without_certificate(gateway, certificates)
    return report
