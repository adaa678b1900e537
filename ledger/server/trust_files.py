"""The ledger's trust file at its well-known address, with every version that was published."""

from ledger.embedded.trust_versions import read_trust, read_trust_signature
from ledger.server import messages
from ledger.server.messages import Request, Response
from ledger.server.views import View


class TrustFiles:
    """Hands out trust files and their signatures; who takes one compares its digest, or has an older one that signs it."""

    def __init__(self, view: View) -> None:
        self._layout = view.ledger.layout

    def trust(self, request: Request) -> Response:
        """Return the trust file that counts, or one version. Raises NotFoundError."""
        return _answer(read_trust(self._layout, _version(request)))

    def signature(self, request: Request) -> Response:
        """Return the signature of the trust file that counts, or of one version. Raises NotFoundError."""
        return _answer(read_trust_signature(self._layout, _version(request)))


def _version(request: Request) -> int | None:
    return request.number("version", 0) if request.text("version") is not None else None


def _answer(data: bytes) -> Response:
    return Response(body=data, content_type=messages.TEXT)
