"""Attestations over HTTP: signed when they are asked for, where the service holds the hub's key."""

from cryptography.hazmat.primitives.asymmetric import ec

from ledger.attestation import Form
from ledger.embedded.attesting import attest
from ledger.embedded.clock import posix_now
from ledger.embedded.keys import load_hub_key
from ledger.errors import ConfigError, UsageError
from ledger.event import escape_name
from ledger.server.histories import as_recorded
from ledger.server.messages import BUNDLE, NEVER, Request, Response
from ledger.server.problems import NOT_IMPLEMENTED, Refusal
from ledger.server.views import View


class Attesting:
    """Hands out attestations. Nobody is given one about what is not published."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._key: ec.EllipticCurvePrivateKey | None = None

    def vsa(self, request: Request) -> Response:
        """Return a SLSA Verification Summary. Raises NotFoundError, Refusal."""
        return self._attest(request, Form.VSA)

    def svr(self, request: Request) -> Response:
        """Return a Simple Verification Result. Raises NotFoundError, Refusal."""
        return self._attest(request, Form.SVR)

    def _attest(self, request: Request, form: Form) -> Response:
        revision = request.wanted.get("revision")
        read = as_recorded if request.text("as") == "recorded" else escape_name
        try:
            data, _ = attest(
                self._view.ledger,
                self._view.index,
                read(request.wanted["model"]),
                None if revision is None else read(revision),
                form=form,
                key=self._hub_key(),
                now=posix_now(),
            )
        except UsageError as error:
            raise Refusal(NOT_IMPLEMENTED, error.finding) from error
        return Response(body=data, content_type=BUNDLE, cache=NEVER)

    def _hub_key(self) -> ec.EllipticCurvePrivateKey:
        if self._key is None:
            ledger = self._view.ledger
            try:
                self._key = load_hub_key(ledger.layout.root / ledger.config.hub_key)
            except ConfigError as error:
                # Whose key is where is nobody's business who asks.
                raise Refusal(NOT_IMPLEMENTED, "This service does not hold the hub's key") from error
        return self._key
