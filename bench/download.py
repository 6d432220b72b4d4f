"""How fast a large file is downloaded: by this package, which hashes what it writes, against `curl`, which does not.

    python bench/download.py [--size 1000] [--rounds 9]

A server on loopback gives the file by sendfile, so that it is not what is measured. All contenders take turns in every
round, on the same disk, and what one wrote is removed and flushed before the next begins; the first round is not
counted. Printed are medians of the time that went by and of the processor time, which does not depend on what else the
machine does, and the ratio of each to that of `curl` in the same rounds with a 95 % interval, bootstrapped over them.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np

from lewm_cli.fetch.download import download
from lewm_cli.fetch.remote import Remote

RESAMPLES = 10_000
MEGABYTE = 10**6


@contextmanager
def serving(path: Path) -> Iterator[str]:
    """Serve one file, with ranges; yields its URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            size = path.stat().st_size
            asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            first = int(asked[1]) if asked else 0
            self.send_response(206 if asked else 200)
            self.send_header("Content-Type", "application/octet-stream")
            self.send_header("Content-Length", str(size - first))
            self.send_header("ETag", f'"{path.stat().st_mtime_ns}"')
            if asked:
                self.send_header("Content-Range", f"bytes {first}-{size - 1}/{size}")
            self.end_headers()
            with path.open("rb") as file:
                self.connection.sendfile(file, first)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/large"
    finally:
        server.shutdown()
        server.server_close()


def contenders(url: str, target: Path, sha256: str) -> dict[str, Callable[[], object]]:
    """What is timed, by name; the first is what the others are compared with."""
    curl = ["curl", "--silent", "--fail", "--output", str(target), url]
    flushed = f"{' '.join(curl)} && sync {target}"
    return {
        "curl": lambda: subprocess.run(curl, check=True),
        "curl, then sync": lambda: subprocess.run(flushed, shell=True, check=True),
        "curl, then sync and sha256sum": lambda: subprocess.run(
            f"{flushed} && sha256sum {target}", shell=True, check=True, stdout=subprocess.DEVNULL
        ),
        "lewm: checked and synced": lambda: download(Remote(url, "large", sha256=sha256), target),
    }


def in_a_process_of_its_own(url: str, target: Path, sha256: str, name: str) -> list[float]:
    """What `timed` finds, without the start of Python; the server stays in this process."""
    command = [sys.executable, __file__, "--time", name, url, str(target), sha256]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def timed(name: str, url: str, target: Path, sha256: str) -> tuple[float, float]:
    """Seconds that one contender takes, and seconds of processor time of it and its children."""
    run = contenders(url, target, sha256)[name]
    before, started = os.times(), time.perf_counter()
    run()
    seconds, after = time.perf_counter() - started, os.times()
    return seconds, sum(after[:4]) - sum(before[:4])


def measure(size: int, rounds: int, folder: Path) -> dict[str, list[list[float]]]:
    """Seconds and seconds of processor time of every round, by contender.

    Args:
        size: bytes.
        rounds: how many are counted.
        folder: where the file and its copies lie.
    """
    source, target = folder / "large", folder / "copy"
    content = np.random.default_rng(0).bytes(size)
    source.write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    del content
    seconds: dict[str, list[list[float]]] = {}
    with serving(source) as url:
        for _ in range(rounds + 1):
            for name in contenders(url, target, sha256):
                seconds.setdefault(name, []).append(in_a_process_of_its_own(url, target, sha256, name))
                assert target.stat().st_size == size
                target.unlink()
                os.sync()
    return {name: values[1:] for name, values in seconds.items()}


def interval(ours: list[float], theirs: list[float]) -> tuple[float, float]:
    """95 % interval of the ratio of medians, drawing rounds anew."""
    rounds = np.random.default_rng(0).integers(0, len(ours), (RESAMPLES, len(ours)))
    ratios = np.median(np.array(ours)[rounds], axis=1) / np.median(np.array(theirs)[rounds], axis=1)
    low, high = np.quantile(ratios, (0.025, 0.975))
    return float(low), float(high)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=1000, help="megabytes")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--folder", type=Path, help="on which disk; the temporary folder")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--time", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.time:
        name, url, target, sha256 = options.time
        print(json.dumps(timed(name, url, Path(target), sha256)))
        return
    if shutil.which("curl") is None:
        sys.exit("there is no curl to compare with; install it")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        seconds = measure(options.size * MEGABYTE, options.rounds, Path(folder))
    if options.json:
        print(json.dumps(seconds))
        return
    print(f"{options.size} MB, {options.rounds} rounds, {os.cpu_count()} cores")
    for column, title in enumerate(("time", "processor time")):
        taken = {name: [values[column] for values in rounds] for name, rounds in seconds.items()}
        reference = next(iter(taken.values()))
        print(f"{title}\n{'median s':>9} {'from':>7} {'to':>7} {'MB/s':>6} {'ratio':>6} {'95 % interval':>16}")
        for name, values in taken.items():
            median = statistics.median(values)
            low, high = interval(values, reference)
            print(
                f"{median:9.3f} {min(values):7.3f} {max(values):7.3f} {options.size / median:6.0f} "
                f"{median / statistics.median(reference):6.2f} {f'[{low:.2f}, {high:.2f}]':>16}   {name}"
            )


if __name__ == "__main__":
    main()
