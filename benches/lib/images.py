"""Makes the image archives that are measured: the same bytes on every machine, and nothing of the machine's own.

    images.py DIR NAME...      makes DIR/NAME.tar for each name (see IMAGES)

An archive is what `docker save` has written since version 25: an OCI layout and a manifest.json in one tar. File sizes
follow what was counted in images: half of the files have at most 3.8 KB, and few large ones have half of the bytes.
Contents compress as images do (gzip to a third).
"""

import hashlib
import io
import json
import math
import os
import random
import subprocess
import sys
import tarfile

MEDIAN, SPREAD, LARGE = 3800, 1.7, 1 << 20
TIME = 1_700_000_000
POOL = 24 << 20


class Contents:
    """Bytes to cut files from: words, machine code's uneven bytes, and what is compressed already."""

    def __init__(self):
        rng = random.Random("contents")
        words = ["".join(rng.choices("etaoinshrdlucmfwypvbgkjqxz_.", k=rng.randint(2, 9))) for _ in range(6000)]
        common = [w for i, w in enumerate(words) for _ in range(1 + 600 // (i + 1))]
        phrases = [" ".join(rng.choices(common, k=rng.randint(2, 9))) for _ in range(1500)]
        text = "\n".join(rng.choices(phrases, k=POOL // 36)).encode()
        uneven = bytes(int(255 * (i / 255) ** 12) for i in range(256))
        code = rng.randbytes(POOL // 4).translate(uneven)
        self.parts = [text] * 6 + [code] * 3 + [rng.randbytes(POOL // 8)]

    def of(self, rng, size):
        part = rng.choice(self.parts)
        pieces, left = [], size
        while left > 0:
            n = min(left, 1 << 20, len(part))
            at = rng.randrange(len(part) - n + 1)
            pieces.append(part[at : at + n])
            left -= n
        return b"".join(pieces)


def sizes(rng, count):
    """Sizes of files up to LARGE."""
    return [min(int(rng.lognormvariate(math.log(MEDIAN), SPREAD)), LARGE) for _ in range(count)]


class Layer:
    """One layer's tar, written into memory."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.out = io.BytesIO()
        self.tar = tarfile.open(fileobj=self.out, mode="w", format=tarfile.GNU_FORMAT)
        self.dirs = set()

    def entry(self, path, kind=tarfile.REGTYPE, mode=0o644, data=b"", link=""):
        info = tarfile.TarInfo(path)
        info.type, info.mode, info.mtime, info.linkname = kind, mode, TIME + len(path), link
        info.size = len(data)
        self.tar.addfile(info, io.BytesIO(data))

    def directory(self, path):
        if path and path not in self.dirs:
            self.directory(os.path.dirname(path))
            self.dirs.add(path)
            self.entry(path, tarfile.DIRTYPE, 0o755)

    def files(self, top, sizes, contents, per_dir=7):
        """A tree below `top`: some files a directory, a link or two among them."""
        here = top
        for nr, size in enumerate(sizes):
            if nr % per_dir == 0:
                here = f"{top}/d{nr // (per_dir * 12):03}/s{nr // per_dir:04}"
                self.directory(here)
            mode = 0o755 if nr % 11 == 0 else 0o644
            self.entry(f"{here}/file-{nr:05}", mode=mode, data=contents.of(self.rng, size))
            if nr % 23 == 0:
                self.entry(f"{here}/link-{nr:05}", tarfile.SYMTYPE, 0o777, link=f"file-{nr:05}")
        return self

    def bytes(self):
        self.tar.close()
        return self.out.getvalue()


def node_slim(contents, last="first"):
    """Six layers as node:20-slim has them: a base system, a large program with many modules, and little things."""
    base = Layer("base")
    base.files("usr", sizes(base.rng, 3300), contents)
    base.files("usr/lib/x86_64", [2_200_000, 4_600_000, 9_000_000, 1_800_000], contents)
    user = Layer("user").files("etc", [900, 1100, 700, 450, 2500], contents)
    node = Layer("node")
    node.files("usr/local/bin", [93_000_000], contents)
    node.files("usr/local/lib/node_modules", sizes(node.rng, 4100), contents)
    yarn = Layer("yarn").files("opt/yarn", [5_200_000, 900, 20_000, 3_000, 140_000], contents)
    start = Layer("start").files("usr/local/bin/start", [388], contents)
    app = Layer(f"app {last}")
    app.files("srv/app", sizes(app.rng, 350), contents)
    return [layer.bytes() for layer in (base, user, node, yarn, start, app)]


def app_alone(contents):
    """The layer that the second version has, and no other."""
    return node_slim(contents, "second")[-1:]


def one_big(contents):
    """One layer of more than 20,000 files, 220 MB of it in files over 1 MB."""
    big = Layer("big")
    large = [big.rng.randint(1_100_000, 12_000_000) for _ in range(34)]
    small = sizes(big.rng, 21_200)
    every = len(small) // len(large)
    for nr, size in enumerate(large):
        small.insert(nr * (every + 1), size)
    return [big.files("usr/share", small, contents).bytes()]


def small_layers(contents, count):
    """Layers of a dozen small files each, as long Dockerfiles make them."""
    layers = []
    for nr in range(count):
        layer = Layer(f"small {nr}")
        layers.append(layer.files(f"opt/{nr:03}", sizes(layer.rng, 12), contents).bytes())
    return layers


def many(contents, count):
    """One layer of so many empty or tiny files."""
    layer = Layer("many")
    return [layer.files("data", [nr % 64 for nr in range(count)], contents, per_dir=100).bytes()]


def eighth(contents, nr):
    """One of eight images of 30 MB that share nothing."""
    layers = [Layer(f"eighth {nr} {at}") for at in range(2)]
    return [layer.files(f"usr/{nr}", sizes(layer.rng, 1000), contents).bytes() for layer in layers]


IMAGES = {
    "node-slim": (node_slim, "plain"),
    "node-slim-gzip": (node_slim, "gzip"),
    "node-slim-zstd": (node_slim, "zstd"),
    "node-slim-2": (lambda contents: node_slim(contents, "second"), "plain"),
    "app-alone": (app_alone, "plain"),
    "one-big": (one_big, "plain"),
    "100-small": (lambda contents: small_layers(contents, 100), "plain"),
    "10-layers": (lambda contents: small_layers(contents, 10), "plain"),
    "10-layers-xz": (lambda contents: small_layers(contents, 10), "xz"),
    "128-layers": (lambda contents: small_layers(contents, 128), "plain"),
    "500-layers": (lambda contents: small_layers(contents, 500), "plain"),
    "100000-files": (lambda contents: many(contents, 100_000), "plain"),
    "1000000-files": (lambda contents: many(contents, 1_000_000), "plain"),
} | {f"eighth-{nr}": (lambda contents, nr=nr: eighth(contents, nr), "plain") for nr in range(8)}

COMPRESS = {"gzip": ["gzip", "-6n"], "zstd": ["zstd", "-3", "-q", "-T1"], "xz": ["xz", "-6"]}


def compressed(data, how):
    if how == "plain":
        return data
    return subprocess.run(COMPRESS[how], input=data, stdout=subprocess.PIPE, check=True).stdout


def write_archive(path, name, layers, how):
    """Blobs first and manifest.json near the end, as `docker save` does."""
    kind = "application/vnd.oci.image."
    suffix = "" if how == "plain" else f"+{how}"
    blobs = {}

    def blob(data, media_type):
        digest = hashlib.sha256(data).hexdigest()
        blobs[digest] = data
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    diff_ids = ["sha256:" + hashlib.sha256(layer).hexdigest() for layer in layers]
    stored = [blob(compressed(layer, how), f"{kind}layer.v1.tar{suffix}") for layer in layers]
    config = {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine),
        "os": "linux",
        "created": "2023-11-14T22:13:20Z",
        "config": {"Cmd": ["/bin/sh"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": [{"created": "2023-11-14T22:13:20Z", "created_by": f"layer {nr}"} for nr in range(len(layers))],
    }
    config = blob(json.dumps(config).encode(), f"{kind}config.v1+json")
    manifest = {"schemaVersion": 2, "mediaType": f"{kind}manifest.v1+json", "config": config, "layers": stored}
    manifest = blob(json.dumps(manifest).encode(), f"{kind}manifest.v1+json")
    tag = f"docker.io/bench/{name}:1"
    manifest["annotations"] = {"io.containerd.image.name": tag, "org.opencontainers.image.ref.name": "1"}
    index = {"schemaVersion": 2, "mediaType": f"{kind}index.v1+json", "manifests": [manifest]}
    place = lambda descriptor: "blobs/sha256/" + descriptor["digest"][7:]
    docker = [{"Config": place(config), "RepoTags": [f"bench/{name}:1"], "Layers": [place(layer) for layer in stored]}]
    with tarfile.open(path + ".part", "w", format=tarfile.GNU_FORMAT) as tar:
        for digest in sorted(blobs):
            add(tar, f"blobs/sha256/{digest}", blobs[digest])
        add(tar, "index.json", json.dumps(index).encode())
        add(tar, "manifest.json", json.dumps(docker).encode())
        add(tar, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
    os.rename(path + ".part", path)


def add(tar, name, data):
    info = tarfile.TarInfo(name)
    info.size, info.mtime = len(data), TIME
    tar.addfile(info, io.BytesIO(data))


def main(folder, *names):
    contents = Contents()
    for name in names:
        make, how = IMAGES[name]
        write_archive(f"{folder}/{name}.tar", name, make(contents), how)


if __name__ == "__main__":
    main(*sys.argv[1:])
