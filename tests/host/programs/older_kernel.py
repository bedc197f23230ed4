"""Runs a command for which this kernel is as old as Linux 6.1, as far as a dump asks for more.

    older_kernel.py COMMAND [ARGUMENT...]

By seccomp(2): PAGEMAP_SCAN (6.7) is no ioctl(2) of anything, io_uring(7) is not there. Not for a
restore: the processes would inherit it. Exit status 77: not permitted here.
"""
import ctypes
import errno
import os
import struct
import sys

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, MODE_FILTER = 22, 38, 2
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06  # of the words of struct seccomp_data
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
NUMBER, SECOND = 0, 24                  # where the number of a call is, and its second argument
IOCTL, IO_URING_SETUP = 16, 425         # x86-64
PAGEMAP_SCAN = 0xC0606610


def become_older():
    program = [(LOAD, 0, 0, NUMBER),
               (EQUAL, 0, 1, IO_URING_SETUP),
               (RETURN, 0, 0, ERRNO | errno.ENOSYS),
               (EQUAL, 0, 3, IOCTL),
               (LOAD, 0, 0, SECOND),
               (EQUAL, 0, 1, PAGEMAP_SCAN),
               (RETURN, 0, 0, ERRNO | errno.ENOTTY),
               (RETURN, 0, 0, ALLOW)]
    text = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in program))
    filters = ctypes.create_string_buffer(
        struct.pack("@HP", len(program), ctypes.addressof(text)))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    # Without privileges it must be so; with them a command may go on to raise its own.
    if os.geteuid() != 0 and prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    return prctl(PR_SET_SECCOMP, MODE_FILTER, filters, 0, 0) == 0


if __name__ == "__main__":
    if not become_older():
        print("skipped: seccomp(2) is not permitted")
        sys.exit(77)
    os.execvp(sys.argv[1], sys.argv[1:])
