"""ports.py - a TCP port for a program that is started soon, and again whenever it was killed."""
import contextlib
import random
import socket

BELOW_THE_EPHEMERAL = range(10000, 30000)  # which the kernel gives away itself while the program is down


def free_port():
    for port in random.sample(BELOW_THE_EPHEMERAL, 1000):
        with contextlib.closing(socket.socket()) as s, contextlib.suppress(OSError):
            s.bind(("127.0.0.1", port))
            return port
    raise OSError("no free TCP port between 10000 and 30000")
