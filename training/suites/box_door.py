"""The way into the box, a program: locks itself in, then becomes the child's Python. Started by `box` alone.

`python -I -S box_door.py JSON`. Exits with 97 and a sentence where the kernel refuses; nothing was run then.
Namespaces first, then a new root, then processes: the outer one waits, the first one inside (pid 1) takes everything
down when it ends, the second one loses its rights and runs the program.
"""

# ruff: noqa: PTH101, PTH102, PTH103, PTH110, PTH112, PTH114, PTH115, PTH118, PTH120, PTH123, PTH211

import ctypes
import json
import os
import platform
import resource
import signal
import sys
from typing import Any

NEWNS, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET = 0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 4096, 16384, 1 << 18
MNT_DETACH, PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 2, 1, 38
ATTR_RDONLY, ATTR_NOSUID, AT_FDCWD, AT_RECURSIVE = 1, 2, -100, 0x8000
SYS_MOUNT_SETATTR = 442  # the same number everywhere
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "riscv64": 41}
REFUSED = 97
READABLE = ("/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache")
DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
BOX_UIDS = 1_000_000_000  # each box has its own, so that its processes are counted apart

libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    told = json.loads(sys.argv[1])
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    root = os.geteuid() == 0
    # Without a root of its own the box stays this user, who can read the interpreter wherever it stands.
    uid = BOX_UIDS + os.getpid() if root and told["isolated"] else None
    work = os.path.join(told["root"], "tmp")
    try:
        if told["isolated"]:
            enter_namespaces(root)
            build_root(told, work)
            work = "/tmp"
        else:
            os.mkdir(work, 0o700)
        os.chdir(work)
    except (OSError, KeyError) as error:
        refuse(str(error))
    first = os.fork()
    if first:
        leave_as(first)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    second = os.fork()
    if second:
        leave_as(second)
    become(told, uid)


def enter_namespaces(root: bool) -> None:
    uid, gid = os.getuid(), os.getgid()
    flags = NEWNS | NEWUTS | NEWIPC | NEWPID | NEWNET | (0 if root else NEWUSER)
    call("unshare", libc.unshare(flags))
    if not root:
        for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
    mount(None, "/", None, MS_REC | MS_PRIVATE)


def build_root(told: dict[str, Any], work: str) -> None:
    root, prefix = told["root"], told["prefix"]
    mount("tmpfs", root, "tmpfs", MS_NOSUID | MS_NODEV, f"size={told['file_mib']}m,mode=755,nr_inodes=4096")
    for place in [*READABLE, *([] if prefix.startswith("/usr") else [prefix])]:
        if os.path.islink(place):
            os.symlink(os.readlink(place), root + place)
        elif os.path.exists(place):
            show(place, root + place, read_only=True)
    for place in DEVICES:
        show(place, root + place, read_only=False)
    os.mkdir(work, 0o777)
    os.chmod(work, 0o777)
    os.chdir(root)
    call("pivot_root", libc.syscall(SYS_PIVOT_ROOT[platform.machine()], b".", b"."))
    call("umount", libc.umount2(b".", MNT_DETACH))
    os.chdir("/")


def show(place: str, at: str, *, read_only: bool) -> None:
    os.makedirs(at if os.path.isdir(place) else os.path.dirname(at), exist_ok=True)
    if not os.path.isdir(place):
        with open(at, "w"):
            pass
    mount(place, at, None, MS_BIND | MS_REC)
    if read_only:
        attributes = (ctypes.c_uint64 * 4)(ATTR_RDONLY | ATTR_NOSUID, 0, 0, 0)
        size = ctypes.c_size_t(ctypes.sizeof(attributes))
        done = libc.syscall(SYS_MOUNT_SETATTR, AT_FDCWD, at.encode(), AT_RECURSIVE, ctypes.byref(attributes), size)
        call(f"making {place} read-only", done)


def become(told: dict[str, Any], uid: int | None) -> None:
    """The program itself: limits, then no rights, then Python."""
    file_bytes, memory_bytes = told["file_mib"] << 20, told["memory_mib"] << 20
    for kind, most in (
        (resource.RLIMIT_CPU, told["cpu_seconds"]),
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_NPROC, told["processes"]),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (most, most))
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.execve(sys.executable, [sys.executable, "-I", "-S", "-B", "-c", told["program"]], {})


def leave_as(child: int) -> None:
    """Waits for that child, whatever else ends, and ends as it did."""
    while True:
        pid, status = os.wait()
        if pid == child:
            os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def mount(source: str | None, at: str, kind: str | None, flags: int, data: str | None = None) -> None:
    texts = [None if text is None else text.encode() for text in (source, at, kind, data)]
    call(f"mount at {at}", libc.mount(texts[0], texts[1], texts[2], ctypes.c_ulong(flags), texts[3]))


def call(what: str, result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def refuse(why: str) -> None:
    print(f"the kernel refuses {why}", flush=True)
    os._exit(REFUSED)


main()
