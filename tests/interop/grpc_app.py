"""grpcio as an application beside a node: grpc_app.py FOLDER. It ends with its input."""

import asyncio
import sys

import grpc

import echo
from grpc_server import OPTIONS, Handlers

# What the application says of itself, beside the Echo service.
SERVICE = "interop.App"


class App(grpc.GenericRpcHandler):
    """Tells what becomes of calls, and takes notes without an answer."""

    def __init__(self):
        self.note = b""

    def service(self, details):
        _, service, method = details.method.split("/")
        methods = {"Calls": self.calls, "Note": self.take, "Noted": self.noted, "Left": self.left}
        if service != SERVICE or method not in methods:
            return None
        return grpc.unary_unary_rpc_method_handler(methods[method])

    async def calls(self, request, _):
        """`running 1` waits for that, and answers how many there are."""
        what, at_least = request.decode().split()
        return str(await echo.CALLS.wait(what, int(at_least))).encode()

    async def take(self, request, context):
        """A oneway procedure says of itself that it is one."""
        self.note = request
        await context.send_initial_metadata([("rpc-shape", "oneway")])
        return b""

    async def noted(self, _, __):
        return self.note

    async def left(self, _, context):
        """How many seconds there are until the deadline, as the application sees it."""
        return str(context.time_remaining()).encode()


async def main():
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers((Handlers(), App()))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"grpcio {grpc.__version__} at 127.0.0.1:{port}", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(None)


if __name__ == "__main__":
    asyncio.run(main())
