"""Mail: real SMTP on loopback, with TLS and a password; and what hostile names cannot do in a message."""

import datetime as dt
import email
import ipaddress
import socket
import ssl
import threading
from contextlib import contextmanager
from dataclasses import replace
from email.policy import default

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ledger.errors import SourceError
from monitor.mail import Mail, MailServer, format_mail
from tests.monitor.test_deliver import STORED

PASSWORD = "hunter2-hunter2"


class Box:
    def __init__(self):
        self.got, self.refuse = [], ()

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address in self.refuse:
            return "550 nobody of that name"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        self.got.append((session.authenticated, envelope.rcpt_tos, envelope.content))
        return "250 taken"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for 127.0.0.1; returns its file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail.example")])
    day = dt.timedelta(days=1)
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("mail") / "cert.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


@contextmanager
def serving(box, certificate=None, **more):
    if certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
        more |= {"tls_context": context, "require_starttls": True}
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    controller = Controller(box, hostname="127.0.0.1", port=port, **more)
    controller.start()
    try:
        yield port
    finally:
        controller.stop()


def sink(port, certificate=None, **more):
    recipients = more.pop("recipients", ("desk@example.org",))
    context = ssl.create_default_context(cafile=certificate) if certificate else None
    server = MailServer(host="127.0.0.1", port=port, **{"tls": "starttls" if certificate else "none"} | more)
    return Mail(server, sender="monitor@example.org", recipients=recipients, timeout=10, context=context)


def authenticator(server, session, envelope, mechanism, data):
    return AuthResult(success=data.password == PASSWORD.encode(), handled=False)


def test_a_finding_arrives_over_starttls_with_a_password(certificate):
    box = Box()
    with serving(box, certificate, authenticator=authenticator, auth_required=True) as port:
        sink(port, certificate, user="monitor", password=PASSWORD).send(STORED)
    ((authenticated, recipients, content),) = box.got
    assert (authenticated, recipients) == (True, ["desk@example.org"])
    message = email.message_from_bytes(content, policy=default)
    assert message["Subject"] == "[high] signer-changed a/b (models)"
    assert message["Message-ID"] == f"<{STORED.id}@hubledger-monitor>"
    assert message["Date"] == "Thu, 01 Jan 1970 00:16:40 +0000"
    assert "It changed. Ask." in message.get_content()
    assert PASSWORD.encode() not in content


def test_a_password_that_is_refused_is_not_repeated(certificate):
    with serving(Box(), certificate, authenticator=authenticator, auth_required=True) as port:
        with pytest.raises(SourceError, match=r"the user or password is refused \(535\)") as caught:
            sink(port, certificate, user="monitor", password="wrong-password").send(STORED)
    assert "wrong-password" not in str(caught.value)


def test_a_server_without_starttls_gets_neither_message_nor_password(certificate):
    box = Box()
    with serving(box) as port:
        with pytest.raises(SourceError, match="STARTTLS"):
            sink(port, certificate, user="monitor", password=PASSWORD).send(STORED)
    assert box.got == []


def test_a_certificate_that_nobody_vouches_for_is_refused(certificate):
    box = Box()
    with serving(box, certificate) as port:
        with pytest.raises(SourceError, match="certificate verify failed"):
            sink(port, tls="starttls").send(STORED)
    assert box.got == []


@pytest.mark.parametrize("refuse", [("a@example.org",), ("a@example.org", "b@example.org")])
def test_a_recipient_that_is_refused_is_said(refuse):
    box = Box()
    box.refuse = refuse
    with serving(box) as port:
        with pytest.raises(SourceError, match=", ".join(refuse)):
            sink(port, recipients=("a@example.org", "b@example.org")).send(STORED)


def test_a_server_that_says_nothing_is_not_waited_for_for_ever():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        mail = Mail(
            MailServer(host="127.0.0.1", port=silent.getsockname()[1]),
            sender="a@example.org",
            recipients=("b@example.org",),
            timeout=0.2,
        )
        with pytest.raises(SourceError, match="timed out"):
            mail.send(STORED)
    assert threading.active_count() >= 1


NAMES = [
    "acme/tiny\r\nBcc: victim@example.org",
    "acme/tiny\nSubject: all is well",
    "acme/\x00\x1b[2J\u202e\u2028tiny",
    "acme/" + "x" * 5000,
    "acme/=?utf-8?q?=0d=0aBcc:_v@example.org?=",
    "acme/жирный 模型",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_adds_no_header_and_no_line(name):
    hostile = replace(STORED, facts={**STORED.facts, "model": name, "text": f"{name} changed."})
    data = format_mail(hostile, sender="a@example.org", recipients=("b@example.org",)).as_bytes()
    message = email.message_from_bytes(data, policy=default)
    assert sorted(message.keys()) == sorted(
        [
            "From",
            "To",
            "Subject",
            "Date",
            "Message-ID",
            "Auto-Submitted",
            "Hubledger-Id",
            "MIME-Version",
            "Content-Type",
            "Content-Transfer-Encoding",
        ]
    )
    assert message["To"] == "b@example.org"
    assert str(message["Subject"]).lstrip().startswith("[high] signer-changed acme/")
    assert len(str(message["Subject"]).lstrip()) <= 200
    assert all(len(line) <= 998 for line in data.split(b"\r\n"))
