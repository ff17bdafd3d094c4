"""The programs that are compared: each brings the layers of one archive to disk, below one directory."""

import os
import re
import shutil
import subprocess
import time

from measure import output, quiet, run, there


class Tool:
    """A program; what `prepare`, `clean` and `stop` do is not measured."""

    program = name = ""

    def __init__(self, folder):
        self.at = os.path.join(folder, self.name.split()[0])

    def is_there(self):
        return there(self.program)

    def version(self):
        found = re.search(r"\d+\.\d+(\.\d+)?", output(self.program, "--version"))
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
        return run(self.command(image), log=self.at + ".log")


class Ovlctl(Tool):
    name = "ovlctl"

    def __init__(self, folder, program):
        super().__init__(folder)
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
        quiet(*self.call(), "rmi", "-af")

    def stop(self):
        self.clean(None)
        quiet("umount", f"{self.at}/root/overlay")
        super().clean(None)


class Daemon(Tool):
    """A program whose work is done by another that must run."""

    daemon = None

    def start(self):
        super().start()
        self.socket = f"/run/ovlctl-bench-{os.getpid()}-{self.program}.sock"
        with open(self.at + ".daemon.log", "wb") as log:
            self.daemon = subprocess.Popen(self.serve(), stdout=log, stderr=log)
        for _ in range(120):
            if subprocess.run(self.call() + ["version"], capture_output=True, check=False).returncode == 0:
                return
            if self.daemon.poll() is not None:
                break
            time.sleep(0.25)
        raise OSError(f"{self.serve()[0]} does not start: see {self.at}.daemon.log")

    def stop(self):
        if self.daemon:
            self.daemon.terminate()
            self.daemon.wait()
            quiet("rm", "-f", self.socket, self.socket + ".ttrpc")
        for _ in range(20):
            with open("/proc/self/mountinfo") as table:
                below = [line.split()[4] for line in table if line.split()[4].startswith(self.at + "/")]
            for target in reversed(below):
                quiet("umount", "-l", target)
            if not below:
                break
        shutil.rmtree(self.at, ignore_errors=True)


class Docker(Daemon):
    name, program = "docker load", "docker"

    def is_there(self):
        return there("docker") and there("dockerd")

    def version(self):
        return re.search(r"\d+\.\d+\.\d+", output("dockerd", "--version")).group()

    def serve(self):
        places = ["--data-root", f"{self.at}/data", "--exec-root", f"{self.at}/exec", "-p", f"{self.at}/pid"]
        network = ["--iptables=false", "--ip6tables=false", "--bridge=none"]
        return ["dockerd", "-H", f"unix://{self.socket}", "--storage-driver", "overlay2", *places, *network]

    def call(self):
        return ["docker", "-H", f"unix://{self.socket}"]

    def command(self, image):
        return [*self.call(), "load", "-q", "-i", image.archive]

    def clean(self, _image):
        quiet(*self.call(), "system", "prune", "-af")


class Containerd(Daemon):
    name, program = "ctr images import", "ctr"

    def is_there(self):
        return there("ctr") and there("containerd")

    def serve(self):
        return ["containerd", "--root", f"{self.at}/root", "--state", f"{self.at}/state", "-a", self.socket]

    def call(self):
        return ["ctr", "-a", self.socket]

    def command(self, image):
        return [*self.call(), "images", "import", "--snapshotter", "overlayfs", image.archive]

    def clean(self, image):
        if image:
            quiet(*self.call(), "images", "rm", "--sync", f"docker.io/bench/{image.name}:1")


PEERS = [Tar, Umoci, Podman, Docker, Containerd]
