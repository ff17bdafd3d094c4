"""All that is measured besides loads: each function gives rows of (what, value, unit, goal)."""

import json
import os
import time

from measure import Failed, all_at_once, median, output, quiet, run, run_piped, settle
from records import fill


class Place:
    """Where things are: the program, a directory on the filesystem under test, the images, the floor program."""

    def __init__(self, program, folder, images, floor):
        self.program, self.folder, self.images, self.floor = program, folder, images, floor
        self.root = os.path.join(folder, "matters")
        self.target = os.path.join(folder, "target")

    def ovlctl(self, *arguments):
        return [self.program, "--root", self.root, *arguments]

    def emptied(self):
        quiet("rm", "-rf", "--one-file-system", self.root)
        settle(self.folder)

    def load(self, name):
        return run(self.ovlctl("load", "-q", self.images[name].archive))


def start_up(place, rounds):
    own = median([run([place.program, "--version"]).wall for _ in range(20 * rounds)])
    least = median([run(["true"]).wall for _ in range(20 * rounds)])
    yield "start-up (`--version`), above `true`", 1000 * (own - least), "ms", "< 2"


def from_standard_input(place, rounds):
    """From a file, from a file as standard input, and from two pipes: what writes into the second one copies nothing."""
    archive = place.images["node-slim"].archive
    load = place.ovlctl("load", "-q")

    def from_file():
        with open(archive, "rb") as file:
            return run([*load, "-"], file)

    def cat(pipe):
        os.dup2(pipe, 1)
        os.execvp("cat", ["cat", archive])

    def splice(pipe):
        with open(archive, "rb") as file:
            while os.splice(file.fileno(), pipe, 1 << 20):
                pass

    ways = {
        "file": lambda: run([*load, archive]),
        "a file": from_file,
        "a pipe from cat(1)": lambda: run_piped(cat, [*load, "-"]),
        "a pipe, by splice(2)": lambda: run_piped(splice, [*load, "-"]),
    }
    times = {way: [] for way in ways}
    for nr in range(rounds + 1):
        for way, load_it in ways.items():
            place.emptied()
            took = load_it().wall
            if nr > 0:
                times[way].append(took)
    for way in list(ways)[1:]:
        yield f"load from standard input, {way} : from a file", median(times[way]) / median(times["file"]), "×", "≤ 1.2"


def with_sync(place, rounds):
    """As users load: it returns when the disk, here memory, has the image."""
    ways = {"unsynced": [], "synced": ["env", "-u", "OVLCTL_NO_SYNC"]}
    for name in ("node-slim", "100-small"):
        times = {way: [] for way in ways}
        for _ in range(rounds):
            for way, before in ways.items():
                place.emptied()
                times[way].append(run([*before, *place.ovlctl("load", "-q", place.images[name].archive)]).wall)
        yield f"load with sync of {name}", 1000 * median(times["synced"]), "ms", None
        yield f"load with sync : without, {name}", median(times["synced"]) / median(times["unsynced"]), "×", None


def second_version(place, rounds):
    """An image that shares all layers but one with another, against an image that is that one layer alone."""
    first, second, alone = [], [], []
    for _ in range(rounds):
        place.emptied()
        first.append(place.load("node-slim").wall)
        settle(place.folder)
        second.append(place.load("node-slim-2").wall)
        place.emptied()
        alone.append(place.load("app-alone").wall)
    yield "second version, one layer new", 1000 * median(second), "ms", None
    yield "second version : that layer alone", median(second) / median(alone), "×", "≈ 1"
    yield "second version : first load", median(second) / median(first), "×", None


def mounting(place, rounds):
    os.makedirs(place.target, exist_ok=True)
    for layers, goal in (("10", "< 5"), ("128", "< 15")):
        name = f"{layers}-layers"
        place.emptied()
        place.load(name)
        kernel = kernel_alone(place)
        ways = {"by name": f"bench/{name}:1", "of an archive": place.images[name].archive}
        for way, source in ways.items():
            mounts, umounts = [], []
            for _ in range(10 * rounds):
                mounts.append(run(place.ovlctl("mount", source, place.target)).wall)
                umounts.append(run(place.ovlctl("umount", "--rm", place.target)).wall)
            own = 1000 * (median(mounts) - kernel["mount"])
            if way == "by name":
                yield f"mount by name, {layers} layers, above the kernel's {1000 * kernel['mount']:.1f} ms", own, "ms", goal
                own = 1000 * (median(umounts) - kernel["umount"])
                yield f"umount --rm, {layers} layers, above the kernel's", own, "ms", goal
            else:
                yield f"mount ARCHIVE, in the store already, {layers} layers", 1000 * median(mounts), "ms", "< 20"
    place.emptied()
    place.load("one-big")
    runs = []
    for _ in range(5 * rounds):
        runs.append(run(place.ovlctl("mount", place.images["one-big"].archive, place.target)).wall)
        quiet(*place.ovlctl("umount", "--rm", place.target))
    yield "mount ARCHIVE, in the store already, 590 MB", 1000 * median(runs), "ms", "< 20"


def kernel_alone(place):
    layers = os.path.join(place.root, "overlay2")
    lowers = [os.path.join(layers, name, "diff") for name in sorted(os.listdir(layers)) if len(name) == 64]
    scratch = os.path.join(place.folder, "floor-mount")
    os.makedirs(scratch, exist_ok=True)
    return json.loads(output(place.floor, "mount", scratch, *lowers))


def large_store(place, rounds):
    """1,000 images of 10 layers each: records, and layers without files."""
    place.emptied()
    place.load("10-layers")
    fill(place.root, 1000, 10)
    fast = ["images", "mounts", "df", "prune -n"]
    goals = dict.fromkeys(fast, "< 100") | {"layers": None, "df --json": None}
    for verb, goal in goals.items():
        times = [run(place.ovlctl(*verb.split())).wall for _ in range(3 * rounds)]
        yield f"`{verb}`, 1,000 images, 10,000 layers", 1000 * median(times), "ms", goal


def hundred_containers(place, rounds):
    """A hundred containers mounted at once: whether the last ones take longer than the first."""
    place.emptied()
    place.load("10-layers")
    first, last, ends = [], [], []
    for _ in range(rounds):
        times = []
        for nr in range(100):
            target = f"{place.folder}/targets/{nr}"
            os.makedirs(target, exist_ok=True)
            times.append(run(place.ovlctl("mount", "--rm", "bench/10-layers:1", target)).wall)
        first += times[:10]
        last += times[-10:]
        ends.append(run(place.ovlctl("umount", "--all")).wall)
        if os.listdir(f"{place.root}/containers"):
            raise Failed("umount --all left containers")
    yield "mount, with 100 mounted", 1000 * median(last), "ms", None
    yield "mount, with 100 mounted : with none", median(last) / median(first), "×", None
    yield "umount --all of 100 containers, each", 10 * median(ends), "ms", None


def removing(place, rounds):
    """What the user waits for, and how long it takes until all is deleted, in the background or with --wait."""
    times = {what: [] for what in ("rm", "background", "prune", "wait", "rm -rf")}
    for _ in range(rounds):
        loaded_large(place)
        began = time.perf_counter()
        times["rm"].append(run(place.ovlctl("rm", "bench/one-big:1")).wall)
        deleted(place)
        times["background"].append(time.perf_counter() - began)
        loaded_large(place)
        with open(f"{place.root}/names.json", "w") as names:
            json.dump({"format": 1, "names": {}}, names)
        times["prune"].append(run(place.ovlctl("prune")).wall)
        deleted(place)
        loaded_large(place)
        times["wait"].append(run(place.ovlctl("rm", "--wait", "bench/one-big:1")).wall)
        times["rm -rf"].append(plain_removal(place))
    least = median(times["rm -rf"])
    yield "rm of 21,000 files returns after", 1000 * median(times["rm"]), "ms", None
    yield "prune of 21,000 files returns after", 1000 * median(times["prune"]), "ms", None
    yield "rm of 21,000 files, deleted in the background : rm -rf", median(times["background"]) / least, "×", "≤ 1"
    yield "rm --wait of 21,000 files : rm -rf", median(times["wait"]) / least, "×", "≤ 1"


def loaded_large(place):
    place.emptied()
    place.load("one-big")
    settle(place.folder)


def deleted(place):
    """Waits until the background has deleted what was removed."""
    while os.listdir(f"{place.root}/staging"):
        time.sleep(0.002)


def plain_removal(place):
    tree = os.path.join(place.folder, "tree")
    os.makedirs(tree)
    quiet("tar", "-xpf", place.images["one-big"].layers[0], "-C", tree)
    settle(place.folder)
    return run(["rm", "-rf", tree]).wall


def at_once(place, rounds):
    names = [f"eighth-{nr}" for nr in range(8)]
    commands = [place.ovlctl("load", "-q", place.images[name].archive) for name in names]
    together, apart = [], []
    for _ in range(rounds):
        place.emptied()
        together.append(all_at_once(commands))
        place.emptied()
        apart.append(sum(run(command).wall for command in commands))
    yield "8 loads at once : one after another", median(together) / median(apart), "×", "≤ 1"


def memory(place, rounds):
    for name in ("node-slim", "node-slim-gzip", "node-slim-zstd", "10-layers-xz", "one-big", "128-layers"):
        peaks = []
        for _ in range(rounds):
            place.emptied()
            peaks.append(place.load(name).memory)
        yield f"peak memory, load of {name}", max(peaks) / 1024, "MiB", "< 64"


def growth(place, rounds):
    """A million files beside a tenth of them, in turns with tar(1), and 500 layers. Takes a minute or two a round. The least
    counts: the first round has a filesystem that is all new."""
    counts, runs = ("100000", "1000000"), {}
    for _ in range(rounds):
        for count in counts:
            image = place.images[f"{count}-files"]
            place.emptied()
            runs.setdefault(("load", count), []).append(place.load(image.name))
            place.emptied()
            os.mkdir(place.root)
            untar = ["tar", "-xf", image.layers[0], "-C", place.root]
            runs.setdefault(("tar -xf", count), []).append(run(untar))
    walls = {way: min(run.wall for run in of) for way, of in runs.items()}
    for (way, count), wall in walls.items():
        yield f"{way} of {int(count):,} files", wall, "s", None
    fewer, more = (("load", count) for count in counts)
    yield "load of ten times the files", walls[more] / walls[fewer], "×", "≈ 10"
    work = {way: min(run.cpu for run in runs[way]) for way in (fewer, more)}
    yield "load of ten times the files, processor time", work[more] / work[fewer], "×", "≈ 10"
    yield "load of 1,000,000 files, peak memory", max(run.memory for run in runs[more]) / 1024, "MiB", "< 64"
    for layers in ("10", "128", "500"):
        place.emptied()
        took = place.load(f"{layers}-layers").wall
        yield f"load of {layers} small layers, each", 1000 * took / int(layers), "ms", None


MATTERS = {
    "start-up": (start_up, []),
    "pipe": (from_standard_input, ["node-slim"]),
    "sync": (with_sync, ["node-slim", "100-small"]),
    "reuse": (second_version, ["node-slim", "node-slim-2", "app-alone"]),
    "mount": (mounting, ["10-layers", "128-layers", "one-big"]),
    "lists": (large_store, ["10-layers"]),
    "containers": (hundred_containers, ["10-layers"]),
    "rm": (removing, ["one-big"]),
    "at-once": (at_once, [f"eighth-{nr}" for nr in range(8)]),
    "memory": (memory, ["node-slim", "node-slim-gzip", "node-slim-zstd", "10-layers-xz", "one-big", "128-layers"]),
    "growth": (growth, ["100000-files", "1000000-files", "10-layers", "128-layers", "500-layers"]),
}
