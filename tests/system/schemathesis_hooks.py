"""Teaches Schemathesis the media types of the service that it does not know (`SCHEMATHESIS_HOOKS`)."""

import json

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def write_ndjson(ctx, value):
    del ctx
    return b"".join(
        json.dumps(each).encode() + b"\n" for each in (value if isinstance(value, list) else [value])
    )


@schemathesis.deserializer("application/x-ndjson")
def read_ndjson(ctx, response):
    """Of a batch that is generated from the form of one event: its one line."""
    del ctx
    return json.loads(response.content.partition(b"\n")[0])
