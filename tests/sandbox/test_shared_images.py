"""Images that processes share: the same worker comes back, for one registration and life only, and never a damaged one."""

from __future__ import annotations

from pathlib import Path

import pytest

from otelbridge.sandbox import JsRuntime, SharedImages
from otelbridge.sandbox.javascript import shared as shared_room
from tests.sandbox.images import MIB, WORKER, Images, ask

STATE = """const state = new Array(%d).fill('entry').map((text, i) => text + i); let calls = 0;
export default { fetch() { return new Response(`${state.length} ${state.at(-1)} ${++calls} ${Math.random()}`) } }"""


@pytest.fixture
def shared(javascript: JsRuntime, tmp_path: Path) -> SharedImages:
    """Those of one process."""
    return SharedImages(javascript, tmp_path / "images", "life")


@pytest.fixture
def others(javascript: JsRuntime, shared: SharedImages, tmp_path: Path) -> SharedImages:
    """Those of another process of the same service."""
    return SharedImages(javascript, tmp_path / "images", "life")


@pytest.mark.parametrize("size", [10, 30_000, 200_000])
async def test_another_process_goes_on_from_it(images: Images, shared: SharedImages, others: SharedImages, size: int) -> None:
    """The state of module scope is there, in images of any size; instances don't see each other and draw numbers of their own."""
    made = await images.image(STATE % size)
    assert shared.get("r", "v") is None
    stored = shared.put("r", "v", made)
    found = others.get("r", "v")
    assert found is not None
    answers = [await ask(images.new(image)) for image in (made, stored, found, found)]
    assert [answer[:3] for answer in answers] == [[f"{size}", f"entry{size - 1}", "1"]] * 4
    assert len({answer[3] for answer in answers}) == 4


async def test_memory_is_the_same(images: Images, shared: SharedImages) -> None:
    """Byte by byte, in a new instance and in one that gets its image back."""
    made = await images.image(WORKER % 10_000)
    stored = shared.put("r", "v", made)
    fresh, used = images.new(made), images.new(stored)
    before = fresh.peek(0, fresh.memory_bytes)
    assert used.peek(0, used.memory_bytes) == before
    await ask(used)
    if used.restore():  # as far as the kernel helps
        assert used.peek(0, used.memory_bytes) == before


async def test_an_instance_outlives_its_file_and_its_image(images: Images, shared: SharedImages) -> None:
    """What is mapped stays as it is when the file goes and nobody holds the image."""
    stored = shared.put("r", "v", await images.image(WORKER % 10))
    instance = images.new(stored)
    del stored
    shared.drop("r", "v")
    for _ in range(3):
        assert (await ask(instance))[:2] == ["1", "1"]
        if not instance.restore():
            break


async def test_it_belongs_to_one_registration_version_and_life(
    images: Images, shared: SharedImages, javascript: JsRuntime, tmp_path: Path
) -> None:
    """Nobody else gets it."""
    shared.put("r", "v", await images.image(STATE % 10))
    later = SharedImages(javascript, tmp_path / "images", "another life")
    assert [shared.get("q", "v"), shared.get("r", "w"), later.get("r", "v")] == [None] * 3
    assert shared.get("r", "v") is not None


async def test_the_first_one_stored_is_that_of_all(images: Images, shared: SharedImages, others: SharedImages) -> None:
    """Who made an image at the same time goes on with the other one's."""
    shared.put("r", "v", await images.image(STATE % 1))
    image = others.put("r", "v", await images.image(STATE % 2))
    assert (await ask(images.new(image)))[0] == "1"


async def test_a_damaged_one_is_stored_anew(images: Images, shared: SharedImages, tmp_path: Path) -> None:
    """Whichever of its files it is, only what was stored is used."""
    image = await images.image(STATE % 1)
    shared.put("r", "v", image)
    (entry,) = (tmp_path / "images").iterdir()
    for path in list(entry.iterdir()):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.unlink()
        path.write_bytes(data)
        assert shared.get("r", "v") is None
        image = shared.put("r", "v", image)
        assert (await ask(images.new(image)))[0] == "1"
        assert shared.get("r", "v") is not None


async def test_a_dropped_one_is_gone(images: Images, shared: SharedImages, tmp_path: Path) -> None:
    """Its files too; to drop nothing is fine."""
    shared.put("r", "v", await images.image(STATE % 1))
    for _ in range(2):
        shared.drop("r", "v")
        assert shared.get("r", "v") is None
        assert list((tmp_path / "images").iterdir()) == []


async def test_a_disk_that_refuses_costs_only_time(images: Images, shared: SharedImages, tmp_path: Path) -> None:
    """Without its directory a process goes on with the image it has made."""
    (tmp_path / "images").rmdir()
    made = await images.image(STATE % 1)
    assert shared.put("r", "v", made) is made
    assert shared.get("r", "v") is None


async def test_a_very_large_one_is_not_shared(
    images: Images, shared: SharedImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few of them would push out all others."""
    monkeypatch.setattr(shared_room, "_MOST_IMAGE_BYTES", 8 * MIB)
    made = await images.image(
        "const keep = new Uint8Array(16 << 20).fill(7); export default { fetch() { return new Response(`${keep[9]}`) } }"
    )
    assert shared.put("r", "v", made) is made
    assert list((tmp_path / "images").iterdir()) == []
    assert await ask(images.new(made)) == ["7"]
