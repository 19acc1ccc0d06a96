# faults/field.py - the field of a run: a network namespace for each node, all of them on one switch.
#
# Nothing of the host's own network is touched: the switch has a namespace, too. Whoever was killed has left
# namespaces that begin with "nebula-faults-"; `ip netns delete` removes one.
import os
import pathlib
import subprocess

NET = "10.77.0."
HOSTS = {"registry": 2, "proxy": 3, **{f"s{i}": 10 + i for i in range(1, 11)}, "c1": 21, "c2": 22}


class NoField(Exception):
    """Namespaces cannot be made here. The text says why."""


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise NoField(f"`{' '.join(command)}`: {done.stderr.strip() or done.returncode}")


class Field:
    """`with Field() as field:`"""

    def __init__(self):
        self.prefix = f"nebula-faults-{os.getpid()}-"
        self.made = []

    def __enter__(self):
        try:
            self._add("switch")
            self._in_switch("ip", "link", "add", "switch", "type", "bridge")
            self._in_switch("ip", "link", "set", "switch", "up")
            for name, number in HOSTS.items():
                self._add(name)
                self._in_switch("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns",
                                self.prefix + name)
                self._in_switch("ip", "link", "set", name, "master", "switch", "up")
                run(*self.inside(name), "ip", "address", "add", f"{NET}{number}/24", "dev", "eth0")
                run(*self.inside(name), "ip", "link", "set", "eth0", "up")
        except (NoField, FileNotFoundError) as trouble:
            self.__exit__()
            raise NoField(str(trouble)) from None
        return self

    def __exit__(self, *_):
        for name in self.made:
            subprocess.run(["ip", "netns", "delete", self.prefix + name], check=False)

    def inside(self, name):
        """What stands before a command that runs there."""
        return ["ip", "netns", "exec", self.prefix + name]

    def cut(self, some, others):
        """Nothing passes between these any more, in either direction, and nobody is told."""
        rules = [f"add rule bridge faults wire ip saddr {here} ip daddr {there} drop"
                 for one in some for other in others
                 for here, there in ((address(one), address(other)), (address(other), address(one)))]
        self._in_switch("nft", "-f", "-", input="\n".join([
            "add table bridge faults",
            "add chain bridge faults wire { type filter hook forward priority 0; }", *rules, ""]))

    def heal(self):
        self._in_switch("nft", "delete", "table", "bridge", "faults")

    def _add(self, name):
        run("ip", "netns", "add", self.prefix + name)
        self.made.append(name)
        run(*self.inside(name), "ip", "link", "set", "lo", "up")

    def _in_switch(self, *command, **options):
        run(*self.inside("switch"), *command, **options)


def address(name):
    return f"{NET}{HOSTS[name]}"


def has_what_it_takes():
    """The first thing that is missing here, in words; None: nothing is."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    for tool in ("ip", "nft", "etcd", "dnsmasq"):
        folders = os.environ["PATH"].split(":") + ["/usr/sbin", "/sbin"]
        if not any((pathlib.Path(folder) / tool).exists() for folder in folders):
            return f"there is no {tool}: scripts/setup.sh faults installs it"
    return None
