#!/usr/bin/python3
"""First process of a test host with a kernel of its own: a Linux that runs as a program, in the host's container.

The container gives its network card away: address and name belong to the guest, the container itself has none any more.
To the outside both kinds of test host are the same: `docker stop` shuts the guest down, `docker kill` cuts its power, and
its disk lasts as long as the container. Usage: testvm-start NAME_OF_THE_CONTAINER, with in the environment

    TEST_MEMORY_MB       memory of the guest; the machine gives what the guest touches, no more
    TEST_NAMESERVERS     name servers for the guest, separated by blanks: Docker's own only answers containers
    TEST_AUTHORIZED_KEY  the key that may sign in as root
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import uuid
from pathlib import Path

KERNEL = "/boot/linux"
REMINDER = "/usr/local/sbin/testvm-remind"
DISK = Path("/var/lib/testvm/disk")
DISK_SIZE = "16G"  # it takes as much room as the guest fills
CACHE = Path("/var/cache/testhost-apt")
CONTROL = Path("/run/testvm")  # the kernel makes its management socket below this
ENDS = {"reboot: Restarting system": True, "reboot: Power down": False, "reboot: System halted": False}


def run(*command: str) -> str:
    """Run a command and return what it prints; that it fails ends the host."""
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def take_network() -> dict[str, str]:
    """Return address, prefix, gateway and mac of the container's card, which loses its address to the guest."""
    card = json.loads(run("ip", "-json", "address", "show", "dev", "eth0"))[0]
    address = next(entry for entry in card["addr_info"] if entry["family"] == "inet")
    gateway = json.loads(run("ip", "-json", "route", "show", "default"))[0]["gateway"]
    run("ip", "address", "flush", "dev", "eth0")
    return {
        "address": address["local"],
        "prefix": str(address["prefixlen"]),
        "gateway": gateway,
        "mac": card["address"],
    }


def write(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file of the guest, with its directory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def make_disk(network: dict[str, str]) -> None:
    """Make the guest's disk from the image of this container, with what a person would have told the installer."""
    root = Path("/mnt")
    run("/usr/local/sbin/testhost-apt-cache", "setup", sys.argv[1])
    # Only the image: what Docker and we have mounted over it stays behind.
    run("mount", "--bind", "/", str(root))
    # Docker's name server does not answer the guest, so it knows the other hosts from the file that Docker wrote.
    write(root / "etc/hosts", Path("/etc/hosts").read_text())
    write(root / "etc/hostname", socket.gethostname() + "\n")
    write(root / "etc/resolv.conf", "".join(f"nameserver {name}\n" for name in os.environ["TEST_NAMESERVERS"].split()))
    write(root / "etc/machine-id", uuid.uuid4().hex + "\n")
    write(root / "root/.ssh/authorized_keys", os.environ["TEST_AUTHORIZED_KEY"] + "\n", 0o600)
    write(root / "etc/fstab", f"/dev/ubda / ext4 noatime 0 1\nnone {CACHE} hostfs defaults 0 0\n")
    write(
        root / "etc/systemd/network/vec0.network",
        f"[Match]\nName=vec0\n\n[Network]\nAddress={network['address']}/{network['prefix']}\n"
        f"Gateway={network['gateway']}\nIPv6AcceptRA=no\n",
    )
    run("ssh-keygen", "-A", "-f", str(root))
    (root / ".dockerenv").unlink(missing_ok=True)  # systemd would take the guest for a container
    DISK.with_suffix(".new").unlink(missing_ok=True)
    run("mkfs.ext4", "-q", "-i", "32768", "-d", str(root), str(DISK.with_suffix(".new")), DISK_SIZE)
    DISK.with_suffix(".new").rename(DISK)
    run("umount", str(root))


def kernel_command(network: dict[str, str]) -> list[str]:
    """Return the command line of the guest."""
    return [
        KERNEL,
        f"mem={os.environ['TEST_MEMORY_MB']}M",
        "seccomp=on",  # a system call of the guest costs a fifth of what it costs with ptrace
        f"ubd0={DISK}",
        "root=/dev/ubda",
        "rw",
        "noreboot",  # it would start itself again with half its devices still open; main() does it better
        f"uml_dir={CONTROL}",
        "umid=guest",
        f"hostfs={CACHE}",  # all that the guest sees of the container's files
        f"vec0:transport=raw,ifname=eth0,depth=64,gro=1,mac={network['mac']}",
        "con=null",
        "con0=null,fd:1",
        "ssl=null",
        "loglevel=4",
    ]


def power_button() -> None:
    """Ask the guest to shut down, as Ctrl-Alt-Del on its console does."""
    text = b"cad"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.bind("")  # any name: the kernel insists on a sender
        client.settimeout(5)
        # struct mconsole_request in the kernel's arch/um/drivers/mconsole.h: magic, version, length, text
        client.sendto(struct.pack("=III512s", 0xCAFEBABE, 2, len(text), text), str(CONTROL / "guest/mconsole"))
        client.recv(1024)


class Guest:
    """The guest, which may start any number of times."""

    def __init__(self, command: list[str]) -> None:
        """Take the command that starts it."""
        self.command = command
        self.process: subprocess.Popen[str] | None = None
        self.stopping = False

    def stop(self, *_: object) -> None:
        """Shut the guest down for good; one that cannot be asked is too young to lose anything."""
        self.stopping = True
        try:
            power_button()
        except OSError as error:
            print(f"testvm: no answer from the guest ({error}), its power is cut", flush=True)
            if self.process:
                self.process.kill()

    def run(self) -> bool:
        """Run the guest until it ends, and return whether it wants to start again."""
        shutil.rmtree(CONTROL, ignore_errors=True)
        CONTROL.mkdir(parents=True)
        again = None
        self.process = subprocess.Popen(
            self.command,
            env=os.environ | {"TMPDIR": "/tmp"},  # its memory is a file there, so it has to be a tmpfs
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        subprocess.Popen([REMINDER, str(self.process.pid)])  # it ends with the guest
        for line in self.process.stdout or ():
            print(line, end="", flush=True)
            again = next((value for text, value in ENDS.items() if text in line), again)
        code = self.process.wait()
        if again is None and not self.stopping:
            sys.exit(f"testvm: the guest's kernel broke down, with exit code {code}; the reason stands above")
        return bool(again) and not self.stopping


def main() -> None:
    """Run the guest until it is switched off."""
    network = take_network()
    if not DISK.exists():
        make_disk(network)
    guest = Guest(kernel_command(network))
    signal.signal(signal.SIGTERM, guest.stop)
    while not guest.stopping and guest.run():
        pass


if __name__ == "__main__":
    main()
