"""Used instances that get their image back: what they were before a run is what they are after it, or they are refused."""

from __future__ import annotations

import ctypes
import mmap
import os

import pytest

from otelbridge.sandbox import Engine, JsRuntime, Stop, binary
from otelbridge.sandbox.javascript.runtime import ENGINE
from otelbridge.sandbox.pages import PAGE_BYTES, WrittenPages
from tests.sandbox.images import MIB, WORKER, Images, ask

pytestmark = pytest.mark.skipif(not WrittenPages().works, reason="this kernel has no PAGEMAP_SCAN")


async def test_every_run_is_the_first(images: Images) -> None:
    """Module scope, globals and tampered prototypes are as new after each restore, and random numbers are not."""
    instance = images.new(await images.image(WORKER % 10))
    answers = []
    for _ in range(5):
        answers.append(await ask(instance))
        assert instance.restore()
    assert [answer[:2] for answer in answers] == [["1", "1"]] * 5
    assert len({answer[2] for answer in answers}) == 5


async def test_memory_is_that_of_a_new_instance(images: Images) -> None:
    """Byte by byte, also the pages that were zero and the log lines."""
    image = await images.image(WORKER % 10_000)
    used, fresh = images.new(image), images.new(image)
    before = fresh.peek(0, fresh.memory_bytes)
    await ask(used)
    assert used.peek(0, used.memory_bytes) != before
    assert used.restore()
    assert used.peek(0, used.memory_bytes) == before


async def test_what_grew_is_refused(images: Images) -> None:
    """A memory can't shrink: an instance that has taken more than its image is not restored."""
    instance = images.new(await images.image(WORKER % 1_000_000))
    assert (await ask(instance))[3] == "1000000"
    assert not instance.restore()


async def test_what_wrote_much_is_refused(images: Images, javascript: JsRuntime) -> None:
    """More than 2 MiB take longer to copy than a new instance takes."""
    image = await images.image("let keep = new Uint8Array(8 << 20); export default { fetch() { keep.fill(7); return new Response('ok') } }")
    instance = images.new(image)
    assert await ask(instance) == ["ok"]
    assert instance.memory_bytes == image.size
    assert not instance.restore()


async def test_what_was_stopped_is_refused(images: Images) -> None:
    """A guest that was stopped in the middle has a stack that no image has."""
    instance = images.new(await images.image("export default { fetch() { for (;;); } }"))
    with pytest.raises(Stop):
        await ask(instance, 20_000_000)
    assert not instance.restore()


async def test_without_an_image(images: Images, javascript: JsRuntime) -> None:
    """An instance of the base, which a worker was loaded into, has nothing to go back to."""
    instance = javascript.new(memory_bytes=64 * MIB)
    images.made.append(instance)
    assert not instance.restore()


async def test_without_the_kernels_help(images: Images, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a kernel without PAGEMAP_SCAN nothing is restored; new instances serve instead."""
    instance = images.new(await images.image(WORKER % 10))
    await ask(instance)
    monkeypatch.setattr(engine.written, "works", False)
    assert not instance.restore()


async def test_an_image_without_the_kernels_help(javascript: JsRuntime, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the same image, found by comparing all of the memory."""
    images = Images(javascript)
    first = await images.loaded(
        "const keep = new Uint8Array(3 << 20).fill(7); export default { fetch() { return new Response(`${keep[9]}`) } }"
    )
    with_help = javascript.make_image(first)
    monkeypatch.setattr(engine.written, "works", False)
    without = javascript.make_image(first)
    first.close()
    assert with_help.pages is not None
    assert without.pages is not None
    assert with_help.pages.copies() == without.pages.copies()
    assert with_help.size == without.size


def test_the_engine_changes_nothing_but_its_memory() -> None:
    """Its one mutable global is the stack pointer, which is exported and so can be checked."""
    module = binary.parse(ENGINE.read_bytes())
    globals_ = dict(module.sections)[binary.GLOBAL]
    at, mutable = 1, 0
    assert globals_[0] < 128  # their number is one byte
    for _ in range(globals_[0]):
        mutable += globals_[at + 1]
        at += 3  # the type, whether it is mutable, and i32.const
        while globals_[at] & 0x80:
            at += 1
        assert globals_[at + 1] == 0x0B
        at += 2
    assert at == len(globals_)
    assert mutable == 1
    assert any(item.name == "__stack_pointer" for item in module.exports)


def test_written_pages() -> None:
    """The kernel names the pages that were written, joined where they touch."""
    pages = WrittenPages()
    fd = os.memfd_create("pages")
    os.ftruncate(fd, 64 * PAGE_BYTES)
    view = mmap.mmap(fd, 64 * PAGE_BYTES, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    hold = ctypes.c_char.from_buffer(view)
    start = ctypes.addressof(hold)
    view[3 * PAGE_BYTES] = view[4 * PAGE_BYTES + 5] = view[9 * PAGE_BYTES] = 1
    assert view[20 * PAGE_BYTES] == 0
    found = pages.ranges(start, 64 * PAGE_BYTES)
    assert found is not None
    assert [((a - start) // PAGE_BYTES, (b - start) // PAGE_BYTES) for a, b in found] == [(3, 5), (9, 10)]
    pages.close()
    pages.close()
    assert not pages.works
    del hold
    view.close()
    os.close(fd)
