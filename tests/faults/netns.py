"""netns.py - a network namespace for the whole test process, and one for each node in it, so that a node can be cut off.

    enter()                         # once a process, before any thread: from here on this process is alone on its network
    net = Network(plan)             # a namespace for each node, a cable to each
    FaultRack(plan, net.options())
    net.cut("n1"); net.mend("n1"); net.lose_answers("n1"); net.cable("n1", False)

Needs root, iproute2 and nftables.
"""
import ctypes
import os
import subprocess

CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000
HUB = "10.99.0.1"  # the orchestrator's address, for every node
PORT = 9000
ANSWER_BYTES = 100  # a handshake and acknowledgements are smaller, an HTTP answer is larger


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"


def possible():
    return os.geteuid() == 0 and all(any(os.access(f"{d}/{c}", os.X_OK) for d in ("/usr/sbin", "/sbin", "/usr/bin", "/bin"))
                                     for c in ("ip", "nft", "nsenter"))


def enter():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET | CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "unshare")
    run("mount", "--make-rprivate", "/")
    os.makedirs("/run/netns", exist_ok=True)
    run("mount", "-t", "tmpfs", "none", "/run/netns")
    run("ip", "link", "set", "lo", "up")
    run("ip", "addr", "add", f"{HUB}/32", "dev", "lo")


class Network:
    def __init__(self, plan):
        self.nodes = [n["name"] for n in plan["nodes"]]
        for i, node in enumerate(self.nodes):
            run("ip", "netns", "add", node)
            run("ip", "link", "add", f"to-{node}", "type", "veth", "peer", "name", "eth0", "netns", node)
            run("ip", "addr", "add", f"10.77.{i}.1/30", "dev", f"to-{node}")
            run("ip", "link", "set", f"to-{node}", "up")
            for words in ("link set lo up", f"addr add 10.77.{i}.2/30 dev eth0", "link set eth0 up", f"route add default via 10.77.{i}.1"):
                run("ip", "-n", node, *words.split())

    def options(self):
        """For deploy/rack."""
        return ["--port", str(PORT), "--memlaned=--listen", f"--memlaned=0.0.0.0:{PORT}", "--agent=--url",
                f"--agent=http://{HUB}:{PORT}", "--agent-prefix", "nsenter --net=/run/netns/NODE"]

    def close(self):
        for node in self.nodes:
            run("ip", "netns", "del", node)  # its cable goes with it

    def rules(self, node, text):
        run("nsenter", f"--net=/run/netns/{node}", "nft", f"flush ruleset; {text}")

    def cut(self, node):
        self.rules(node, "table inet t { chain i { type filter hook input priority 0; policy drop; }; "
                         "chain o { type filter hook output priority 0; policy drop; }; }")

    def lose_answers(self, node):
        self.rules(node, f"table inet t {{ chain i {{ type filter hook input priority 0; meta length > {ANSWER_BYTES} drop; }}; }}")

    def mend(self, node):
        self.rules(node, "")

    def cable(self, node, up):
        run("ip", "link", "set", f"to-{node}", "up" if up else "down")
