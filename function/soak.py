"""Hostile soak: valid, hostile, slow and aborting clients at once, more than the function can serve, within a memory limit.

    make soak                       # an hour
    make soak SOAK_SECONDS=25

python3 function/soak.py BINARY --seconds N --limit-mib M

Needs nothing but Python and the built function. As root where cgroups can be made, the function runs in one with the limit, and the
kernel kills it if it takes more; elsewhere its resident memory is watched. Fails on: a death, a 500, a wrong answer to a valid
picture, a probe that is not answered in time, memory over the limit, descriptors that are left open.
"""

import argparse
import base64
import collections
import contextlib
import http.client
import json
import multiprocessing
import multiprocessing.connection
import os
import pathlib
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib

HERE = pathlib.Path(__file__).parent
FORMATS = HERE.parent / "picture/tests/formats"
SAMPLES = {"open.jpg": "open", "closed.jpg": "closed", "covered.jpg": "no_eyes", "one-open.jpg": "open"}
# A probe fails after as long as a kubelet may be told to wait. Those over a second are counted.
PROBE_SECONDS = 3
LATE_SECONDS = 1
# More clients than the queue and the threads have places for.
CLIENTS = 40
TIMEOUT = 30


class Failed(Exception):
    """A violated expectation."""


class Function:
    """The process, in a memory cgroup where one can be made."""

    def __init__(self, binary: str, limit: int):
        self.limit, self.group = limit, None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        with contextlib.suppress(OSError):
            self.group = make_cgroup(limit)
        environment = {**os.environ, **allocator(), "PORT": str(self.port), "HOST": "127.0.0.1", "RUST_LOG": "warn"}
        enter = (lambda: (self.group / "cgroup.procs").write_text("0")) if self.group else None
        self.process = subprocess.Popen([binary], env=environment, preexec_fn=enter, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + TIMEOUT
        while self.get("/readyz") != 200:
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise Failed("the function does not get ready")
            time.sleep(0.02)

    def get(self, path: str) -> int | None:
        return get(self.port, path)

    def resident(self) -> int:
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS"))

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def peak(self) -> int | None:
        for name in ("memory.max_usage_in_bytes", "memory.peak"):
            if self.group and (self.group / name).exists():
                return int((self.group / name).read_text())
        return None

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(TIMEOUT)
        if self.group:
            self.group.rmdir()
        return code


def allocator() -> dict[str, str]:
    """The image's settings of the allocator, which the memory budget depends on."""
    found = dict(re.findall(r"(MALLOC_\w+)=(\d+)", (HERE / "Containerfile").read_text()))
    assert len(found) == 2, "function/Containerfile sets the allocator's two thresholds"
    return found


def make_cgroup(limit: int) -> pathlib.Path:
    """A cgroup under this process's own, version 1 or 2."""
    for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            root, file = pathlib.Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"
        elif not controllers and pathlib.Path("/sys/fs/cgroup/cgroup.controllers").exists():
            root, file = pathlib.Path("/sys/fs/cgroup"), "memory.max"
        else:
            continue
        group = root / path.lstrip("/") / f"soak-{os.getpid()}"
        group.mkdir()
        try:
            (group / file).write_text(str(limit))
        except OSError:
            group.rmdir()
            raise
        return group
    raise OSError("no memory controller")


def get(port: int, path: str) -> int | None:
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PROBE_SECONDS)
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None


def keep_probing(port: int, results: multiprocessing.connection.Connection) -> None:
    """Asks /livez every second. In a process of its own, which does not wait for the clients' interpreter lock."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        began = time.monotonic()
        status = get(port, "/livez")
        results.send((time.monotonic() - began, status))
        time.sleep(1)


def post(port: int, body: bytes, headers: dict[str, str], path: str = "/") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    try:
        connection.request("POST", path, body, headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def bomb(side: int) -> bytes:
    """A PNG of black pixels that is small until it is decoded."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    packer = zlib.compressobj(1)
    row = bytes(1 + 3 * side)
    data = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def listing(count: int) -> bytes:
    """A TIFF whose list of strips has `count` values: a decoder holds each in 40 bytes."""
    fields = [(256, 4, 1, 8), (257, 4, 1, 8), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 1, count, 0), (279, 1, count, 0)]
    data = 8 + 2 + 12 * len(fields) + 4
    entries = b"".join(struct.pack("<HHII", tag, kind, many, value or data) for tag, kind, many, value in fields)
    return b"II*\0" + struct.pack("<IH", 8, len(fields)) + entries + bytes(4) + b"\1" * count


def claiming(jpeg: bytes, side: int, progressive: bool) -> bytes:
    """A JPEG whose frame header claims `side` × `side` pixels."""
    at = jpeg.index(b"\xff\xc0")
    frame = struct.pack(">BHH", 8, side, side)
    return jpeg[: at + 1] + (b"\xc2" if progressive else b"\xc0") + jpeg[at + 2 : at + 4] + frame + jpeg[at + 9 :]


def large_documents() -> list[tuple[str, bytes]]:
    """JSON that takes the most memory for its length: images as large as they may be, escapes, numbers, depth."""
    encoded = base64.b64encode(bytes([255]) * 10 * 1024 * 1024)
    image = b'{"inputs":[{"name":"image","datatype":"BYTES","shape":[1],"data":["%s"]}]}'
    numbers = b'{"inputs":[{"name":"pixels","datatype":"UINT8","shape":[1,2000,3000,1],"data":[%s0]}]}' % (b"0," * 5_999_999)
    event = b'{"specversion":"1.0","id":"1","source":"/soak","type":"t","data_base64":"%s"}'
    return [
        ("/v2/models/eye-state/infer", image % encoded),
        ("/v2/models/eye-state/infer", image % encoded[:6_000_000].replace(b"/", b"\\/")),
        ("/v2/models/eye-state/infer", b'{"x":' + b"[" * 10_000_000),
        ("/v2/models/eye-state-pixels/infer", numbers),
        ("/", b"[%s,%s]" % (event % encoded, event % encoded[:8_000_000])),
    ]


class Soak:
    def __init__(self, function: Function, seed: int):
        self.function, self.stopped = function, threading.Event()
        self.counts: collections.Counter[str] = collections.Counter()
        self.failures: list[str] = []
        self.lock, self.random = threading.Lock(), random.Random(seed)
        self.samples = {name: (HERE / "samples" / name).read_bytes() for name in SAMPLES}
        blob = (FORMATS / "formats.bin").read_bytes()
        index = json.loads((FORMATS / "formats.json").read_text())
        self.files = [blob[entry["at"] : entry["at"] + entry["length"]] for entry in index]
        whole = self.samples["open.jpg"]
        self.heavy = [bomb(4096), bomb(5000), claiming(whole, 4096, False), claiming(whole, 4000, True), claiming(whole, 65500, True), listing(8_000_000)]
        self.documents = large_documents()
        # Valid requests are the most frequent; every hostile kind is always running.
        self.kinds = [(self.valid, 6), (self.file, 4), (self.damaged, 3), (self.large, 2), (self.drawn, 1), (self.aborted, 2),
                      (self.slow, 1), (self.endless_head, 1), (self.parts, 2), (self.half_request, 1),
                      (self.inference, 3), (self.large_json, 2), (self.events, 2)]  # fmt: skip

    def count(self, what: str) -> None:
        with self.lock:
            self.counts[what] += 1

    def checked(self, kind: str, answer: tuple[int, bytes]) -> tuple[int, bytes]:
        status, body = answer
        self.count(f"{kind} {status}")
        if status == 500:
            raise Failed(f"500 to a {kind} request: {body[:200]!r}")
        return answer

    def valid(self) -> None:
        name = self.random.choice(list(SAMPLES))
        status, body = self.checked("valid", post(self.function.port, self.samples[name], {"content-type": "image/jpeg"}))
        if status == 200 and json.loads(body)["state"] != SAMPLES[name]:
            raise Failed(f"{name} is {body[:80]!r}")
        if status not in (200, 408, 429, 504):
            raise Failed(f"{status} to a valid request: {body[:200]!r}")

    def file(self) -> None:
        self.checked("format", post(self.function.port, self.random.choice(self.files), {}))

    def damaged(self) -> None:
        data = bytearray(self.random.choice([*self.files, *self.samples.values()]))
        for _ in range(3):
            data[self.random.randrange(len(data))] = self.random.randrange(256)
        self.checked("damaged", post(self.function.port, bytes(data), {}))

    def large(self) -> None:
        self.checked("large", post(self.function.port, self.random.choice(self.heavy), {}))

    def drawn(self) -> None:
        accept = self.random.choice(["image/png", "image/jpeg"])
        data = self.random.choice([self.samples["open.jpg"], self.heavy[0]])
        self.checked("drawn", post(self.function.port, data, {"accept": accept}))

    def parts(self) -> None:
        body = b""
        for data in self.random.sample(self.files, 5):
            body += b'--cut\r\ncontent-disposition: form-data; name="file"; filename="f"\r\n\r\n' + data + b"\r\n"
        headers = {"content-type": "multipart/form-data; boundary=cut"}
        self.checked("multipart", post(self.function.port, body + b"--cut--\r\n", headers))

    def inference(self) -> None:
        """A valid inference request, or one whose JSON is damaged."""
        name = self.random.choice(list(SAMPLES))
        tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [base64.b64encode(self.samples[name]).decode()]}
        body = bytearray(json.dumps({"inputs": [tensor], "outputs": [{"name": "state"}]}).encode())
        valid = self.random.random() < 0.5
        if not valid:
            body[self.random.randrange(120)] = self.random.randrange(256)
        status, answer = self.checked("inference", post(self.function.port, bytes(body), {}, "/v2/models/eye-state/infer"))
        if valid and status == 200 and json.loads(answer)["outputs"][0]["data"] != [SAMPLES[name]]:
            raise Failed(f"{name} is {answer[:200]!r}")

    def large_json(self) -> None:
        path, body = self.random.choice(self.documents)
        kind = {"content-type": "application/cloudevents-batch+json"} if path == "/" else {}
        self.checked("large JSON", post(self.function.port, body, kind, path))

    def events(self) -> None:
        images = self.random.sample(self.files, 5)
        event = {"specversion": "1.0", "source": "/soak", "type": "nv-micro.frame"}
        batch = [{**event, "id": str(at), "data_base64": base64.b64encode(image).decode()} for at, image in enumerate(images)]
        self.checked("events", post(self.function.port, json.dumps(batch).encode(), {"content-type": "application/cloudevents-batch+json"}))

    def connection(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.function.port), timeout=TIMEOUT)

    def aborted(self) -> None:
        with self.connection() as stream:
            stream.sendall(b"POST / HTTP/1.1\r\nhost: soak\r\ncontent-length: 5000000\r\n\r\n")
            stream.sendall(bytes(self.random.randrange(200_000)))
        self.count("aborted")

    def slow(self) -> None:
        data = self.samples["open.jpg"]
        with self.connection() as stream:
            stream.sendall(b"POST / HTTP/1.1\r\nhost: soak\r\ncontent-length: %d\r\n\r\n" % len(data))
            for at in range(0, len(data), len(data) // 20):
                if self.stopped.wait(0.2):
                    return
                stream.sendall(data[at : at + len(data) // 20])
        self.count("slow")

    def endless_head(self) -> None:
        with self.connection() as stream, contextlib.suppress(OSError):
            stream.sendall(
                b"POST / HTTP/1.1\r\nhost: soak\r\ncontent-type: multipart/form-data; boundary=cut\r\n"
                b"transfer-encoding: chunked\r\n\r\n8\r\n--cut\r\nx\r\n"
            )
            for _ in range(600):
                stream.sendall(b"10000\r\n" + b"y" * 65536 + b"\r\n")
        self.count("endless head")

    def half_request(self) -> None:
        with self.connection() as stream:
            stream.sendall(b"POST / HTTP/1.1\r\nhost: so")
            self.stopped.wait(1)
        self.count("half a head")

    def client(self) -> None:
        kinds, weights = zip(*self.kinds)
        while not self.stopped.is_set():
            with self.lock:
                kind = self.random.choices(kinds, weights)[0]
            try:
                kind()
            except (OSError, http.client.HTTPException) as error:
                # Refusals may close a connection that is still written to.
                self.count(f"{kind.__name__} {type(error).__name__}")
                if self.function.process.poll() is not None:
                    self.failures.append(f"the function died: {self.function.process.returncode}")
                    self.stopped.set()
            except Failed as failure:
                self.failures.append(str(failure))
                self.stopped.set()

    def run(self, seconds: float) -> None:
        clients = [threading.Thread(target=self.client, daemon=True) for _ in range(CLIENTS)]
        before = self.function.descriptors()
        results, sender = multiprocessing.Pipe(duplex=False)
        prober = multiprocessing.Process(target=keep_probing, args=(self.function.port, sender), daemon=True)
        prober.start()
        start, watched, probes = time.monotonic(), [], []
        for client in clients:
            client.start()
        while not self.stopped.wait(1) and time.monotonic() - start < seconds:
            new = []
            while results.poll():
                took, status = results.recv()
                new.append(took)
                if status != 200:
                    self.failures.append(f"{status or 'no answer'} to /livez after {took:.1f} s")
            probes += new
            watched.append((self.function.resident(), self.function.descriptors(), max(new, default=0.0)))
            if watched[-1][0] > self.function.limit:
                self.failures.append(f"{watched[-1][0]} bytes resident, over the limit")
        self.stopped.set()
        for client in clients:
            client.join(TIMEOUT)
        prober.terminate()
        # Longer than a connection that was refused early is read without a byte from its client.
        time.sleep(4)
        after, resident = self.function.descriptors(), self.function.resident()
        if after > before + 5:
            self.failures.append(f"{before} descriptors before, {after} after")
        mib = lambda amount: f"{amount / 1048576:.0f} MiB"
        third = max(1, len(watched) // 3)
        early, late = (max(m for m, _, _ in part) for part in (watched[:third], watched[-third:]))
        print(f"{time.monotonic() - start:.0f} s, {CLIENTS} clients, limit {mib(self.function.limit)}", end="")
        print(f" in a cgroup, whose peak was {mib(self.function.peak() or 0)}" if self.function.group else ", no cgroup")
        print(f"resident: most in the first third {mib(early)}, in the last {mib(late)}, at the end {mib(resident)}")
        # Over time: the most of each tenth.
        tenth = max(1, len(watched) // 10)
        for at in range(0, len(watched), tenth):
            memory, open_files, probe = (max(column) for column in zip(*watched[at : at + tenth]))
            print(f"{at:6} s: {mib(memory)} resident, {open_files} descriptors, slowest probe {probe:.2f} s")
        slow = sum(took > LATE_SECONDS for took in probes)
        print(f"descriptors: {before} before, {after} after")
        print(f"probes: {len(probes)}, slowest {max(probes, default=0):.2f} s, {slow} of them over {LATE_SECONDS} s")
        for what, count in sorted(self.counts.items()):
            print(f"{count:8} {what}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--limit-mib", type=int, default=256)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    function = Function(options.binary, options.limit_mib * 1048576)
    try:
        soak = Soak(function, options.seed)
        soak.run(options.seconds)
    except BaseException:
        function.process.kill()
        raise
    if function.process.poll() is None and (code := function.stop()) != 0:
        soak.failures.append(f"the function ended with {code}")
    for failure in soak.failures[:20]:
        print(f"FAILED: {failure}", file=sys.stderr)
    sys.exit(1 if soak.failures else 0)


if __name__ == "__main__":
    main()
