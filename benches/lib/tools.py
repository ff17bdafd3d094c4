"""The programs that are compared: each brings the layers of one archive to disk, below one directory."""

import os
import re
import shutil
import subprocess
import time

from measure import output, quiet, run

TREE = os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "..", "scripts", "tree")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Here:
    """Where the programs are: this machine itself."""

    def argv(self, *argv):
        return list(argv)

    def has(self, program):
        return shutil.which(program) is not None


class Tree(Here):
    """Another Debian's root, in a mount namespace of its own, that sees `folders` under their own names."""

    def __init__(self, root, folders):
        self.root = root
        shown = [word for folder in folders for word in ("-b", folder)]
        # The namespace goes with this process, and this process when nobody holds the pipe any more.
        idle = [TREE, "run", root, *shown, "sh", "-c", "echo ready; exec cat"]
        self.idle = subprocess.Popen(idle, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if self.idle.stdout.readline() != b"ready\n":
            raise OSError(f"{root} is no root that programs run in")

    def argv(self, *argv):
        enter = ["nsenter", f"--mount=/proc/{self.idle.pid}/ns/mnt"]
        return [*enter, "env", "-i", "HOME=/root", f"PATH={PATH}", *argv]

    def has(self, program):
        return any(os.path.lexists(f"{self.root}{folder}/{program}") for folder in PATH.split(":"))

    def close(self):
        self.idle.stdin.close()
        self.idle.wait()


class Tool:
    """A program; what `prepare`, `clean` and `stop` do is not measured."""

    program = name = ""

    def __init__(self, folder, where):
        self.at = os.path.join(folder, self.name.split()[0])
        self.where = where

    def is_there(self):
        return self.where.has(self.program)

    def version(self):
        found = re.search(r"\d+\.\d+(\.\d+)?", output(*self.where.argv(self.program, "--version")))
        return found.group() if found else "?"

    def start(self):
        os.makedirs(self.at, exist_ok=True)

    def stop(self):
        self.clean(None)

    def clean(self, _image):
        quiet("rm", "-rf", "--one-file-system", self.at)

    def prepare(self, _image):
        os.makedirs(self.at, exist_ok=True)

    def load(self, image):
        return run(self.where.argv(*self.command(image)))

    def quiet(self, *argv):
        quiet(*self.where.argv(*argv))


class Ovlctl(Tool):
    name = "ovlctl"

    def __init__(self, folder, program):
        super().__init__(folder, Here())
        self.program = program

    def command(self, image):
        return [self.program, "--root", self.at, "load", image.archive]


class Tar(Tool):
    """Checks nothing, and knows no whiteouts: the layers' tars, one after the other, each into its directory."""

    name, program = "tar -xf", "tar"

    def command(self, image):
        commands = [
            f"mkdir {self.at}/{nr} && tar -xpf {layer} --numeric-owner -C {self.at}/{nr}"
            for nr, layer in enumerate(image.layers)
        ]
        return ["sh", "-ec", "\n".join(commands)]


class Umoci(Tool):
    name, program = "umoci unpack", "umoci"

    def command(self, image):
        return ["umoci", "unpack", "--image", f"{image.folder}:1", f"{self.at}/bundle"]


class Podman(Tool):
    name, program = "podman load", "podman"

    def command(self, image):
        return [*self.call(), "load", "-q", "-i", image.archive]

    def call(self):
        return ["podman", "--root", f"{self.at}/root", "--runroot", f"{self.at}/run", "--storage-driver", "overlay"]

    def clean(self, _image):
        self.quiet(*self.call(), "rmi", "-af")

    def stop(self):
        self.clean(None)
        self.quiet("umount", f"{self.at}/root/overlay")
        super().clean(None)


class Daemon(Tool):
    """A program whose work is done by another that must run."""

    daemon = None

    def start(self):
        super().start()
        self.socket = f"/run/ovlctl-bench-{os.getpid()}-{self.program}.sock"
        with open(self.at + ".daemon.log", "wb") as log:
            self.daemon = subprocess.Popen(self.where.argv(*self.serve()), stdout=log, stderr=log)
        for _ in range(120):
            answer = subprocess.run(self.where.argv(*self.call(), "version"), capture_output=True, check=False)
            if answer.returncode == 0:
                return
            if self.daemon.poll() is not None:
                break
            time.sleep(0.25)
        raise OSError(f"{self.serve()[0]} does not start: see {self.at}.daemon.log")

    def stop(self):
        if self.daemon:
            self.daemon.terminate()
            self.daemon.wait()
            self.quiet("rm", "-f", self.socket, self.socket + ".ttrpc")
        for _ in range(20):
            table = output(*self.where.argv("cat", "/proc/self/mountinfo")).splitlines()
            below = [line.split()[4] for line in table if line.split()[4].startswith(self.at + "/")]
            for target in reversed(below):
                self.quiet("umount", "-l", target)
            if not below:
                break
        shutil.rmtree(self.at, ignore_errors=True)


class Docker(Daemon):
    name, program = "docker load", "docker"

    def is_there(self):
        return self.where.has("docker") and self.where.has("dockerd")

    def version(self):
        return re.search(r"\d+\.\d+\.\d+", output(*self.where.argv("dockerd", "--version"))).group()

    def serve(self):
        places = ["--data-root", f"{self.at}/data", "--exec-root", f"{self.at}/exec", "-p", f"{self.at}/pid"]
        network = ["--iptables=false", "--ip6tables=false", "--bridge=none"]
        return ["dockerd", "-H", f"unix://{self.socket}", "--storage-driver", "overlay2", *places, *network]

    def call(self):
        return ["docker", "-H", f"unix://{self.socket}"]

    def command(self, image):
        return [*self.call(), "load", "-q", "-i", image.archive]

    def clean(self, _image):
        self.quiet(*self.call(), "system", "prune", "-af")


class Containerd(Daemon):
    name, program = "ctr images import", "ctr"

    def is_there(self):
        return self.where.has("ctr") and self.where.has("containerd")

    def serve(self):
        return ["containerd", "--root", f"{self.at}/root", "--state", f"{self.at}/state", "-a", self.socket]

    def call(self):
        return ["ctr", "-a", self.socket]

    def command(self, image):
        return [*self.call(), "images", "import", "--snapshotter", "overlayfs", image.archive]

    def clean(self, image):
        if image:
            self.quiet(*self.call(), "images", "rm", "--sync", f"docker.io/bench/{image.name}:1")


PEERS = [Tar, Umoci, Podman, Docker, Containerd]
