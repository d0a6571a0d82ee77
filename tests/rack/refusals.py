"""refusals.py - is a refusal true?  Judged anew from the documents of the API, by rules written down a second time (DESIGN 5).

Good for racks where nothing was given back since the refusal: memory, ports and sections only become fewer then, so what was
refused for want of them is wanting still.
"""
ORDER = ("not_ready", "cordoned", "not_pinned", "avoided", "anti_affinity", "no_memory_adapter", "insufficient_memory", "no_path",
         "ports_busy", "bandwidth", "too_far", "no_section")
SWITCHES_MAX = 3


class Judge:
    """The rack as it is: nodes with adapters, links with the circuits that use them, attachments."""

    def __init__(self, nodes, topology, circuits, attachments):
        self.nodes = {n["name"]: n for n in nodes}
        self.switches = {s["name"]: s["ports"] for s in topology["switches"]}
        self.links, self.busy = {}, set()
        for link in topology["links"]:
            for a, b in ((link["a"], link["b"]), (link["b"], link["a"])):
                self.links.setdefault(a, []).append((b, link["state"] != "down"))
        self.circuits = circuits
        for c in circuits:
            for leg in c["path"]:
                self.busy.update(leg)
        self.attachments = attachments

    def adapters(self, name, role):
        return [a for a in self.nodes[name]["adapters"] if a["role"] == role]

    def lendable(self, name):
        n = self.nodes[name]
        capacity = max(0, n["free_bytes"] + n["locked_bytes"] - n["headroom_bytes"])
        lent = sum(a["size_bytes"] for a in self.attachments if a["donor"] == name)
        return max(0, capacity - lent)

    def reachable(self, adapter, free_only):
        """Ports at which a path from one of the adapter's ports ends."""
        ends = set()
        edge = [(p["name"], 0) for p in adapter["ports"] if not (free_only and p["name"] in self.busy)]
        seen = {port for port, _ in edge}
        while edge:
            port, hops = edge.pop()
            for peer, usable in self.links.get(port, ()):
                if not usable or (free_only and peer in self.busy):
                    continue
                if peer.count("/") == 2:
                    ends.add(peer)
                    continue
                if hops == SWITCHES_MAX:
                    continue
                switch = peer.split("/")[0]
                for n in range(1, self.switches[switch] + 1):
                    other = f"{switch}/{n}"
                    if other != peer and other not in seen and not (free_only and other in self.busy):
                        seen.add(other)
                        edge.append((other, hops + 1))
        return ends

    def joined(self, name, donor):
        return [c for c in self.circuits
                if c["compute"][0].split("/")[0] == name and c["memory"][0].split("/")[0] == donor]

    def channels_of(self, node, adapter):
        prefix = f"{node}/{adapter['name']}/"
        return {c["channels"] for c in self.circuits for p in c["compute"] + c["memory"] if p.startswith(prefix)}

    def new_circuit(self, name, donor):
        """Could one channel more be joined between the two?"""
        for compute in self.adapters(name, "compute"):
            if 2 in self.channels_of(name, compute):
                continue
            ends = self.reachable(compute, True)
            for memory in self.adapters(donor, "memory"):
                if 2 not in self.channels_of(donor, memory) and any(p["name"] in ends for p in memory["ports"]):
                    return True
        return False

    def untrue(self, request, candidate):
        """Why the reason cannot be true; None when nothing speaks against it."""
        name, donor, reason = request["compute_node"], candidate["node"], candidate["reason"]
        block = self.nodes[name]["block_bytes"]
        size = -(-request["size_bytes"] // block) * block
        has_memory = bool(self.adapters(donor, "memory"))
        if reason == "no_memory_adapter":
            return None if not has_memory else "it has one"
        if not has_memory:
            return "it has no adapter that lends"
        if reason == "insufficient_memory":
            return None if self.lendable(donor) < size else f"{self.lendable(donor)} bytes are lendable, {size} were asked for"
        everywhere = {p for a in self.adapters(name, "compute") for p in self.reachable(a, False)}
        has_path = any(p["name"] in everywhere for a in self.adapters(donor, "memory") for p in a["ports"])
        if reason == "no_path":
            return "cables lead there" if has_path else None
        if not has_path:
            return "no cable leads there"
        if reason == "ports_busy":
            single = request.get("channels", 1) == 1
            if single and any(c["channels"] == 1 for c in self.joined(name, donor)):
                return "a circuit joins the two already"
            return "free ports are joined by free cables" if single and self.new_circuit(name, donor) else None
        if reason == "no_section":
            full = [a for a in self.adapters(name, "compute") if all(s["state"] != "free" for s in a["sections"][:4])]
            return None if full or self.joined(name, donor) else "a section is free"
        return f"nothing here gives reason for {reason}"
