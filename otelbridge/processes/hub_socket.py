"""The Unix socket between loaders and hub: <data>/hub.sock, for this user only."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

__all__ = ["bind_hub_socket", "hub_socket_path"]

_MOST_BYTES = 107  # what a socket's address can hold


def hub_socket_path(data_dir: Path) -> str:
    """How to name the socket to the system. A path that is too long for that is named by an open directory instead."""
    path = data_dir.absolute() / "hub.sock"
    if len(os.fsencode(path)) <= _MOST_BYTES:
        return str(path)
    fd = os.open(data_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)  # stays open for as long as this process lives
    return f"/proc/self/fd/{fd}/hub.sock"


def bind_hub_socket(data_dir: Path) -> socket.socket:
    """The hub's end. What an earlier hub left there goes: the data directory's lock says that it is gone."""
    path = hub_socket_path(data_dir)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(path)
        os.chmod(path, 0o600)  # before listen(): nobody can connect until then
        sock.listen(1024)
    except OSError:
        sock.close()
        raise
    return sock
