"""What a process that touches untrusted bytes gives up: opening files, sockets, other programs, memory, time.

The decoder is handed one open file. A defect in it that a crafted file uses meets a kernel that refuses to
open anything else. Linux on x86-64 and ARM64; elsewhere only the resource limits hold, which `confine` tells.
"""

import ctypes
import errno
import platform
import resource
import struct
from pathlib import Path

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2
_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000

_X86_64 = "2 41 42 43 49 50 57 58 59 62 82 85 87 101 257 263 264 288 310 311 316 322 425 437"
# (audit architecture, numbers of the refused system calls); names in the order of the numbers.
_REFUSED = {
    # open socket connect accept bind listen fork vfork execve kill rename unlink creat ptrace openat unlinkat
    # renameat accept4 process_vm_readv process_vm_writev renameat2 execveat io_uring_setup openat2
    "x86_64": (
        0xC000003E,
        tuple(int(n) for n in _X86_64.split()),
    ),
    # unlinkat renameat openat ptrace kill socket bind listen accept connect execve accept4 process_vm_readv
    # process_vm_writev renameat2 execveat io_uring_setup openat2
    "aarch64": (
        0xC00000B7,
        (35, 38, 56, 117, 129, 198, 200, 201, 202, 203, 221, 242, 270, 271, 276, 281, 425, 437),
    ),
}


def limit_memory(extra_mb: int) -> None:
    """Let the address space grow by at most `extra_mb` from what it is now, and leave no core files."""
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    limit = pages * resource.getpagesize() + extra_mb * 1024**2
    if pages:
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Enough for its last words, and for nothing else.
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, 64 * 1024))


def limit_time(seconds: float) -> None:
    """Let the process use `seconds` more of processor time, so that it dies even when its parent is gone."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    spent = usage.ru_utime + usage.ru_stime
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(spent + seconds) + 2, hard))


def confine() -> bool:
    """Refuse to open files, sockets and programs from now on; False where this kernel cannot."""
    if platform.system() != "Linux" or platform.machine() not in _REFUSED:
        return False
    architecture, numbers = _REFUSED[platform.machine()]
    refuse = struct.pack("=HBBI", _RETURN, 0, 0, _ERRNO | errno.EPERM)
    allow = struct.pack("=HBBI", _RETURN, 0, 0, _ALLOW)
    program = [
        struct.pack("=HBBI", _LOAD, 0, 0, 4),
        struct.pack("=HBBI", _JUMP_EQUAL, 1, 0, architecture),
        refuse,
        struct.pack("=HBBI", _LOAD, 0, 0, 0),
        # The x32 numbers of x86-64 would be a way round.
        struct.pack("=HBBI", _JUMP_AT_LEAST, len(numbers) + 1, 0, 0x40000000),
    ]
    for at, number in enumerate(numbers):
        program.append(struct.pack("=HBBI", _JUMP_EQUAL, len(numbers) - at, 0, number))
    program += [allow, refuse]
    code = ctypes.create_string_buffer(b"".join(program))
    pointer = struct.pack("@HP", len(program), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    return libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.c_char_p(pointer), 0, 0) == 0
