"""The messages of crates/test-rpc/proto, written and read by hand: five kinds of fields need no generator."""

import struct

SERVICE = "omnirelay.test.v1.Echo"


def _varint(value):
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)


def write(fields):
    """Writes {number: value} as a message. Bytes and text are length-delimited, numbers and truth are varints."""
    written = bytearray()
    for number, value in fields.items():
        if isinstance(value, str):
            value = value.encode()
        if isinstance(value, bytes):
            written += _varint(number << 3 | 2) + _varint(len(value)) + value
        elif value:
            written += _varint(number << 3) + _varint(int(value))
    return bytes(written)


def _read_varint(message, place):
    value = shift = 0
    while True:
        byte = message[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place


def read(message):
    """Reads a message as {number: value}; of a field that comes twice the last."""
    fields, place = {}, 0
    while place < len(message):
        key, place = _read_varint(message, place)
        value, place = _read_varint(message, place)
        if key & 7 == 2:
            value, place = message[place : place + value], place + value
        elif key & 7 != 0:
            raise ValueError(f"field {key >> 3} is of wire type {key & 7}, which these messages do not have")
        fields[key >> 3] = value
    return fields


def request(payload=b"", more_bytes=0, delay_ms=0, held=False, failure=None):
    """Makes an EchoRequest."""
    fields = {1: payload, 2: more_bytes, 3: delay_ms, 4: held}
    return write(fields if failure is None else {**fields, 5: failure})


def failure(code, message, details=b""):
    """Makes a Failure."""
    return write({1: code, 2: message, 3: details})


def stream_request(each, count, failure=None):
    """Makes a StreamRequest."""
    fields = {1: each, 2: count}
    return write(fields if failure is None else {**fields, 3: failure})


def reply(payload, index):
    """Makes an EchoReply."""
    return write({1: payload, 2: index})


def read_reply(message):
    """Returns payload and index of an EchoReply."""
    fields = read(message)
    return fields.get(1, b""), fields.get(2, 0)


def read_summary(message):
    """Returns messages and bytes of a Summary."""
    fields = read(message)
    return fields.get(1, 0), fields.get(2, 0)


def frame(message):
    """Frames a message as gRPC does: not compressed, its length, itself."""
    return struct.pack(">BI", 0, len(message)) + message


def unframe(buffer):
    """Takes the whole messages from the front of a bytearray, and leaves the rest."""
    messages = []
    while len(buffer) >= 5:
        compressed, length = struct.unpack_from(">BI", buffer)
        if compressed:
            raise ValueError("a compressed message, which nobody asked for")
        if len(buffer) < 5 + length:
            break
        messages.append(bytes(buffer[5 : 5 + length]))
        del buffer[: 5 + length]
    return messages
