"""Fills a store with records of images that were never loaded: what lists read, and no trees."""

import hashlib
import json
import os
import random

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


def fill(root, images, layers):
    """Makes `images` of `layers` layers each, like the image that the store at `root` holds."""
    rng = random.Random("records")
    image_id = os.listdir(f"{root}/images")[0]
    with open(f"{root}/images/{image_id}/image.json") as file:
        image = json.load(file)
    with open(f"{root}/layers/{hexes(image['layers'][1]['chain_id'])}.json") as file:
        layer = json.load(file)
    with open(f"{root}/names.json") as file:
        names = json.load(file)
    for nr in range(images):
        below, stack = None, []
        record = like(image, id=digest("image", nr), layers=[])
        for at in range(layers):
            diff_id = digest("diff", nr, at)
            chain_id = chained(below, diff_id)
            one_layer(root, like(layer, chain_id=chain_id, diff_id=diff_id, parent=below), stack, rng)
            record["layers"].append(like(image["layers"][at], chain_id=chain_id, diff_id=diff_id))
            below = chain_id
        folder = f"{root}/images/{hexes(record['id'])}"
        os.mkdir(folder, 0o700)
        write(f"{folder}/image.json", json.dumps(record))
        write(f"{folder}/config.json", "{}")
        names["names"][f"bench/made-{nr}:1"] = record["id"]
    write(f"{root}/names.json", json.dumps(names))


def one_layer(root, record, stack, rng):
    name, link = hexes(record["chain_id"]), "".join(rng.choices(LETTERS, k=26))
    write(f"{root}/layers/{name}.json", json.dumps(record))
    folder = f"{root}/overlay2/{name}"
    os.makedirs(f"{folder}/diff")
    write(f"{folder}/link", link)
    if stack:
        write(f"{folder}/lower", ":".join(stack))
    os.symlink(f"../{name}/diff", f"{root}/overlay2/l/{link}")
    stack.insert(0, f"l/{link}")


def digest(*what):
    return "sha256:" + hashlib.sha256(repr(what).encode()).hexdigest()


def chained(below, diff_id):
    """The chain id of a layer on that stack (image-spec, config.md)."""
    return diff_id if below is None else "sha256:" + hashlib.sha256(f"{below} {diff_id}".encode()).hexdigest()


def hexes(text):
    return text.removeprefix("sha256:")


def like(record, **changes):
    return {**record, **changes}


def write(path, text):
    with open(path, "w") as file:
        file.write(text)
