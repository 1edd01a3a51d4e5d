"""The floor of every HTTP figure: aiohttp's ordinary application, one handler that answers at once. `python -m bench.plain PORT`."""

from __future__ import annotations

import sys

from aiohttp import web

__all__ = ["main"]


async def _answer(_: web.Request) -> web.Response:
    return web.Response(text="ok\n")


def main(port: int) -> None:
    """Serve until SIGTERM."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", _answer)
    web.run_app(application, host="127.0.0.1", port=port, access_log=None, print=None)


if __name__ == "__main__":
    main(int(sys.argv[1]))
