#!/usr/bin/env python3
"""proof.py DIR - shows that the memory borrowed in the emulated rack in DIR is the donor's memory.

For every live attachment: what is written into the segment on the compute node is found in the donor's buffer at the right
offset, and what the donor's side writes is read at the physical address on the compute node, through section register,
circuit and cables.  Exits 1 when it is not so.
"""
import contextlib
import http.client
import json
import os
import pathlib
import secrets
import socket
import sys
import urllib.parse


def rack_env(rack_dir):
    return dict(line.split("=", 1) for line in (rack_dir / "rack.env").read_text().splitlines())


def call(env, method, path, body=None):
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(env["MEMLANE_URL"]).netloc, timeout=30)
    with contextlib.closing(connection):
        connection.request(method, path, None if body is None else json.dumps(body),
                           {"Authorization": f"Bearer {env['MEMLANE_TOKEN']}", "Content-Type": "application/json"})
        return json.loads(connection.getresponse().read())


def peek(rack_dir, node, address):
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as s:
        s.connect(str(rack_dir / "ctl.sock"))
        s.sendall(f"peek {node} {address:#x}\n".encode())
        answer = json.loads(s.makefile("r").readline())
    if "data" not in answer:
        sys.exit(f"peek {node} {address:#x}: {answer.get('error')}")
    return bytes.fromhex(answer["data"])


def transfer(source, target, offset, text):
    """Writes 'text' into one file and answers what is then at the same offset of the other."""
    with open(source, "r+b", buffering=0) as file:
        os.pwrite(file.fileno(), text, offset)
    with open(target, "rb", buffering=0) as file:
        return os.pread(file.fileno(), len(text), offset)


def verdict(what, written, found):
    print(f"   {'ok' if written == found else 'NOT FOUND'}  {what}\n       wrote {written.decode()}\n"
          f"       found {found.decode(errors='replace')}")
    return written == found


def prove(rack_dir, a):
    compute, donor = a["compute_node"], a["donor"]
    segment, buffer = (rack_dir / "nodes" / node / kind / a["id"] for node, kind in ((compute, "segments"), (donor, "buffers")))
    physical = int(a["physical_addr"], 16)
    first = secrets.randbelow(a["size_bytes"] // 4096) * 4096
    second = a["size_bytes"] - 4096
    there = f"written on {compute}, {secrets.token_hex(16)}".encode()
    back = f"written on {donor}, {secrets.token_hex(16)}".encode()
    ok = verdict(f"{compute} -> {donor}: nodes/{compute}/segments/{a['id']}, offset {first:#x}, read in the donor's buffer",
                 there, transfer(segment, buffer, first, there))
    transfer(buffer, buffer, second, back)
    found = peek(rack_dir, compute, physical + second)[:len(back)]
    return verdict(f"{donor} -> {compute}: the donor's buffer, offset {second:#x}, read on {compute} at physical address "
                   f"{physical + second:#x}", back, found) and ok


def main():
    rack_dir = pathlib.Path(sys.argv[1]).resolve()
    env = rack_env(rack_dir)
    live = [a for a in call(env, "GET", "/v1/attachments?state=attached")["items"]]
    if not live:
        sys.exit("nothing is borrowed")
    proofs = [prove(rack_dir, a) for a in live]
    if len(sys.argv) > 2 and sys.argv[2] == "--code":
        print(f"code {call(env, 'POST', '/v1/sessions/codes', {})['code']}")
    sys.exit(0 if all(proofs) else 1)


if __name__ == "__main__":
    main()
