"""The Echo service of crates/test-rpc/proto, for whatever server carries it. What becomes of calls is printed."""

import asyncio

import messages

UNARY, SERVER_STREAM, CLIENT_STREAM, CHAT = "Unary", "ServerStream", "ClientStream", "Chat"

# Metadata whose key begins so comes back.
RETURNED = "echo-"


class Calls:
    """How many calls run, and how many were given up before their end."""

    def __init__(self):
        self.running = self.dropped = 0
        self._changed = asyncio.Event()

    def change(self, running=0, dropped=0):
        self.running, self.dropped = self.running + running, self.dropped + dropped
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait(self, what, at_least):
        """Waits until as many are `running` or were `dropped`, and returns how many."""
        while getattr(self, what) < at_least:
            await self._changed.wait()
        return getattr(self, what)


CALLS = Calls()


class Failed(Exception):
    """A call that fails as it was asked to."""

    def __init__(self, failure):
        fields = messages.read(failure)
        self.code = fields.get(1, 0)
        self.message = fields.get(2, b"").decode()
        self.details = fields.get(3, b"")
        super().__init__(self.message)


async def _answer(request, index):
    fields = messages.read(request)
    if fields.get(4):
        print("held", flush=True)
        await asyncio.Event().wait()
    if 5 in fields:
        raise Failed(fields[5])
    return messages.reply(fields.get(1, b"") + bytes(fields.get(2, 0)), index)


async def _repeat(requests):
    async for request in requests:
        fields = messages.read(request)
        for index in range(fields.get(2, 0)):
            yield await _answer(fields.get(1, b""), index)
        if 3 in fields:
            raise Failed(fields[3])


async def _sum(requests):
    count = size = 0
    async for request in requests:
        payload, _ = messages.read_reply(await _answer(request, count))
        count, size = count + 1, size + len(payload)
    yield messages.write({1: count, 2: size})


async def _each(requests):
    index = 0
    async for request in requests:
        yield await _answer(request, index)
        index += 1


async def serve(method, requests):
    """Yields the replies to a call. Says so when it is cancelled."""
    kind = {UNARY: _each, SERVER_STREAM: _repeat, CLIENT_STREAM: _sum, CHAT: _each}[method]
    CALLS.change(running=1)
    try:
        async for reply in kind(requests):
            yield reply
    except asyncio.CancelledError:
        print("dropped", flush=True)
        CALLS.change(dropped=1)
        raise
    finally:
        CALLS.change(running=-1)
