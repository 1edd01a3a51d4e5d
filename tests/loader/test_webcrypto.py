"""crypto.subtle's computations: known answers, and whatever a guest may send instead."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import example, given
from hypothesis import strategies as st

from otelbridge.loader.webcrypto import CryptoError, heavy, perform
from otelbridge.loader.webkeys import generated, stored

RSA = stored(rsa.generate_private_key(65537, 1024))
EC = stored(ec.generate_private_key(ec.SECP256R1()))


def ask(operation: str, *parts: bytes, **args: Any) -> Any:
    """The value, or else the bytes, of one operation."""
    value, data = perform({"operation": operation, "sizes": [len(p) for p in parts], **args}, b"".join(parts))
    return data if data is not None else value


@pytest.mark.parametrize(
    ("operation", "parts", "args", "expected"),
    [
        ("digest", [b"abc"], {"hash": "SHA-256"}, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ("sign", [b"key", b""], {"name": "HMAC", "hash": "SHA-1"}, "f42bb0eeb018ebbd4597ae7213711ec60760843f"),
        # RFC 7914, 11
        (
            "derive",
            [b"passwd", b"salt", b""],
            {"name": "PBKDF2", "hash": "SHA-256", "iterations": 1, "length": 256},
            "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc",
        ),
        # NIST GCM test case 2
        (
            "encrypt",
            [bytes(16), bytes(16), bytes(12), b""],
            {"name": "AES-GCM", "tagLength": 128},
            "0388dace60b6a392f328c2b971b2fe78ab6e47d42cec13bdf53a67b21257bddf",
        ),
        # RFC 3394, 4.1
        (
            "encrypt",
            [bytes(range(16)), bytes.fromhex("00112233445566778899aabbccddeeff"), b"", b""],
            {"name": "AES-KW"},
            "1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5",
        ),
    ],
)
def test_known_answers(operation: str, parts: list[bytes], args: dict[str, Any], expected: str) -> None:
    """Results are those of the standards' examples."""
    assert ask(operation, *parts, **args).hex() == expected


@given(data=st.binary(max_size=200), low=st.integers(0, 255), bits=st.integers(4, 128))
@example(data=bytes(64), low=255, bits=8)
def test_a_counter_wraps_within_its_bits(data: bytes, low: int, bits: int) -> None:
    """AES-CTR counts in the lowest bits alone: the blocks are those of a counter made by hand."""
    counter = bytes([7] * 15 + [low])
    key = bytes(16)
    blocks = []
    for i in range(0, len(data), 16):
        number = int.from_bytes(counter, "big")
        mask = (1 << bits) - 1
        block = ((number & ~mask) | ((number + i // 16) & mask)).to_bytes(16, "big")
        blocks.append(Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(block))
    expected = bytes(a ^ b for a, b in zip(data, b"".join(blocks), strict=False))
    assert ask("encrypt", key, data, counter, b"", name="AES-CTR", length=bits) == expected


@pytest.mark.parametrize("name", ["ECDSA", "Ed25519", "RSASSA-PKCS1-v1_5", "RSA-PSS"])
def test_signatures(name: str) -> None:
    """A signature is verified by the other half, and by nothing else."""
    curve = "P-521" if name == "ECDSA" else None
    private, public = generated(name, curve, 1024, "AQAB")
    args = {"name": name, "hash": "SHA-256", "curve": curve, "saltLength": 20}
    signature = ask("sign", private, b"data", **args)
    assert ask("verify", public, signature, b"data", **args) is True
    assert ask("verify", public, signature, b"other", **args) is False
    assert ask("verify", public, signature[:-1], b"data", **args) is False


@pytest.mark.parametrize(("name", "curve"), [("ECDH", "P-256"), ("Ed25519", None), ("RSA-OAEP", None)])
def test_keys_survive_every_form(name: str, curve: str | None) -> None:
    """A key exported as JWK and imported again is the same key."""
    for half, data in zip(("private", "public"), generated(name, curve, 1024, "AQAB"), strict=True):
        jwk = ask("export", data, name=name, curve=curve, format="jwk", secret=half == "private")
        facts, again = perform(
            {"operation": "import", "name": name, "curve": curve, "format": "jwk", "sizes": [len(json.dumps(jwk))]},
            json.dumps(jwk).encode(),
        )
        assert (facts["type"], again) == (half, data)


def refused(error: str, operation: str, /, *parts: bytes, **args: Any) -> None:
    """Assert that an operation is refused with an error of this name."""
    with pytest.raises(CryptoError) as caught:
        ask(operation, *parts, **args)
    assert caught.value.name == error


def test_work_is_bounded() -> None:
    """Iterations, derived bits and RSA sizes have limits."""
    derive = {"name": "PBKDF2", "hash": "SHA-1"}
    refused("NotSupportedError", "derive", b"k", b"s", b"", **derive, iterations=100_001, length=160)
    refused("OperationError", "derive", b"k", b"s", b"", **derive, iterations=100_000, length=8000)
    refused("OperationError", "derive", b"k", b"s", b"", name="HKDF", hash="SHA-1", length=255 * 160 + 8)
    for bits in (512, 1000.5, 1023, 8192, 1e300, float("nan"), None):
        refused("OperationError", "generate", name="RSA-PSS", modulusLength=bits, exponent="AQAB")
    refused("OperationError", "generate", name="RSA-PSS", modulusLength=1024, exponent="AQ==")


def test_an_rsa_key_of_numbers_that_do_not_fit_is_refused() -> None:
    """A private key is checked before the library computes with it."""
    jwk = ask("export", RSA, name="RSA-PSS", format="jwk", secret=True)
    for member in ("d", "p", "dp", "qi", "n"):
        broken = json.dumps(jwk | {member: "AQAB"}).encode()
        refused("DataError" if member != "n" else "NotSupportedError", "import", broken, name="RSA-PSS", format="jwk")


def test_a_key_of_another_kind_is_refused() -> None:
    """An RSA key does not do as an elliptic one, nor a curve as another."""
    refused("DataError", "sign", RSA, b"x", name="ECDSA", hash="SHA-256", curve="P-256")
    refused("DataError", "sign", EC, b"x", name="RSA-PSS", hash="SHA-256", saltLength=1)
    refused("DataError", "sign", EC, b"x", name="ECDSA", hash="SHA-256", curve="P-384")
    refused("DataError", "import", b"\x30" * 9000, name="ECDSA", format="spki", curve="P-256")


def test_what_was_changed_is_not_decrypted() -> None:
    """A wrong tag, padding or wrapping is an OperationError that says no more."""
    sealed = ask("encrypt", bytes(16), b"text", bytes(12), b"aad", name="AES-GCM", tagLength=96)
    assert ask("decrypt", bytes(16), sealed, bytes(12), b"aad", name="AES-GCM", tagLength=96) == b"text"
    refused("OperationError", "decrypt", bytes(16), sealed, bytes(12), b"other", name="AES-GCM", tagLength=96)
    refused("OperationError", "decrypt", bytes(16), b"", bytes(12), b"", name="AES-GCM", tagLength=128)
    refused("OperationError", "decrypt", bytes(16), bytes(32), bytes(16), b"", name="AES-CBC")
    refused("OperationError", "decrypt", bytes(16), bytes(24), b"", b"", name="AES-KW")
    refused("OperationError", "decrypt", RSA, bytes(128), b"", b"", name="RSA-OAEP", hash="SHA-1")


_ANY = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10) | st.lists(st.integers(-5, 50), max_size=5)
_NAMES = st.sampled_from(
    ["HMAC", "AES-GCM", "AES-CBC", "AES-CTR", "AES-KW", "HKDF", "PBKDF2", "ECDSA", "ECDH", "Ed25519", "X25519", "RSA-OAEP", "RSA-PSS"]
)
_OPERATIONS = st.sampled_from(["digest", "sign", "verify", "encrypt", "decrypt", "derive", "import", "export"])


@given(
    operation=_OPERATIONS | _ANY,
    parts=st.lists(st.binary(max_size=40) | st.sampled_from([RSA, EC]), max_size=4),
    args=st.fixed_dictionaries(
        {},
        optional={
            "name": _NAMES | _ANY,
            "hash": st.sampled_from(["SHA-1", "SHA-512"]) | _ANY,
            "curve": st.sampled_from(["P-256", "P-521"]) | _ANY,
            "length": st.integers(0, 600) | _ANY,
            "iterations": st.integers(0, 10) | _ANY,
            "tagLength": st.sampled_from([32, 128]) | _ANY,
            "saltLength": _ANY,
            "format": st.sampled_from(["raw", "jwk", "spki", "pkcs8"]) | _ANY,
            "secret": _ANY,
            "sizes": _ANY,
        },
    ),
)
def test_whatever_a_guest_sends(operation: Any, parts: list[bytes], args: dict[str, Any]) -> None:
    """Any request is answered, or refused as a CryptoError."""
    request = {"operation": operation, "sizes": [len(p) for p in parts], **args}
    try:
        perform(request, b"".join(parts))
    except CryptoError as e:
        assert e.name.endswith("Error")


def test_sizes_that_lie() -> None:
    """Parts that do not add up to the blob are refused."""
    for sizes in ([4], [2], [-1], [1.0], [True], "3", None, [1, 2], []):
        with pytest.raises(CryptoError):
            perform({"operation": "digest", "hash": "SHA-1", "sizes": sizes}, b"abc")


def test_what_takes_long_is_known() -> None:
    """Large data, key derivation and private RSA keys go to a thread; the rest does not."""
    assert heavy({"operation": "digest"}, 1 << 20)
    assert heavy({"operation": "derive", "name": "PBKDF2"}, 10)
    assert heavy({"operation": "generate", "name": "RSA-PSS"}, 0)
    assert not heavy({"operation": "digest"}, 100)
    assert not heavy({"operation": "sign", "name": "HMAC"}, 100)
