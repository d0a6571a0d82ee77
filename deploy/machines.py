"""machines.py - virtual machines with kernels of their own, as nodes of an emulated rack: for `quickstart --kernels` and tests.

A machine is a QEMU (software emulation, no KVM) with Debian's kernel and a small initramfs: busybox, the agent, the lender, the
emulator's drop-in libocxl.so.  Its agent connects out through `guestfwd` to the orchestrator and to the emulator on the loopback of
this machine; nothing else is reachable from inside.  Commands for the machine go the other way, through one forwarded port.
Everything that is downloaded or made is kept below build/.
"""
import base64
import contextlib
import ctypes
import hashlib
import json
import os
import pathlib
import shlex
import shutil
import signal
import socket
import subprocess
import time

from ports import port_of, reserve_port

REPO = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("MEMLANE_BUILD") or REPO / "build")
MIB = 1 << 20
GATEWAY, ORCHESTRATOR_PORT, LINK_PORT, COMMAND_PORT = "10.0.2.100", 9000, 9001, 5000
MODULES = {  # in the order of their dependence
    "amd64": "virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci failover net_failover virtio_net",
    "ppc64el": "virtio virtio_ring virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci failover net_failover virtio_net",
}
TRIPLETS = {"amd64": "x86_64-linux-gnu", "ppc64el": "powerpc64le-linux-gnu"}

INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /run /tmp /var/lib /sbin /usr/sbin
/bin/busybox --install -s /bin
export PATH=/bin:/usr/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/shm && mount -t tmpfs shm /dev/shm
for module in $(cat /modules); do insmod /lib/modules/$module.ko; done
ip link set lo up
ip link set eth0 up
ip addr add 10.0.2.15/24 dev eth0
[ ! -e /machine/boot ] || . /machine/boot
nc -ll -p 5000 -e /bin/sh /command >/dev/null 2>&1 &
while :; do sleep 1000; done
"""
# One line in; its output, and how it ended.  In a shell of its own, so that `exit` in it loses no mark.
COMMAND = """read -r line
/bin/sh -c "$line" </dev/null 2>&1
printf '\\n=%d\\n' $?
"""
# The agent as its unit would run it: started again when it ends, until /run/no-agent says otherwise.
AGENT = """mkdir -p /var/lib/memlane
(while :; do
    [ -e /run/no-agent ] || memlane-agent --config /machine/agent.conf >>/run/agent.log 2>&1
    sleep 0.1
done) &
"""


class MachineError(Exception):
    """A machine did not come up, ended, or a command in it failed."""


# ---- images --------------------------------------------------------------------------------------------------------------

def programs(arch):
    """(folder with bin/ and lib/emulated/, sysroot)"""
    return (BUILD, pathlib.Path("/")) if arch == "amd64" else (REPO / "build-ppc64el", REPO / "build" / arch / "sysroot")


def fetch_kernel(arch):
    meta = {"amd64": "linux-image-cloud-amd64", "ppc64el": "linux-image-powerpc64le"}[arch]
    subprocess.run([REPO / "deploy/cross/fetch", "--kernel", arch, REPO / "build" / arch / "kernel", meta], check=True)


def needed_libraries(files, sysroot, triplet):
    """The shared libraries that the ELF files need, those that these need, and so on: {path in the machine: file}."""
    found, todo = {}, list(files)
    folders = [sysroot / base / triplet for base in ("lib", "usr/lib")] + [sysroot / "lib64"]
    while todo:
        listed = subprocess.run(["readelf", "-d", todo.pop()], capture_output=True, text=True, check=True).stdout
        for name in (line.split("[")[1].rstrip("]") for line in listed.splitlines() if "(NEEDED)" in line):
            path = next((folder / name for folder in folders if (folder / name).exists()), None)
            if path is None:
                raise MachineError(f"no {name} for {triplet}")
            if name not in found:
                found[name] = path.resolve()
                todo.append(path.resolve())
    return found


def interpreter(program):
    listed = subprocess.run(["readelf", "-l", program], capture_output=True, text=True, check=True).stdout
    return listed.split("interpreter: ")[1].split("]")[0]


def pack(folder, out):
    """A cpio archive (newc) of the folder; compressed when the name says so."""
    listing = subprocess.run(["find", ".", "-print0"], cwd=folder, capture_output=True, check=True).stdout
    data = subprocess.run(["cpio", "--null", "-o", "-H", "newc", "--quiet", "-R", "0:0"], cwd=folder, input=listing,
                          capture_output=True, check=True).stdout
    if out.suffix == ".lz4":
        data = subprocess.run(["lz4", "-l", "-1", "-c"], input=data, capture_output=True, check=True).stdout
    out.write_bytes(data)


def fill_root(root, arch, extra):
    bin_dir, sysroot = programs(arch)
    kernel, triplet = REPO / "build" / arch / "kernel", TRIPLETS[arch]
    for folder in ("bin", "usr/bin", "lib/modules", "lib64", f"lib/{triplet}", "usr/lib/memlane"):
        (root / folder).mkdir(parents=True)
    shutil.copy("/bin/busybox" if arch == "amd64" else sysroot / "bin" / "busybox", root / "bin" / "busybox")
    elves = {f"usr/bin/{name}": bin_dir / "bin" / name for name in ("memlane-agent", "memlane-lender")}
    elves.update(extra)
    strip = "strip" if arch == "amd64" else "powerpc64le-linux-gnu-strip"
    for place, program in elves.items():
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([strip, "-o", root / place, program], check=True)
    drop_in = bin_dir / "lib" / "emulated" / "libocxl.so"
    shutil.copy(drop_in, root / "usr/lib/memlane/libocxl.so")
    libraries = needed_libraries([*elves.values(), drop_in], sysroot, triplet)
    if arch == "ppc64el":  # the real one, too
        libraries["libocxl.so.1"] = (sysroot / "usr/lib" / triplet / "libocxl.so.1").resolve()
    loader = pathlib.Path(interpreter(bin_dir / "bin" / "memlane-agent"))
    for name, path in libraries.items():
        where = loader.parent if name == loader.name else pathlib.Path("/lib", triplet)
        shutil.copy(path, root / where.relative_to("/") / name)
    if loader.name not in libraries:
        shutil.copy((sysroot / loader.relative_to("/")).resolve(), root / loader.relative_to("/"))
    modules = MODULES[arch].split()
    for module in modules:
        shutil.copy(next(kernel.rglob(f"{module}.ko")), root / "lib/modules" / f"{module}.ko")
    (root / "boot").mkdir()
    for options in (kernel / "boot").glob("config-*"):
        shutil.copy(options, root / "boot" / options.name)
    (root / "modules").write_text("\n".join(modules) + "\n")
    (root / "command").write_text(COMMAND)
    (root / "init").write_text(INIT)
    (root / "init").chmod(0o755)


def make_image(arch, extra=()):
    """(kernel, initramfs) of an architecture, made anew when a program changed.  extra: {path in the machine: ELF file}"""
    extra = dict(extra)
    bin_dir, _ = programs(arch)
    kernel_dir = REPO / "build" / arch / "kernel"
    name = (kernel_dir / "version").read_text().strip()
    kernel = kernel_dir / "boot" / (f"vmlinuz-{name}" if arch == "amd64" else f"vmlinux-{name}")
    if arch == "ppc64el":
        stripped = kernel_dir / "vmlinux"
        if not stripped.exists():
            subprocess.run(["powerpc64le-linux-gnu-strip", "-o", stripped.with_suffix(".new"), kernel], check=True)
            stripped.with_suffix(".new").rename(stripped)
        kernel = stripped
    sources = [bin_dir / "bin/memlane-agent", bin_dir / "bin/memlane-lender", bin_dir / "lib/emulated/libocxl.so", *extra.values(),
               pathlib.Path(__file__), kernel]
    stamp = hashlib.sha256("\n".join(f"{p} {p.stat().st_mtime_ns} {p.stat().st_size}" for p in sources).encode()).hexdigest()
    image = REPO / "build" / arch / f"initramfs-{stamp[:16]}.lz4"
    if not image.exists():
        root = REPO / "build" / arch / f"root-{os.getpid()}"
        try:
            fill_root(root, arch, extra)
            new = image.with_name(f"new-{os.getpid()}.lz4")
            pack(root, new)
            for old in sorted(image.parent.glob("initramfs-*.lz4"), key=lambda p: p.stat().st_mtime)[:-3]:
                old.unlink(missing_ok=True)
            new.rename(image)
        finally:
            shutil.rmtree(root, ignore_errors=True)
    return kernel, image


# ---- a machine -----------------------------------------------------------------------------------------------------------

def die_with_parent():
    """In the child: a machine never outlives the program that started it, however that ends."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def backing(name, size, path):
    kind = f"memory-backend-file,mem-path={path},share=on" if path else "memory-backend-ram"
    return ["-object", f"{kind},id={name},size={size}"]


def pseries(nodes, mem):
    """A POWER9 server with the paravirtual platform.  nodes: [(bytes, backing file or None)]; the kernel is told 'mem' bytes."""
    words = ["qemu-system-ppc64", "-machine", "pseries,cap-cfpc=broken,cap-sbbc=broken,cap-ibs=broken,x-vof=on", "-cpu", "power9",
             "-m", f"{sum(size for size, _ in nodes) // MIB}M"]
    for i, (size, path) in enumerate(nodes):
        words += backing(f"m{i}", size, path) + ["-numa", f"node,nodeid={i},memdev=m{i}" + (",cpus=0" if i == 0 else "")]
    return words, ["virtio-net-pci,netdev=n0,romfile="], f"console=hvc0{f' mem={mem // MIB}M' if mem else ''}"


def powernv9(size, path, mem):
    """A POWER9 server as it is: the part of the file above 'mem' is the window."""
    words = ["qemu-system-ppc64", "-machine", "powernv9,memory-backend=ram0", "-m", f"{size // MIB}M", *backing("ram0", size, path)]
    net = ["pnv-phb,chip-id=0,index=0", "pnv-phb-root-port,id=rp0,bus=pnv-phb4-root.0", "virtio-net-pci,netdev=n0,romfile=,bus=rp0"]
    return words, net, f"console=hvc0 mem={mem // MIB}M"


def q35(size):
    """An x86-64 server with room for DIMMs, which are on NUMA node 1."""
    words = ["qemu-system-x86_64", "-machine", "q35", "-cpu", "max", "-m", f"{size // MIB}M,slots=16,maxmem={size // MIB + 8192}M",
             *backing("m0", size, None), "-numa", "node,nodeid=0,memdev=m0,cpus=0", "-numa", "node,nodeid=1"]
    return words, ["virtio-net-pci,netdev=n0,romfile="], "console=ttyS0 mitigations=off"


class Machine:
    """with Machine(...): the machine runs, and is ended by its pid.  'platform' is what pseries(), powernv9() or q35() answered."""

    def __init__(self, name, arch, platform, directory, orchestrator_port, link_port, files=None, cmdline="", policy="offline",
                 extra=()):
        self.name, self.arch, self.directory = name, arch, pathlib.Path(directory)
        self.words, self.net, console = platform
        self.cmdline = f"{console} quiet loglevel=3 panic=-1 memhp_default_state={policy} {cmdline}"
        self.ports = {ORCHESTRATOR_PORT: orchestrator_port, LINK_PORT: link_port}
        self.files = dict(files or {})  # path below /machine: text or bytes
        self.extra = extra
        self.process = self.reserved = self.command_port = None
        self.saved = {}  # what its disk would keep: path: bytes

    @property
    def qmp_path(self):
        return self.directory / f"{self.name}.qmp"

    @property
    def console_path(self):
        return self.directory / f"{self.name}.console"

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.end()

    def write_config(self):
        """The machine's own files, as an archive in front of the image."""
        root = self.directory / f"{self.name}.files"
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        for path, text in {**{f"machine/{p}": t for p, t in self.files.items()}, **self.saved}.items():
            target = root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(text if isinstance(text, bytes) else text.encode())
        pack(root, root.with_suffix(".cpio"))
        kernel, image = make_image(self.arch, self.extra)
        initrd = self.directory / f"{self.name}.initrd"
        first = root.with_suffix(".cpio").read_bytes()
        initrd.write_bytes(first + b"\0" * (-len(first) % 512) + image.read_bytes())
        return kernel, initrd

    def start(self):
        self.directory.mkdir(parents=True, exist_ok=True)
        kernel, initrd = self.write_config()
        self.reserved = reserve_port()
        self.command_port = port_of(self.reserved)
        forward = ",".join(f"guestfwd=tcp:{GATEWAY}:{inside}-cmd:/bin/busybox nc 127.0.0.1 {port}" for inside, port in self.ports.items())
        argv = [*self.words, "-accel", "tcg", "-smp", "1", "-kernel", str(kernel), "-initrd", str(initrd), "-append", self.cmdline,
                "-netdev", f"user,id=n0,restrict=on,hostfwd=tcp:127.0.0.1:{self.command_port}-10.0.2.15:{COMMAND_PORT},{forward}"]
        for device in self.net:
            argv += ["-device", device]
        argv += ["-nographic", "-nodefaults", "-no-reboot", "-qmp", f"unix:{self.qmp_path},server=on,wait=off",
                 "-serial", f"file:{self.console_path}"]
        with open(self.directory / f"{self.name}.qemu.log", "wb") as log:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                                            preexec_fn=die_with_parent)

    def end(self):
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)  # its guestfwd helpers, too
        self.process.wait()
        self.process = None
        self.reserved.close()
        self.qmp_path.unlink(missing_ok=True)

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def log(self, lines=20):
        texts = []
        for path in (self.console_path, self.directory / f"{self.name}.qemu.log"):
            with contextlib.suppress(OSError):
                texts += path.read_text(errors="replace").splitlines()[-lines:]
        return "".join(f"\n    {line}" for line in texts)

    def need_alive(self):
        if not self.alive():
            raise MachineError(f"{self.name} ended; the end of its console:{self.log()}")

    def try_run(self, line, timeout=60):
        """(exit code, output) of one shell line in the machine."""
        self.need_alive()
        try:
            with contextlib.closing(socket.create_connection(("127.0.0.1", self.command_port), timeout=timeout)) as s:
                s.sendall(line.encode() + b"\n")
                answer = b"".join(iter(lambda: s.recv(65536), b""))
        except OSError as error:
            self.need_alive()
            raise MachineError(f"{self.name}: {line}: {error}") from None
        text, mark, code = answer.decode(errors="replace").rpartition("\n=")
        if not mark:
            raise MachineError(f"{self.name}: {line}: no answer")
        return int(code), text

    def run(self, line, timeout=60):
        code, text = self.try_run(line, timeout)
        if code:
            raise MachineError(f"{self.name}: {line}: exit code {code}: {text.strip()[-400:]}")
        return text.strip("\n")

    def wait_up(self, seconds=60):
        deadline = time.monotonic() + seconds
        while True:
            try:
                self.try_run("true", timeout=2)
                return self
            except MachineError:
                self.need_alive()
                if time.monotonic() > deadline:
                    raise MachineError(f"{self.name} did not come up:{self.log()}") from None
                time.sleep(0.1)

    def read(self, path):
        return self.run(f"cat {shlex.quote(path)}")

    def read_bytes(self, path):
        return base64.b64decode(self.run(f"base64 {shlex.quote(path)}"))

    def qmp(self, command, arguments):
        """One command to QEMU; its answer."""
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as s:
            s.settimeout(30)
            s.connect(str(self.qmp_path))
            lines = s.makefile("r")
            lines.readline()
            for name, words in (("qmp_capabilities", {}), (command, arguments)):
                s.sendall(json.dumps({"execute": name, "arguments": words}).encode() + b"\n")
                while "event" in (answer := json.loads(lines.readline())):
                    pass
        if "error" in answer:
            raise MachineError(f"{self.name}: {command}: {answer['error']['desc']}")
        return answer["return"]

    def meminfo(self):
        """/proc/meminfo in bytes."""
        lines = (line.split() for line in self.read("/proc/meminfo").splitlines())
        return {words[0].rstrip(":"): int(words[1]) * (1024 if len(words) > 2 else 1) for words in lines}

    # ---- what its disk would keep

    def save_disk(self):
        """What the agent wrote to /var/lib/memlane: it is there again after the next start."""
        for path in self.run("find /var/lib/memlane -type f").split():
            self.saved[path.lstrip("/")] = self.read_bytes(path)

    def reboot(self):
        """A loss of power, and a boot."""
        self.save_disk()
        self.end()
        self.start()
        return self.wait_up()


def agent_conf(node, adapters, **more):
    """agent.conf of a machine, and its device files: {path below /machine: text}."""
    lines = ["[agent]", f"name={node}", f"url=http://{GATEWAY}:{ORCHESTRATOR_PORT}", "join_token_file=/machine/join.token",
             "machine_id_file=/machine/machine-id", "run_dir=/run/memlane", "ocxl_library=/usr/lib/memlane/libocxl.so",
             "settle_ms=1", "quiesce_ms=10"]
    lines += [f"{key}={value}" for key, value in more.items()]
    files = {"machine-id": hashlib.sha256(node.encode()).hexdigest()[:32] + "\n"}
    for index, adapter in enumerate(adapters):
        device = f"ocxl/IBM,RMEM.0004:00:00.{index}.0"
        files[device] = f"tcp:{GATEWAY}:{LINK_PORT} {node} {adapter['name']}\n"
        lines += ["", f"[adapter {adapter['name']}]", f"role={adapter['role']}", f"ports={adapter['ports']}", f"device=/machine/{device}"]
        if adapter["role"] == "compute":
            lines += [f"window_addr={adapter['window_addr']}", f"window_bytes={adapter['window_bytes']}"]
    return {**files, "agent.conf": "\n".join(lines) + "\n", "boot": AGENT}


def rack_file(path, nodes, links):
    path.write_text(json.dumps({"name": path.stem, "nodes": nodes, "switches": [], "links": links}, indent=1))
    return path
