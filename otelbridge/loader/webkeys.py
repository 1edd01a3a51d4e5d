"""Keys of crypto.subtle: from and to PKCS #8, SubjectPublicKeyInfo, raw bytes and JSON Web Keys. Every input is hostile."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519

__all__ = ["CURVE_BYTES", "CryptoError", "exported", "generated", "imported", "load", "stored"]

MAX_KEY_BYTES = 8192
MAX_RSA_BITS = 4096  # an RSA operation takes time by the cube of its modulus, and holds the interpreter's lock

CURVES: dict[str, ec.EllipticCurve] = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}
CURVE_BYTES = {"P-256": 32, "P-384": 48, "P-521": 66}
_CURVE_NAMES = {curve.name: name for name, curve in CURVES.items()}
_OKP: dict[str, tuple[Any, Any]] = {
    "Ed25519": (ed25519.Ed25519PrivateKey, ed25519.Ed25519PublicKey),
    "X25519": (x25519.X25519PrivateKey, x25519.X25519PublicKey),
}

_PRIVATE = (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey, ed25519.Ed25519PrivateKey, x25519.X25519PrivateKey)


class CryptoError(Exception):
    """A computation that fails in the worker, as a DOMException of this name."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name
        self.message = message


def load(name: str, data: bytes, *, private: bool, curve: str | None = None) -> Any:
    """The key of a DER document, checked to be one of algorithm `name` (and of `curve`, if given)."""
    if len(data) > MAX_KEY_BYTES:
        raise CryptoError("DataError", "The key is too large.")
    try:
        if private:
            # The library's check tests the primes: 100 to 450 ms with the interpreter's lock held. _check_rsa does what safety needs.
            key: Any = serialization.load_der_private_key(data, None, unsafe_skip_rsa_key_validation=True)
        else:
            key = serialization.load_der_public_key(data)
    except (ValueError, TypeError, UnsupportedAlgorithm) as e:
        raise CryptoError("DataError", "The key could not be read.") from e
    return _checked(name, key, curve)


def _checked(name: str, key: Any, curve: str | None) -> Any:
    if name.startswith("RSA"):
        if isinstance(key, rsa.RSAPrivateKey):
            _check_rsa(key)
        elif not isinstance(key, rsa.RSAPublicKey):
            raise CryptoError("DataError", "The key is not an RSA key.")
        _check_public(key.key_size, (key.public_key() if isinstance(key, rsa.RSAPrivateKey) else key).public_numbers().e)
        return key
    if name in ("ECDSA", "ECDH"):
        if not isinstance(key, ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey) or key.curve.name not in _CURVE_NAMES:
            raise CryptoError("DataError", "The key is not one of a supported elliptic curve.")
        if curve is not None and _CURVE_NAMES[key.curve.name] != curve:
            raise CryptoError("DataError", f"The key is not one of curve {curve}.")
        return key
    if name not in _OKP or not isinstance(key, _OKP[name]):
        raise CryptoError("DataError", f"The key is not one of {name}.")
    return key


def _check_public(bits: int, exponent: int) -> None:
    if not 512 <= bits <= MAX_RSA_BITS:
        raise CryptoError("NotSupportedError", f"RSA keys must have 512 to {MAX_RSA_BITS} bits, not {bits}.")
    if exponent % 2 == 0 or not 3 <= exponent < 1 << 32:
        raise CryptoError("DataError", "The public exponent of the RSA key is not supported.")


def _check_rsa(key: rsa.RSAPrivateKey) -> None:
    """That the numbers belong together; whether the primes are prime is the worker's own affair."""
    if key.key_size > MAX_RSA_BITS:
        raise CryptoError("NotSupportedError", f"RSA keys may have {MAX_RSA_BITS} bits, not {key.key_size}.")
    k = key.private_numbers()
    n, e = k.public_numbers.n, k.public_numbers.e
    sane = (
        k.p > 2 and k.q > 2 and k.p % 2 == 1 and k.q % 2 == 1 and k.p != k.q and k.p * k.q == n and 0 < k.d < n
        and k.d * e % (k.p - 1) == 1 and k.d * e % (k.q - 1) == 1
        and k.dmp1 == k.d % (k.p - 1) and k.dmq1 == k.d % (k.q - 1) and k.iqmp < k.p and k.iqmp * k.q % k.p == 1
    )  # fmt: skip
    if not sane:
        raise CryptoError("DataError", "The numbers of the RSA key do not belong together.")


def stored(key: Any) -> bytes:
    """PKCS #8 of a private key, SubjectPublicKeyInfo of a public one: how the guest keeps it."""
    der = serialization.Encoding.DER
    if isinstance(key, _PRIVATE):
        return key.private_bytes(der, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return bytes(key.public_bytes(der, serialization.PublicFormat.SubjectPublicKeyInfo))


def generated(name: str, curve: Any, bits: Any, exponent: Any) -> tuple[bytes, bytes]:
    """A new pair: PKCS #8 and SubjectPublicKeyInfo."""
    key: Any
    if name.startswith("RSA"):
        e = int.from_bytes(_base64(exponent, urlsafe=False), "big")
        if not isinstance(bits, int | float) or bits != int(bits) or bits % 8 or not 1024 <= bits <= MAX_RSA_BITS or e not in (3, 65537):
            raise CryptoError("OperationError", f"RSA keys are made with 1024 to {MAX_RSA_BITS} bits and the exponents 3 and 65537.")
        key = rsa.generate_private_key(e, int(bits))
    elif name in ("ECDSA", "ECDH") and curve in CURVES:
        key = ec.generate_private_key(CURVES[curve])
    elif name in _OKP:
        key = _OKP[name][0].generate()
    else:
        raise CryptoError("NotSupportedError", f"Keys of {name} can not be generated.")
    return stored(key), stored(key.public_key())


def imported(name: str, format: str, curve: str | None, data: bytes) -> tuple[dict[str, Any], bytes]:
    """What the guest has to know of a key that it is given, and the key as it keeps it."""
    if len(data) > MAX_KEY_BYTES:
        raise CryptoError("DataError", "The key is too large.")
    if format == "pkcs8":
        key = load(name, data, private=True, curve=curve)
    elif format == "spki":
        key = load(name, data, private=False, curve=curve)
    elif format == "raw":
        key = _from_raw(name, curve, data)
    elif format == "jwk":
        key = _checked(name, _from_jwk(name, curve, data), curve)
    else:
        raise CryptoError("NotSupportedError", f'Unsupported key format "{format[:40]}".')
    facts: dict[str, Any] = {"type": "private" if isinstance(key, _PRIVATE) else "public"}
    if name.startswith("RSA"):
        public = key.public_key() if facts["type"] == "private" else key
        e = public.public_numbers().e
        facts["modulusLength"] = public.key_size
        facts["exponent"] = base64.b64encode(e.to_bytes((e.bit_length() + 7) // 8, "big")).decode()
    elif curve is not None:
        facts["curve"] = curve
    return facts, stored(key)


def exported(name: str, format: str, curve: str | None, data: bytes, private: bool) -> tuple[dict[str, str] | None, bytes | None]:
    """A key as JWK, or its raw bytes."""
    key = load(name, data, private=private, curve=curve)
    if format == "jwk":
        return _to_jwk(name, key), None
    if private or name.startswith("RSA"):
        raise CryptoError("NotSupportedError", f'Unsupported key format "{format[:40]}".')
    if isinstance(key, ec.EllipticCurvePublicKey):
        return None, key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    return None, bytes(key.public_bytes_raw())


def _from_raw(name: str, curve: str | None, data: bytes) -> Any:
    try:
        if name in ("ECDSA", "ECDH") and curve in CURVES:
            return ec.EllipticCurvePublicKey.from_encoded_point(CURVES[curve], data)
        if name in _OKP:
            return _OKP[name][1].from_public_bytes(data)
    except (ValueError, UnsupportedAlgorithm) as e:
        raise CryptoError("DataError", "The key could not be read.") from e
    raise CryptoError("NotSupportedError", f"Keys of {name} have no raw form.")


def _from_jwk(name: str, curve: str | None, data: bytes) -> Any:
    try:
        jwk = msgspec.json.decode(data, type=dict[str, str])
    except msgspec.DecodeError as e:
        raise CryptoError("DataError", "The JWK could not be read.") from e
    kty = jwk.get("kty")
    try:
        if name.startswith("RSA") and kty == "RSA":
            public = rsa.RSAPublicNumbers(_number(jwk, "e"), _number(jwk, "n"))
            _check_public(public.n.bit_length(), public.e)
            if "d" not in jwk:
                return public.public_key()
            p, q, d, dp, dq, qi = (_number(jwk, member) for member in ("p", "q", "d", "dp", "dq", "qi"))
            return rsa.RSAPrivateNumbers(p, q, d, dp, dq, qi, public).private_key(unsafe_skip_rsa_key_validation=True)
        if name in ("ECDSA", "ECDH") and kty == "EC":
            if jwk.get("crv") not in CURVES or (curve is not None and jwk["crv"] != curve):
                raise CryptoError("DataError", f"The JWK is not one of curve {curve}.")
            numbers = ec.EllipticCurvePublicNumbers(_number(jwk, "x"), _number(jwk, "y"), CURVES[jwk["crv"]])
            if "d" not in jwk:
                return numbers.public_key()
            return ec.EllipticCurvePrivateNumbers(_number(jwk, "d"), numbers).private_key()
        if name in _OKP and kty == "OKP" and jwk.get("crv") == name:
            kinds = _OKP[name]
            public_bytes = _base64(jwk.get("x"))
            if "d" not in jwk:
                return kinds[1].from_public_bytes(public_bytes)
            key = kinds[0].from_private_bytes(_base64(jwk["d"]))
            if key.public_key().public_bytes_raw() != public_bytes:
                raise CryptoError("DataError", "The two halves of the JWK do not belong together.")
            return key
    except (ValueError, TypeError, UnsupportedAlgorithm) as e:
        raise CryptoError("DataError", "The JWK does not hold a valid key.") from e
    raise CryptoError("DataError", f"The JWK is not a key of {name}.")


def _to_jwk(name: str, key: Any) -> dict[str, str]:
    if isinstance(key, rsa.RSAPublicKey | rsa.RSAPrivateKey):
        public = (key.public_key() if isinstance(key, rsa.RSAPrivateKey) else key).public_numbers()
        jwk = {"kty": "RSA", "n": _text(public.n), "e": _text(public.e)}
        if isinstance(key, rsa.RSAPrivateKey):
            k = key.private_numbers()
            jwk |= {"d": _text(k.d), "p": _text(k.p), "q": _text(k.q), "dp": _text(k.dmp1), "dq": _text(k.dmq1), "qi": _text(k.iqmp)}
        return jwk
    if isinstance(key, ec.EllipticCurvePublicKey | ec.EllipticCurvePrivateKey):
        curve = _CURVE_NAMES[key.curve.name]
        size = CURVE_BYTES[curve]
        point = (key.public_key() if isinstance(key, ec.EllipticCurvePrivateKey) else key).public_numbers()
        jwk = {"kty": "EC", "crv": curve, "x": _text(point.x, size), "y": _text(point.y, size)}
        if isinstance(key, ec.EllipticCurvePrivateKey):
            jwk["d"] = _text(key.private_numbers().private_value, size)
        return jwk
    if isinstance(key, _OKP[name][0]):
        return {"kty": "OKP", "crv": name, "x": _encode(key.public_key().public_bytes_raw()), "d": _encode(key.private_bytes_raw())}
    return {"kty": "OKP", "crv": name, "x": _encode(key.public_bytes_raw())}


def _base64(text: Any, *, urlsafe: bool = True) -> bytes:
    if not isinstance(text, str) or len(text) > MAX_KEY_BYTES:
        raise CryptoError("DataError", "A member of the key is missing or too long.")
    try:
        padded = text + "=" * (-len(text) % 4)
        return base64.b64decode(padded, altchars=b"-_" if urlsafe else None, validate=True)
    except (binascii.Error, ValueError) as e:
        raise CryptoError("DataError", "A member of the key is not base64url.") from e


def _number(jwk: Mapping[str, str], member: str) -> int:
    return int.from_bytes(_base64(jwk.get(member)), "big")


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _text(number: int, size: int | None = None) -> str:
    return _encode(number.to_bytes(size or max(1, (number.bit_length() + 7) // 8), "big"))
