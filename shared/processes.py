"""Processes that must not outlive the one that started them."""

import ctypes
import os
import signal
import socket
import sys

SUPERVISED = "RATCHET_SUPERVISOR_PID"
_PR_SET_PDEATHSIG = 1


def die_with_parent(parent_pid: int, signal_number: int = signal.SIGTERM) -> None:
    """Asks the kernel to send this process a signal when its parent dies, kill -9 of the parent included.

    Linux only; elsewhere it does nothing. parent_pid closes the race: when the parent is already another one, the
    signal is sent at once.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0)
    if os.getppid() != parent_pid:
        os.kill(os.getpid(), signal_number)


def obey_supervisor() -> None:
    """Called at a service's start: when a supervisor started it, it ends with that supervisor."""
    pid = os.environ.get(SUPERVISED)
    if pid and pid.isdigit():
        die_with_parent(int(pid))


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """Ports nobody listens on now; another process may take one before it is used."""
    sockets = [socket.create_server((host, 0)) for _ in range(count)]
    try:
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()


def port_is_free(port: int, host: str = "127.0.0.1") -> bool:
    try:
        socket.create_server((host, port)).close()
    except OSError:
        return False
    return True
