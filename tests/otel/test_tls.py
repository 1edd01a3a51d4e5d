"""Encrypted destinations over HTTP and gRPC: whom the exporter trusts, and the certificate it shows."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from otelbridge.errors import SettingsError
from otelbridge.spool import SpoolWriter
from tests.collector import FakeCollector
from tests.otel.conftest import MakeExporter, append, new_part
from tests.otel.test_exporter import line


class Files(NamedTuple):
    """A certificate and its key, as files."""

    certificate: Path
    key: Path


class Authority:
    """Signs certificates for this machine's address; `certificate` is what its clients trust."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        made = self._builder(self._name, self._key).add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.certificate = folder / f"{name}.pem"
        self.certificate.write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str) -> Files:
        """A certificate for 127.0.0.1."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        made = self._builder(subject, key).add_extension(address, critical=False).sign(self._key, hashes.SHA256())
        files = Files(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        files.certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        encoding = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        files.key.write_bytes(key.private_bytes(*encoding))
        return files

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        made = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(key.public_key())
        made = made.serial_number(x509.random_serial_number())
        return made.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))


class Secure(NamedTuple):
    """A collector that takes only clients with a certificate of its authority, and what a client needs."""

    collector: FakeCollector
    authority: Authority
    client: Files


@pytest.fixture
async def secure(tmp_path: Path) -> AsyncIterator[Secure]:
    """Return a collector with TLS on both of its ports."""
    authority = Authority(tmp_path, "authority")
    server = authority.issue("server")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority.certificate))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(server.certificate, server.key)
    async with FakeCollector(tls=context) as collector:
        await collector.listen_grpc(server.key.read_bytes(), server.certificate.read_bytes(), authority.certificate.read_bytes())
        yield Secure(collector, authority, authority.issue("client"))


PROTOCOLS = pytest.mark.parametrize("protocol", ["http/protobuf", "http/json", "grpc"])


def url(secure: Secure, protocol: str) -> str:
    return secure.collector.grpc_url if protocol == "grpc" else secure.collector.url


@PROTOCOLS
async def test_a_client_certificate_opens_the_way(secure: Secure, writer: SpoolWriter, exporting: MakeExporter, protocol: str) -> None:
    """With the authority to trust and a certificate to show, logs and spans arrive over TLS."""
    variables = {
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_CERTIFICATE": str(secure.authority.certificate),
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": str(secure.client.certificate),
        "OTEL_EXPORTER_OTLP_CLIENT_KEY": str(secure.client.key),
    }
    async with exporting(url(secure, protocol), **variables) as exporter:
        append(writer, new_part("secret"))
        assert await exporter.drain(20)
        assert exporter.exports()["total"] == {"logs": line(1, 1), "spans": line(1, 1)}
    assert secure.collector.bodies() == ["secret"]


@PROTOCOLS
@pytest.mark.parametrize("lacks", ["trust", "client certificate"])
async def test_without_trust_or_certificate_records_wait(
    secure: Secure, writer: SpoolWriter, exporting: MakeExporter, tmp_path: Path, protocol: str, lacks: str
) -> None:
    """A server nobody vouches for gets nothing, and one that asks for a certificate gives nothing: records stay queued, the
    error is shown, and they arrive once the settings are right."""
    stranger = Authority(tmp_path, "stranger")
    own = {"OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": str(secure.client.certificate), "OTEL_EXPORTER_OTLP_CLIENT_KEY": str(secure.client.key)}
    right = {"OTEL_EXPORTER_OTLP_CERTIFICATE": str(secure.authority.certificate), **own}
    wrong = (
        {**own, "OTEL_EXPORTER_OTLP_CERTIFICATE": str(stranger.certificate)}
        if lacks == "trust"
        else {k: v for k, v in right.items() if k not in own}
    )
    common = {"OTEL_EXPORTER_OTLP_PROTOCOL": protocol, "OTEL_TRACES_EXPORTER": "none"}
    append(writer, new_part("secret"))
    async with exporting(url(secure, protocol), **common, **wrong) as exporter:
        assert not await exporter.drain(2)
        report = exporter.exports()
        assert report["total"]["logs"] == line(1, 0, 1)
        assert report["destinations"][0]["lastError"]
    assert secure.collector.bodies() == []
    async with exporting(url(secure, protocol), **common, **right) as exporter:
        assert await exporter.drain(20)
    assert secure.collector.bodies() == ["secret"]


async def test_destinations_of_the_settings_have_their_own_certificates(
    secure: Secure, collector: FakeCollector, writer: SpoolWriter, exporting: MakeExporter
) -> None:
    """[[export.destinations]] takes certificates of its own, beside a plain destination of the variables."""
    private = {
        "name": "private",
        "endpoint": secure.collector.url,
        "certificate": str(secure.authority.certificate),
        "client_certificate": str(secure.client.certificate),
        "client_key": str(secure.client.key),
        "signals": ["logs"],
    }
    async with exporting(collector.url, settings={"export.destinations": [private]}) as exporter:
        append(writer, new_part("both"))
        assert await exporter.drain(20)
    assert secure.collector.bodies() == collector.bodies() == ["both"]


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"OTEL_EXPORTER_OTLP_CLIENT_KEY": "/dev/null"}, "both a client certificate and its key"),
        ({"OTEL_EXPORTER_OTLP_CERTIFICATE": "/nowhere.pem"}, "there is no file /nowhere.pem"),
    ],
)
async def test_half_a_certificate_is_refused_at_the_start(exporting: MakeExporter, variables: dict[str, str], said: str) -> None:
    """What can't work is an error before anything is sent."""
    with pytest.raises(SettingsError, match=said):
        async with exporting("https://127.0.0.1:1", **variables):
            pass
