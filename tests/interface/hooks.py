"""What schemathesis does not know by itself: bodies of a JSON text a line."""

import json

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def line(_context: object, value: object) -> bytes:
    return json.dumps(value).encode() + b"\n"
