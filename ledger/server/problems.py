"""Refusals over HTTP: RFC 9457 problem documents, one documented type for each class of ``ledger.errors``.

What a caller can act on is said in full. What is wrong with our own storage is said in one sentence, and in full in the
log of the service: it names files of ours, and nobody outside can repair them.
"""

from dataclasses import dataclass
from http import HTTPStatus

from ledger import errors
from ledger.encoding import format_canonical_json
from ledger.server.messages import NEVER, PROBLEM, Response

RETRY_AFTER = 1
"""Seconds that a caller is asked to wait when we are busy; a queue of events is through by then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One type of problem: the last part of its address, the status that it comes with, what it means, what to do."""

    slug: str
    status: int
    title: str
    says: str

    @property
    def type(self) -> str:
        """The address that the type has on every server."""
        return f"/problems/{self.slug}"


MALFORMED = Problem(
    slug="malformed",
    status=400,
    title="Not what the format demands",
    says="A parameter or the body is not exactly what the description of this address asks for. Correct it; sending the same again gives the same answer.",
)
TOO_LARGE = Problem(
    slug="too-large",
    status=413,
    title="Larger than a limit",
    says="Right in form, but larger than the limit that the answer names. Limits are not adjustable.",
)
UNAUTHORIZED = Problem(
    slug="unauthorized",
    status=401,
    title="No token, or one that does not count",
    says="Writing needs `Authorization: Bearer …` with a token that `hubledger token create` made and nobody revoked.",
)
FORBIDDEN = Problem(
    slug="forbidden",
    status=403,
    title="The token has not this scope",
    says="The token is known and may not do this. Make one with the scope that the answer names.",
)
NOT_FOUND = Problem(
    slug="not-found",
    status=404,
    title="No such thing",
    says="There is no such address, model, event, leaf or piece; what is recorded and not yet published counts as absent.",
)
NOT_ALLOWED = Problem(
    slug="method-not-allowed",
    status=405,
    title="Not this method",
    says="The address exists and is not asked this way; `Allow` lists the methods.",
)
TIMEOUT = Problem(
    slug="timeout",
    status=408,
    title="The body came too slowly",
    says="The whole body must arrive within the time that the answer names. Nothing was recorded.",
)
CONFLICT = Problem(
    slug="conflict",
    status=409,
    title="The event id stands for other facts",
    says="An event with this id is recorded, and its facts differ. Give the new observation an id of its own; to send the same event again is no conflict.",
)
HEAD_MOVED = Problem(
    slug="head-moved",
    status=409,
    title="A history grew meanwhile",
    says="The statement was chained to heads, or decided by a policy, that are not in force any more. The answer has the current `heads` and `policySha256`: decide and sign again.",
)
CHAIN = Problem(
    slug="chain",
    status=409,
    title="A gap or a fork in a history",
    says="A statement does not follow the one before it.",
)
WITHDRAWN = Problem(
    slug="withdrawn",
    status=410,
    title="Withdrawn",
    says="The bytes of this evidence were withdrawn. `reason` says why, `reference` where that is written down, and `leafIndex` names the statement that says so; every proof still verifies.",
)
WITHHELD = Problem(
    slug="withheld",
    status=403,
    title="Withheld",
    says="The piece may name a signer whom the ledger holds back; it is not handed out.",
)
UNSUPPORTED_MEDIA = Problem(
    slug="unsupported-media-type",
    status=415,
    title="Not this kind of body",
    says="The body must be of the media type that the description of this address names.",
)
UNPROCESSABLE = Problem(
    slug="not-verified",
    status=422,
    title="It does not verify",
    says="What was sent is well formed, and a signature or proof in it does not hold. Do not send it again: find out who made it.",
)
EVIDENCE_MISSING = Problem(
    slug="evidence-missing",
    status=422,
    title="Named, and not here",
    says="The event names pieces of evidence that are neither stored nor in the request. Nothing was recorded. Send them with it, store them first with PUT, or say `evidence=later`.",
)
REJECTED = Problem(
    slug="rejected",
    status=422,
    title="Refused for good",
    says="The log refuses this entry: sending it again cannot help.",
)
INTERNAL = Problem(
    slug="internal",
    status=500,
    title="Something of ours is wrong",
    says="Our own files or settings are not as they must be, or this is a bug. Whoever runs the service finds more in its log; the log of events itself is checked with `hubledger log audit`.",
)
NOT_IMPLEMENTED = Problem(
    slug="not-implemented",
    status=422,
    title="Not possible here",
    says="The service is not set up for what was asked, such as `wait=witnessed` of a log without witnesses. Nothing was recorded.",
)
UNAVAILABLE = Problem(
    slug="unavailable",
    status=503,
    title="Not at the moment",
    says="The service cannot take this now: it is busy, reads only, or waits for its disk. Nothing was answered that could be lost: send the same event again after `Retry-After`.",
)

PROBLEMS = tuple(value for value in list(globals().values()) if isinstance(value, Problem))
"""Every type that there is, in the order of its status."""
BY_SLUG = {each.slug: each for each in PROBLEMS}

PROBLEM_OF: dict[type[errors.LedgerError], Problem] = {
    errors.LedgerError: INTERNAL,
    errors.InputError: MALFORMED,
    errors.MalformedError: MALFORMED,
    errors.LimitError: TOO_LARGE,
    errors.UsageError: MALFORMED,
    errors.ConfigError: INTERNAL,
    errors.NotFoundError: NOT_FOUND,
    errors.NotEmptyError: INTERNAL,
    errors.ConflictError: CONFLICT,
    errors.WithdrawnError: WITHDRAWN,
    errors.RejectedError: REJECTED,
    errors.VerificationError: UNPROCESSABLE,
    errors.SignatureError: UNPROCESSABLE,
    errors.ProofError: UNPROCESSABLE,
    errors.ChainError: CHAIN,
    errors.MisbehaviourError: INTERNAL,
    errors.UnavailableError: UNAVAILABLE,
    errors.SourceError: UNAVAILABLE,
    errors.WriterLockedError: UNAVAILABLE,
    errors.HeadMovedError: HEAD_MOVED,
    errors.FrozenError: UNAVAILABLE,
    errors.QuorumError: UNAVAILABLE,
    errors.StorageError: UNAVAILABLE,
    errors.CorruptError: INTERNAL,
    errors.RestoredError: UNAVAILABLE,
    errors.WriteError: UNAVAILABLE,
}
"""What each class is over HTTP; a test holds this table to the tree."""


class Refusal(Exception):  # noqa: N818 - it is an answer
    """A refusal that exists over HTTP alone: no route, no token, too busy. ``more`` are members of the document."""

    def __init__(
        self, problem: Problem, detail: str, *, headers: tuple[tuple[str, str], ...] = (), **more: object
    ) -> None:
        self.problem, self.detail, self.headers, self.more = problem, detail, headers, more
        super().__init__(detail)


def busy(detail: str) -> Refusal:
    """Return the refusal of somebody for whom there is no room just now."""
    return Refusal(UNAVAILABLE, detail)


def problem_of(error: errors.LedgerError) -> Problem:
    """Return the type of an error: that of its class or of the nearest class above it."""
    return next(PROBLEM_OF[kind] for kind in type(error).__mro__ if kind in PROBLEM_OF)


def document(error: errors.LedgerError | Refusal) -> dict[str, object]:
    """Return the problem document of an error."""
    if isinstance(error, Refusal):
        return _common(error.problem) | {"detail": error.detail} | error.more
    problem = problem_of(error)
    value = _common(problem)
    if isinstance(error, (errors.StorageError, errors.ConfigError)) or problem is INTERNAL:
        return value | {"detail": _OURS}
    value["detail"] = error.finding
    if problem in (MALFORMED, TOO_LARGE) and error.next_step == error.default_next_step:
        value["nextStep"] = _COMPARE
    elif error.next_step:
        value["nextStep"] = error.next_step
    if isinstance(error, errors.WithdrawnError):
        value |= {"reason": error.reason, "leafIndex": error.leaf_index, "sha256": error.sha256.hex()}
        if error.reference is not None:
            value["reference"] = error.reference
    return value


_COMPARE = "Compare with the description of this address at /docs"
_OURS = "Our own storage or settings are in doubt; the log of the service says more"


def _common(problem: Problem) -> dict[str, object]:
    return {"type": problem.type, "title": problem.title, "status": problem.status}


def respond(error: errors.LedgerError | Refusal) -> Response:
    """Return the answer to somebody who is refused."""
    problem = error.problem if isinstance(error, Refusal) else problem_of(error)
    headers = error.headers if isinstance(error, Refusal) else ()
    if problem.status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers = (*headers, ("retry-after", str(RETRY_AFTER)))
    if problem.status == HTTPStatus.UNAUTHORIZED:
        headers = (*headers, ("www-authenticate", 'Bearer realm="hubledger"'))
    return Response(
        status=problem.status,
        content_type=PROBLEM,
        body=format_canonical_json(document(error)),
        cache=NEVER,
        headers=headers,
    )
