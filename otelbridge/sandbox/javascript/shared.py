"""Images of workers that the processes of one service share: who runs a worker's module scope first stores what it left, the
others map the file.

An image holds whatever module scope computed. So it belongs to one registration of one worker and to one life of the
service: after a PUT, a restart or a SIGHUP module scope runs again, even if the code is the same.

Two processes may run it at once, because waiting would hang one process on a guest in another; which of the images is
stored first is that of both.
"""

from __future__ import annotations

from pathlib import Path

from otelbridge.sandbox.cache import Cache, Entry
from otelbridge.sandbox.javascript.image import Image
from otelbridge.sandbox.javascript.runtime import JsRuntime

__all__ = ["SharedImages"]

_MOST_BYTES = 512 << 20  # of all images
_MOST_IMAGE_BYTES = 64 << 20  # of one: a few large ones would push out all others


class SharedImages:
    """See the module's text. get(), put() and drop() do file I/O of 0.3 ms for a small image and of 30 ms for a large one: call
    them in a thread. `life`: a name that no other life of a service has used.
    """

    def __init__(self, runtime: JsRuntime, directory: Path, life: str) -> None:
        self._runtime = runtime
        self._life = life
        self._cache = Cache(directory, max_bytes=_MOST_BYTES)

    def get(self, registration: str, version: str) -> Image | None:
        """The image of this version of a worker as it was registered then, if a process has stored one."""
        entry = self._cache.get(self._key(registration, version))
        return self._load(entry) if entry is not None else None

    def put(self, registration: str, version: str, image: Image) -> Image:
        """Store an image that this process has made; the one to go on with, which is in a file unless that is not to be had."""
        files = self._runtime.files_of(image)
        if sum(map(len, files.values())) > _MOST_IMAGE_BYTES:
            return image
        entry = self._cache.put(self._key(registration, version), {"size": str(image.size)}, files, replace=False)
        return (self._load(entry) if entry is not None else None) or image

    def drop(self, registration: str, version: str) -> None:
        """Remove the image of a worker that was replaced or removed."""
        self._cache.drop(self._key(registration, version))

    def _load(self, entry: Entry) -> Image | None:
        return self._runtime.image_of(int(entry.meta["size"]), entry.files)

    def _key(self, registration: str, version: str) -> str:
        return self._runtime.key(f"{self._life}\0{registration}\0{version}")
