"""ports.py - a TCP port for a program that is started soon, and again whenever it was killed."""
import contextlib
import random
import socket

BELOW_THE_EPHEMERAL = range(10000, 30000)  # which the kernel gives away itself while the program is down


def bound(port, exclusive):
    s = socket.socket()
    try:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, not exclusive)
        s.bind(("127.0.0.1", port))
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # lets the program in, but nobody who binds exclusively
    except OSError:
        s.close()
        raise
    return s


def reserve_port(port=0):
    """A socket that is bound to a port of 127.0.0.1 (0: to any free one) and does not listen: until it and its copies are closed,
    nobody who asks for any free port is given that one, and a program that sets SO_REUSEADDR can listen on it, again and again.
    OSError when a program listens on it already.
    """
    if port:
        return bound(port, exclusive=False)  # connections of a former program may linger there
    for number in random.sample(BELOW_THE_EPHEMERAL, 1000):
        with contextlib.suppress(OSError):
            return bound(number, exclusive=True)
    raise OSError("no free TCP port between 10000 and 30000")


def port_of(reserved):
    return reserved.getsockname()[1]
