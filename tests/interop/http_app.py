"""The library of Python itself as an application of plain HTTP: http_app.py FOLDER. It ends with its input."""

import http.server
import json
import platform
import sys
import threading
import time


class Handler(http.server.BaseHTTPRequestHandler):
    """A shop: a price, an order that is taken, a stream of stock, and failures."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(200 if self.path == "/healthz" else 404, {})

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        getattr(self, f"do_{self.headers['rpc-procedure']}", self.nothing)(body)

    def do_Price(self, body):
        told = {name: self.headers[name] for name in ("rpc-service", "rpc-caller", "content-type", "x-tenant")}
        self.answer(200, {"asked": json.loads(body), "told": told}, {"x-shelf": "3"})

    def do_Order(self, _):
        self.answer(202, None)

    def do_Stock(self, _):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        for left in (3, 2, 1):
            self.wfile.write(f"data: {left}\n\n".encode())

    def do_Sold(self, _):
        self.answer(409, {"message": "sold out", "status": "ABORTED", "code": "shop.sold"})

    def do_Slow(self, _):
        # Nobody waits for as long.
        time.sleep(3)

    def nothing(self, _):
        self.answer(501, None)

    def answer(self, status, value, headers=()):
        body = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        for name, text in {"content-type": "application/json", "content-length": str(len(body)), **dict(headers)}.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def main():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http.server {platform.python_version()} at 127.0.0.1:{server.server_port}", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
