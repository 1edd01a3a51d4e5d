"""crypto: random values, and crypto.subtle from the worker to the host and back. Known answers are of the standards' own examples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.prelude.conftest import Run, Throws

BYTES = "new TextEncoder().encode"
PAIRS = {
    "ECDSA": ("{ name: 'ECDSA', namedCurve: 'P-256' }", "{ name: 'ECDSA', hash: 'SHA-256' }"),
    "Ed25519": ("{ name: 'Ed25519' }", "'Ed25519'"),
    "RSASSA-PKCS1-v1_5": (
        "{ name: 'RSASSA-PKCS1-v1_5', modulusLength: 1024, publicExponent: new Uint8Array([1, 0, 1]), hash: 'SHA-256' }",
        "'RSASSA-PKCS1-v1_5'",
    ),
    "RSA-PSS": (
        "{ name: 'RSA-PSS', modulusLength: 1024, publicExponent: new Uint8Array([1, 0, 1]), hash: 'SHA-256' }",
        "{ name: 'RSA-PSS', saltLength: 32 }",
    ),
}
CIPHERS = {
    "AES-GCM": "{ name: 'AES-GCM', iv: new Uint8Array(12), additionalData: new Uint8Array(3) }",
    "AES-CBC": "{ name: 'AES-CBC', iv: new Uint8Array(16) }",
    "AES-CTR": "{ name: 'AES-CTR', counter: new Uint8Array(16).fill(255), length: 64 }",
}


def sign_and_verify(algorithm: str, use: str) -> str:
    """An expression: a new pair signs, its exported and imported halves verify."""
    return f"""(async (s, data) => {{
        const {{ publicKey, privateKey }} = await s.generateKey({algorithm}, true, ['sign', 'verify']);
        const signature = await s.sign({use}, privateKey, data);
        const results = [];
        for (const format of ['spki', 'jwk']) {{
            const key = await s.importKey(format, await s.exportKey(format, publicKey), {algorithm}, true, ['verify']);
            results.push(await s.verify({use}, key, signature, data), await s.verify({use}, key, signature, new Uint8Array(2)));
        }}
        for (const format of ['pkcs8', 'jwk']) {{
            const key = await s.importKey(format, await s.exportKey(format, privateKey), {algorithm}, false, ['sign']);
            results.push(await s.verify({use}, publicKey, await s.sign({use}, key, data), data));
        }}
        return results;
    }})(crypto.subtle, {BYTES}('message'))"""


def there_and_back(name: str, parameters: str) -> str:
    """An expression: text encrypted and decrypted by a new key."""
    return f"""(async (s, parameters) => {{
        const key = await s.generateKey({{ name: '{name}', length: 256 }}, false, ['encrypt', 'decrypt']);
        const secret = await s.encrypt(parameters, key, {BYTES}('hello'));
        return new TextDecoder().decode(await s.decrypt(parameters, key, secret));
    }})(crypto.subtle, {parameters})"""


TABLE: dict[str, tuple[str, Any]] = {
    "uuid": ("/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(crypto.randomUUID())", True),
    "uuids differ": ("crypto.randomUUID() === crypto.randomUUID()", False),
    "random values": ("((a) => [crypto.getRandomValues(a) === a, a.some((x) => x !== 0)])(new Uint32Array(16))", [True, True]),
    "random values of a wrong kind": ("crypto.getRandomValues(new Float32Array(1))", Throws("TypeMismatchError")),
    "too many random values": ("crypto.getRandomValues(new Uint8Array(65537))", Throws("QuotaExceededError")),
    "digests": (
        f"Promise.all(['SHA-1', 'sha-256', {{ name: 'SHA-384' }}, 'MD5'].map(async (a) => new Uint8Array(await crypto.subtle.digest(a, {BYTES}('abc'))).toHex().slice(0, 16)))",
        ["a9993e364706816a", "ba7816bf8f01cfea", "cb00753f45a35e8b", "900150983cd24fb0"],
    ),
    "unknown digest": ("crypto.subtle.digest('SHA-3', new Uint8Array(1))", Throws("NotSupportedError")),
    "digest of text": ("crypto.subtle.digest('SHA-1', 'abc')", Throws("TypeError")),
    "digest of a stream": (
        "(async (d) => { await new Blob(['abc']).stream().pipeTo(d); return new Uint8Array(await d.digest).toHex().slice(0, 16) })(new crypto.DigestStream('SHA-256'))",
        "ba7816bf8f01cfea",
    ),
    "hmac": (
        f"""(async (s) => {{
            const key = await s.importKey('raw', {BYTES}('key'), {{ name: 'HMAC', hash: 'SHA-256' }}, true, ['sign', 'verify']);
            const data = {BYTES}('The quick brown fox jumps over the lazy dog');
            const tag = await s.sign('HMAC', key, data);
            const jwk = await s.exportKey('jwk', key);
            return [new Uint8Array(tag).toHex(), await s.verify('HMAC', key, tag, data), await s.verify('HMAC', key, tag, new Uint8Array(1)), jwk, key.algorithm];
        }})(crypto.subtle)""",
        [
            "f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8",
            True,
            False,
            {"kty": "oct", "k": "a2V5", "alg": "HS256", "key_ops": ["sign", "verify"], "ext": True},
            {"name": "HMAC", "hash": {"name": "SHA-256"}, "length": 24},
        ],
    ),
    **{name: (sign_and_verify(*pair), [True, False, True, False, True, True]) for name, pair in PAIRS.items()},
    **{name: (there_and_back(name, parameters), "hello") for name, parameters in CIPHERS.items()},
    "AES-GCM with a wrong tag": (
        """(async (s, p) => {
            const key = await s.generateKey({ name: 'AES-GCM', length: 128 }, false, ['encrypt', 'decrypt']);
            const secret = new Uint8Array(await s.encrypt(p, key, new Uint8Array(4))); secret[0] ^= 1;
            return s.decrypt(p, key, secret);
        })(crypto.subtle, { name: 'AES-GCM', iv: new Uint8Array(12) })""",
        Throws("OperationError"),
    ),
    "HKDF": (
        """(async (s) => {
            const key = await s.importKey('raw', new Uint8Array(22).fill(11), 'HKDF', false, ['deriveBits']);
            const salt = Uint8Array.fromHex('000102030405060708090a0b0c'), info = Uint8Array.fromHex('f0f1f2f3f4f5f6f7f8f9');
            return new Uint8Array(await s.deriveBits({ name: 'HKDF', hash: 'SHA-256', salt, info }, key, 336)).toHex();
        })(crypto.subtle)""",
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
    ),
    "PBKDF2": (
        f"""(async (s) => {{
            const key = await s.importKey('raw', {BYTES}('password'), 'PBKDF2', false, ['deriveBits']);
            return new Uint8Array(await s.deriveBits({{ name: 'PBKDF2', hash: 'SHA-1', salt: {BYTES}('salt'), iterations: 4096 }}, key, 160)).toHex();
        }})(crypto.subtle)""",
        "4b007901b765489abead49d926f721d065a429c1",
    ),
    "PBKDF2, too often": (
        f"""(async (s) => {{
            const key = await s.importKey('raw', {BYTES}('password'), 'PBKDF2', false, ['deriveBits']);
            return s.deriveBits({{ name: 'PBKDF2', hash: 'SHA-1', salt: new Uint8Array(8), iterations: 1e9 }}, key, 160);
        }})(crypto.subtle)""",
        Throws("NotSupportedError", "100000"),
    ),
    "derived keys": (
        """(async (s, make) => {
            const [a, b] = [await make(), await make()];
            const [k, l] = [await s.deriveKey({ name: 'ECDH', public: b.publicKey }, a.privateKey, { name: 'AES-GCM', length: 256 }, true, ['encrypt']),
                await s.deriveKey({ name: 'ECDH', public: a.publicKey }, b.privateKey, { name: 'AES-GCM', length: 256 }, true, ['encrypt'])];
            return [new Uint8Array(await s.exportKey('raw', k)).toHex() === new Uint8Array(await s.exportKey('raw', l)).toHex(), k.algorithm];
        })(crypto.subtle, () => crypto.subtle.generateKey({ name: 'ECDH', namedCurve: 'P-384' }, false, ['deriveKey']))""",
        [True, {"name": "AES-GCM", "length": 256}],
    ),
    "X25519": (
        """(async (s) => {
            const { publicKey, privateKey } = await s.generateKey('X25519', false, ['deriveBits']);
            const copy = await s.importKey('raw', await s.exportKey('raw', publicKey), 'X25519', true, []);
            return (await s.deriveBits({ name: 'X25519', public: copy }, privateKey, null)).byteLength;
        })(crypto.subtle)""",
        32,
    ),
    "wrapped keys": (
        """(async (s) => {
            const rsa = await s.generateKey({ name: 'RSA-OAEP', modulusLength: 1024, publicExponent: new Uint8Array([1, 0, 1]), hash: 'SHA-1' }, false, ['wrapKey', 'unwrapKey']);
            const kw = await s.generateKey({ name: 'AES-KW', length: 128 }, false, ['wrapKey', 'unwrapKey']);
            const key = await s.generateKey({ name: 'AES-CBC', length: 256 }, true, ['encrypt']);
            const first = await s.unwrapKey('raw', await s.wrapKey('raw', key, rsa.publicKey, 'RSA-OAEP'), rsa.privateKey, 'RSA-OAEP', 'AES-CBC', true, ['encrypt']);
            const second = await s.unwrapKey('raw', await s.wrapKey('raw', key, kw, 'AES-KW'), kw, 'AES-KW', 'AES-CBC', true, ['encrypt']);
            const texts = await Promise.all([key, first, second].map(async (k) => new Uint8Array(await s.exportKey('raw', k)).toHex()));
            return new Set(texts).size;
        })(crypto.subtle)""",
        1,
    ),
    "key for another use": (
        "(async (s) => s.verify('HMAC', await s.generateKey({ name: 'HMAC', hash: 'SHA-1' }, true, ['sign']), new Uint8Array(1), new Uint8Array(1)))(crypto.subtle)",
        Throws("InvalidAccessError"),
    ),
    "key of another algorithm": (
        "(async (s) => s.sign('HMAC', await s.generateKey({ name: 'AES-GCM', length: 128 }, true, ['encrypt']), new Uint8Array(1)))(crypto.subtle)",
        Throws("InvalidAccessError"),
    ),
    "key that stays here": (
        "(async (s) => s.exportKey('raw', await s.generateKey({ name: 'AES-GCM', length: 128 }, false, ['encrypt'])))(crypto.subtle)",
        Throws("InvalidAccessError"),
    ),
    "no usages": ("crypto.subtle.generateKey({ name: 'AES-GCM', length: 128 }, true, [])", Throws("SyntaxError")),
    "usages that do not fit": ("crypto.subtle.generateKey({ name: 'AES-GCM', length: 128 }, true, ['sign'])", Throws("SyntaxError")),
    "AES with a wrong length": ("crypto.subtle.generateKey({ name: 'AES-GCM', length: 100 }, true, ['encrypt'])", Throws("OperationError")),
    "RSA that is too large": (
        "crypto.subtle.generateKey({ name: 'RSA-PSS', modulusLength: 16384, publicExponent: new Uint8Array([1, 0, 1]), hash: 'SHA-1' }, true, ['sign'])",
        Throws("OperationError"),
    ),
    "import of rubbish": (
        "crypto.subtle.importKey('spki', new Uint8Array(99), { name: 'ECDSA', namedCurve: 'P-256' }, true, ['verify'])",
        Throws("DataError"),
    ),
    "JWK of another kind": (
        "crypto.subtle.importKey('jwk', { kty: 'RSA' }, { name: 'ECDSA', namedCurve: 'P-256' }, true, ['verify'])",
        Throws("DataError"),
    ),
    "timing-safe comparison": (
        "[[1, 2], [1, 3]].map((b) => crypto.subtle.timingSafeEqual(new Uint8Array([1, 2]), new Uint8Array(b)))",
        [True, False],
    ),
    "no keys by new": ("new CryptoKey()", Throws("TypeError", "Illegal constructor")),
    "tags": ("[String(crypto), String(crypto.subtle)]", ["[object Crypto]", "[object SubtleCrypto]"]),
    "gzip": (
        "(async (text) => { const z = await new Response(new Blob([text]).stream().pipeThrough(new CompressionStream('gzip'))).bytes();"
        " return [z[0], z[1], z.length < 2000, await new Response(new Blob([z]).stream().pipeThrough(new DecompressionStream('gzip'))).text() === text] })('hello '.repeat(50000))",
        [31, 139, True, True],
    ),
    "deflate": (
        "Promise.all(['deflate', 'deflate-raw'].map((f) => new Response(new Blob(['abc']).stream().pipeThrough(new CompressionStream(f)).pipeThrough(new DecompressionStream(f))).text()))",
        ["abc", "abc"],
    ),
    "decompression of rubbish": (
        "new Response(new Blob(['nope']).stream().pipeThrough(new DecompressionStream('gzip'))).text()",
        Throws("TypeError"),
    ),
    "decompression that breaks off": (
        "(async () => { const z = await new Response(new Blob(['abc'.repeat(999)]).stream().pipeThrough(new CompressionStream('gzip'))).bytes();"
        " return new Response(new Blob([z.subarray(0, 12)]).stream().pipeThrough(new DecompressionStream('gzip'))).text() })()",
        Throws("TypeError", "incomplete"),
    ),
    "unknown compression": ("new CompressionStream('br')", Throws("TypeError")),
}


@pytest.mark.parametrize("name", TABLE)
def test_crypto(name: str, got: Mapping[str, Any]) -> None:
    """What a worker asks of crypto and of compression is done, or refused with the standard's error."""
    assert got[name] == TABLE[name][1]


@pytest.mark.asyncio(loop_scope="session")
async def test_the_host_s_work_counts_as_the_worker_s(run: Run) -> None:
    """A key derivation that the host computes is charged to the invocation: its limit ends it."""
    body, items = await run(
        """export default { async fetch() {
            const key = await crypto.subtle.importKey('raw', new Uint8Array(8), 'PBKDF2', false, ['deriveBits']);
            const p = { name: 'PBKDF2', hash: 'SHA-512', salt: new Uint8Array(8), iterations: 100000 };
            for (let i = 0; i < 3; i++) await crypto.subtle.deriveBits(p, key, 512);
            return new Response('done');
        } }"""
    )
    assert body == "done"
    assert items[0]["cpuTime"] >= 30
