"""crypto.subtle's computations, for the host operation "subtle" of prelude/46-subtle.js. Pure functions over hostile input.

The guest holds the keys and sends them along: raw bytes of a secret, PKCS #8 of a private key, SubjectPublicKeyInfo of a
public one. Nothing is remembered between two calls.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature, InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, keywrap, padding
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric import padding as rsa_padding
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from otelbridge.loader.webkeys import CURVE_BYTES, CryptoError, exported, generated, imported, load

__all__ = ["CryptoError", "heavy", "perform"]

MAX_BYTES = 64 << 20
MAX_ITERATIONS = 100_000  # workerd's limit for PBKDF2
MAX_ROUNDS = 400_000  # iterations times blocks of output: half a second
PIECE = 256 << 10  # a cipher holds the interpreter's lock while it works: about a millisecond at a time

_HASHES: dict[str, tuple[str, hashes.HashAlgorithm]] = {
    "MD5": ("md5", hashes.MD5()),
    "SHA-1": ("sha1", hashes.SHA1()),
    "SHA-256": ("sha256", hashes.SHA256()),
    "SHA-384": ("sha384", hashes.SHA384()),
    "SHA-512": ("sha512", hashes.SHA512()),
}
_TAGS = (32, 64, 96, 104, 112, 120, 128)
_PSS_MAX_SALT = 512

Answer = tuple[Any, bytes | None]


def perform(args: Mapping[str, Any], blob: bytes) -> Answer:
    """The value and bytes of one operation (46-subtle.js lists them). Raises CryptoError for whatever is wrong with it."""
    operation = args.get("operation")
    found = _OPERATIONS.get(operation) if isinstance(operation, str) else None
    if found is None:
        raise CryptoError("NotSupportedError", "crypto.subtle has no such operation.")
    function, count = found
    try:
        return function(args, *_parts(args.get("sizes"), blob, count))
    except (ValueError, TypeError, OverflowError, UnsupportedAlgorithm) as e:
        # The libraries' own checks of lengths and numbers. Their texts may quote the input: they stay here.
        raise CryptoError("OperationError", "The operation failed for an operation-specific reason.") from e


def heavy(args: Mapping[str, Any], size: int) -> bool:
    """Whether an operation may take more than about a millisecond and belongs on a thread."""
    operation, name = args.get("operation"), str(args.get("name"))
    if size > PIECE or name == "PBKDF2":
        return True
    return name.startswith("RSA") and operation in ("generate", "sign", "decrypt", "import", "export")


def _parts(sizes: Any, blob: bytes, count: int) -> list[bytes]:
    if not isinstance(sizes, list) or len(sizes) != count or len(blob) > MAX_BYTES:
        raise CryptoError("OperationError", "The data is too large or incomplete.")
    parts, at = [], 0
    for size in sizes:
        if type(size) is not int or size < 0 or at + size > len(blob):
            raise CryptoError("OperationError", "The data is incomplete.")
        parts.append(blob[at : at + size])
        at += size
    if at != len(blob):
        raise CryptoError("OperationError", "The data is incomplete.")
    return parts


def _hash(args: Mapping[str, Any]) -> tuple[str, hashes.HashAlgorithm]:
    name = args.get("hash")
    if not isinstance(name, str) or name not in _HASHES:
        raise CryptoError("NotSupportedError", "There is no such hash function.")
    return _HASHES[name]


def _whole(value: Any, low: int, high: int, what: str) -> int:
    if not isinstance(value, int | float) or value != value or not low <= value <= high or value != int(value):
        raise CryptoError("OperationError", f"The {what} must be a whole number from {low} to {high}.")
    return int(value)


def _digest(args: Mapping[str, Any], data: bytes) -> Answer:
    return None, hashlib.new(_hash(args)[0], data, usedforsecurity=False).digest()


# ---------------------------------------------------------------------------------------------------- signatures


def _pss(args: Mapping[str, Any], algorithm: hashes.HashAlgorithm) -> rsa_padding.PSS:
    return rsa_padding.PSS(rsa_padding.MGF1(algorithm), _whole(args.get("saltLength"), 0, _PSS_MAX_SALT, "length of the salt"))


def _sign(args: Mapping[str, Any], key: bytes, data: bytes) -> Answer:
    name = str(args.get("name"))
    if name == "HMAC":
        return None, hmac.digest(key, data, _hash(args)[0])
    private = load(name, key, private=True, curve=args.get("curve"))
    if name == "Ed25519":
        return None, private.sign(data)
    algorithm = _hash(args)[1]
    if name == "ECDSA":
        r, s = decode_dss_signature(private.sign(data, ec.ECDSA(algorithm)))
        size = _curve_bytes(args)
        return None, r.to_bytes(size, "big") + s.to_bytes(size, "big")
    if name == "RSASSA-PKCS1-v1_5":
        return None, private.sign(data, rsa_padding.PKCS1v15(), algorithm)
    if name == "RSA-PSS":
        return None, private.sign(data, _pss(args, algorithm), algorithm)
    raise CryptoError("NotSupportedError", "The algorithm makes no signatures.")


def _verify(args: Mapping[str, Any], key: bytes, signature: bytes, data: bytes) -> Answer:
    name = str(args.get("name"))
    if name == "HMAC":
        return hmac.compare_digest(hmac.digest(key, data, _hash(args)[0]), signature), None
    public = load(name, key, private=False, curve=args.get("curve"))
    try:
        if name == "Ed25519":
            public.verify(signature, data)
            return True, None
        algorithm = _hash(args)[1]
        if name == "ECDSA":
            size = _curve_bytes(args)
            if len(signature) != 2 * size:
                return False, None
            r, s = int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big")
            public.verify(encode_dss_signature(r, s), data, ec.ECDSA(algorithm))
        elif name == "RSASSA-PKCS1-v1_5":
            public.verify(signature, data, rsa_padding.PKCS1v15(), algorithm)
        elif name == "RSA-PSS":
            public.verify(signature, data, _pss(args, algorithm), algorithm)
        else:
            raise CryptoError("NotSupportedError", "The algorithm makes no signatures.")
    except InvalidSignature:
        return False, None
    return True, None


def _curve_bytes(args: Mapping[str, Any]) -> int:
    curve = args.get("curve")
    if not isinstance(curve, str) or curve not in CURVE_BYTES:
        raise CryptoError("DataError", "The key is of no supported curve.")
    return CURVE_BYTES[curve]


# ----------------------------------------------------------------------------------------------------- encryption


def _run(context: CipherContext, data: bytes) -> bytes:
    if len(data) <= PIECE:
        return context.update(data) + context.finalize()
    pieces = [context.update(data[at : at + PIECE]) for at in range(0, len(data), PIECE)]
    return b"".join([*pieces, context.finalize()])


def _aes(key: bytes) -> algorithms.AES:
    if len(key) not in (16, 24, 32):
        raise CryptoError("OperationError", "An AES key has 16, 24 or 32 bytes.")
    return algorithms.AES(key)


def _ctr(args: Mapping[str, Any], key: bytes, data: bytes, counter: bytes) -> bytes:
    """AES-CTR whose counter is the lowest `length` bits: those wrap around, the others stay."""
    bits = _whole(args.get("length"), 1, 128, "length of the counter")
    if len(counter) != 16:
        raise CryptoError("OperationError", "The counter must have 16 bytes.")
    blocks = -(-len(data) // 16)
    if blocks > 1 << bits:
        raise CryptoError("OperationError", "The data is too long for a counter of this length.")
    start = int.from_bytes(counter, "big")
    low = start & ((1 << bits) - 1)
    first = min(len(data), ((1 << bits) - low) * 16)
    cipher = _aes(key)
    out = _run(Cipher(cipher, modes.CTR(counter)).encryptor(), data[:first])
    if first < len(data):
        out += _run(Cipher(cipher, modes.CTR((start - low).to_bytes(16, "big"))).encryptor(), data[first:])
    return out


def _encrypt(args: Mapping[str, Any], key: bytes, data: bytes, iv: bytes, extra: bytes) -> Answer:
    name = str(args.get("name"))
    if name == "AES-GCM":
        size = _tag_bytes(args)
        gcm = Cipher(_aes(key), modes.GCM(iv, min_tag_length=4)).encryptor()
        gcm.authenticate_additional_data(extra)
        return None, _run(gcm, data) + gcm.tag[:size]
    if name == "AES-CBC":
        pad = padding.PKCS7(128).padder()
        return None, _run(Cipher(_aes(key), modes.CBC(iv)).encryptor(), pad.update(data) + pad.finalize())
    if name == "AES-CTR":
        return None, _ctr(args, key, data, iv)
    if name == "AES-KW":
        return None, keywrap.aes_key_wrap(key, data)
    if name == "RSA-OAEP":
        return None, load(name, key, private=False).encrypt(data, _oaep(args, extra))
    raise CryptoError("NotSupportedError", "The algorithm does not encrypt.")


def _decrypt(args: Mapping[str, Any], key: bytes, data: bytes, iv: bytes, extra: bytes) -> Answer:
    name = str(args.get("name"))
    try:
        if name == "AES-GCM":
            size = _tag_bytes(args)
            if len(data) < size:
                raise CryptoError("OperationError", "The data is shorter than its tag.")
            cut = len(data) - size
            gcm = Cipher(_aes(key), modes.GCM(iv, data[cut:], min_tag_length=4)).decryptor()
            gcm.authenticate_additional_data(extra)
            return None, _run(gcm, data[:cut])
        if name == "AES-CBC":
            pad = padding.PKCS7(128).unpadder()
            return None, pad.update(_run(Cipher(_aes(key), modes.CBC(iv)).decryptor(), data)) + pad.finalize()
        if name == "AES-CTR":
            return None, _ctr(args, key, data, iv)
        if name == "AES-KW":
            return None, keywrap.aes_key_unwrap(key, data)
        if name == "RSA-OAEP":
            return None, load(name, key, private=True).decrypt(data, _oaep(args, extra))
    except (InvalidTag, keywrap.InvalidUnwrap) as e:
        raise CryptoError("OperationError", "Decryption failed.") from e
    raise CryptoError("NotSupportedError", "The algorithm does not decrypt.")


def _tag_bytes(args: Mapping[str, Any]) -> int:
    bits = args.get("tagLength")
    if bits not in _TAGS:
        raise CryptoError("OperationError", f"The length of the tag must be one of {', '.join(map(str, _TAGS))}.")
    return int(bits) // 8


def _oaep(args: Mapping[str, Any], label: bytes) -> rsa_padding.OAEP:
    algorithm = _hash(args)[1]
    return rsa_padding.OAEP(rsa_padding.MGF1(algorithm), algorithm, label or None)


# ------------------------------------------------------------------------------------------------- derivation, keys


def _derive(args: Mapping[str, Any], key: bytes, salt: bytes, info: bytes) -> Answer:
    name = str(args.get("name"))
    length = args.get("length")
    if name in ("ECDH", "X25519"):
        private = load(name, key, private=True, curve=args.get("curve"))
        public = load(name, salt, private=False, curve=args.get("curve"))
        secret: bytes = private.exchange(ec.ECDH(), public) if name == "ECDH" else private.exchange(public)
        if length is None:
            return None, secret
        return None, secret[: _whole(length, 0, len(secret) * 8, "length of the derived bits") // 8]
    algorithm_name, algorithm = _hash(args)
    size = _whole(length, 0, 255 * algorithm.digest_size * 8, "length of the derived bits") // 8
    if name == "HKDF":
        return None, HKDF(algorithm, size, salt, info).derive(key) if size else b""
    if name == "PBKDF2":
        iterations = args.get("iterations")
        if isinstance(iterations, int | float) and iterations > MAX_ITERATIONS:
            raise CryptoError("NotSupportedError", f"PBKDF2 iteration counts above {MAX_ITERATIONS} are not supported.")
        rounds = _whole(iterations, 1, MAX_ITERATIONS, "number of iterations")
        if rounds * -(-size // algorithm.digest_size) > MAX_ROUNDS:
            raise CryptoError("OperationError", "So many bits with so many iterations are too much work.")
        return None, hashlib.pbkdf2_hmac(algorithm_name, key, salt, rounds, size) if size else b""
    raise CryptoError("NotSupportedError", "The algorithm derives no bits.")


def _generate(args: Mapping[str, Any]) -> Answer:
    private, public = generated(str(args.get("name")), args.get("curve"), args.get("modulusLength"), args.get("exponent"))
    return len(private), private + public


def _import(args: Mapping[str, Any], data: bytes) -> Answer:
    return imported(str(args.get("name")), str(args.get("format")), _curve(args), data)


def _export(args: Mapping[str, Any], data: bytes) -> Answer:
    return exported(str(args.get("name")), str(args.get("format")), _curve(args), data, args.get("secret") is True)


def _curve(args: Mapping[str, Any]) -> str | None:
    curve = args.get("curve")
    return curve if isinstance(curve, str) else None


# The function of each operation, and how many parts its blob has.
_OPERATIONS: dict[str, tuple[Callable[..., Answer], int]] = {
    "digest": (_digest, 1),
    "sign": (_sign, 2),
    "verify": (_verify, 3),
    "encrypt": (_encrypt, 4),
    "decrypt": (_decrypt, 4),
    "derive": (_derive, 3),
    "generate": (_generate, 0),
    "import": (_import, 1),
    "export": (_export, 1),
}
