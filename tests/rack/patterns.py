"""patterns.py - writes what nobody else would write into borrowed memory, and finds it again.

Works on the files that the emulated rack gives: segments/ID on the compute node, which exists only while register, circuit and
cables lead to the donor's buffer.  For every block: the first and the last page.
"""
import contextlib
import hashlib
import mmap
import os

PAGE = 4096


def page_pattern(seed, offset):
    """A page that is different for every (seed, offset)."""
    digest = hashlib.sha256(f"{seed}/{offset}".encode()).digest()
    return digest * (PAGE // len(digest))


@contextlib.contextmanager
def mapped(path):
    fd = os.open(path, os.O_RDWR)
    try:
        with contextlib.closing(mmap.mmap(fd, os.fstat(fd).st_size)) as memory:
            yield memory
    finally:
        os.close(fd)


def pages_of(size, block):
    for start in range(0, size, block):
        yield start
        yield start + block - PAGE


def fill(path, seed, block):
    with mapped(path) as memory:
        for offset in pages_of(len(memory), block):
            memory[offset:offset + PAGE] = page_pattern(seed, offset)


def verify(path, seed, block):
    """The offsets whose page is not what fill() wrote."""
    with mapped(path) as memory:
        return [offset for offset in pages_of(len(memory), block)
                if memory[offset:offset + PAGE] != page_pattern(seed, offset)]


def not_zero(path, block):
    """The offsets of pages that a new borrower would not read as zeroes."""
    with mapped(path) as memory:
        return [offset for offset in pages_of(len(memory), block) if memory[offset:offset + PAGE] != bytes(PAGE)]
