"""The port of a rack that asked for any free one is that rack's alone, as long as the rack lives."""
import contextlib
import random
import socket
import unittest
from unittest import mock

from harness import Rack, eventually
from ports import port_of, reserve_port


def listen(port):
    """As memlaned does."""
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("127.0.0.1", port))
    s.listen()
    return s


class Ports(unittest.TestCase):
    def test_two_get_two_though_nobody_listens_yet(self):
        drawn = random.sample(range(10000, 30000), 1000)
        with mock.patch("random.sample", return_value=drawn), reserve_port() as one, reserve_port() as other:
            self.assertNotEqual(port_of(one), port_of(other))

    def test_who_has_it_can_listen_again_and_again(self):
        with reserve_port() as reserved:
            for _ in range(3):
                with listen(port_of(reserved)) as server, socket.create_connection(server.getsockname()):
                    server.accept()[0].close()  # first, so that its end lingers
            self.assertRaises(ConnectionRefusedError, socket.create_connection, reserved.getsockname(), 5)

    def test_one_that_is_in_use_is_an_error(self):
        with reserve_port() as reserved, listen(port_of(reserved)):
            self.assertRaises(OSError, reserve_port, port_of(reserved))

    def test_a_racks_port_is_its_own_while_its_orchestrator_is_down(self):
        with Rack("pair", ["--no-agents"]) as rack:
            rack.api.close_all()  # nor are there agents: no connection that ends with memlaned lingers on the port
            rack.supervisor("stop memlaned")
            with contextlib.closing(socket.socket()) as s, self.assertRaises(OSError):
                s.bind(("127.0.0.1", rack.port))  # as another rack would look for one
            rack.supervisor("start memlaned")
            eventually("the orchestrator is back", lambda: rack.api.call("GET", "/healthz"))


if __name__ == "__main__":
    unittest.main()
