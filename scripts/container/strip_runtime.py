#!/usr/bin/env python3
"""usage: strip_runtime.py DIR

Takes the static symbol tables, a quarter of their size that nothing needs at run
time, out of the libraries that "tfconvrnn-cli runtime install" put into DIR, and
brings sizes and checksums in DIR/manifest.json up to date, so that "doctor
--verify" goes on working.
"""
import hashlib
import json
import os
import subprocess
import sys


def main(directory):
    path = os.path.join(directory, "manifest.json")
    with open(path, encoding="utf-8") as file:
        manifest = json.load(file)
    for entry in manifest["files"]:
        library = os.path.join(directory, entry["name"])
        subprocess.run(["strip", "--strip-all", "--preserve-dates", library], check=True)
        digest = hashlib.sha256()
        with open(library, "rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
        entry["size"] = os.path.getsize(library)
        entry["sha256"] = digest.hexdigest()
    temporary = path + ".new"
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(manifest, file, indent=2)
        file.write("\n")
    os.replace(temporary, path)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
