"""The service without observation: the same HTTP, loader and sandbox, but workers have no tails, so nothing of theirs is
recorded, stored or exported. What the tails cost is measured against it. Settings come from the environment."""

from __future__ import annotations

import asyncio
import signal

from otelbridge import Bridge, Settings
from otelbridge.errors import WorkerNotFoundError
from otelbridge.loader.worker import Worker
from otelbridge.model.code import WorkerCode
from otelbridge.web import Service

__all__ = ["main"]


class Untailed(Bridge):
    """A bridge that attaches no tail to registered workers."""

    def worker(self, worker_id: str) -> Worker:
        """A registered worker. WorkerNotFoundError when there is none."""
        entry = self.registry.get(worker_id)
        if entry is None:
            raise WorkerNotFoundError(worker_id)

        def make_code() -> WorkerCode:
            code = self.registry.code(worker_id)
            if code is None:
                raise WorkerNotFoundError(worker_id)
            return code

        return self.loader.get(worker_id, make_code, key=f"{worker_id}\0{entry.updated_ns}")


async def main() -> None:
    """Serve until SIGTERM."""
    ending = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ending.set)
    async with Untailed(Settings()) as bridge, Service(bridge=bridge) as service:
        await service.listen()
        await ending.wait()


if __name__ == "__main__":
    asyncio.run(main())
