#!/usr/bin/env python3
"""Independent HTTP clients against the function: slow, refused early, half closed.

    python3 function/tests/clients.py target/release/eye-state function/samples/open.jpg

Starts the binary, lets Python's http.client, curl and Node's fetch at it, prints a line for each case and exits
with 1 if one went wrong. A client that is not installed is named and counts as wrong.
"""

import contextlib
import http.client
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import threading
import time

LARGE = 9_000_000
HOLDERS = 5_000
PROBE_SECONDS = 3.0  # what the manifests let a readiness probe take; it takes milliseconds

binary, sample = sys.argv[1], open(sys.argv[2], "rb").read()
failures = 0


@contextlib.contextmanager
def function(**variables):
    env = {"HOST": "127.0.0.1", "PORT": "0", "RUST_LOG": "info", **variables}
    process = subprocess.Popen([binary], env=env, stderr=subprocess.PIPE, text=True)
    port = None
    for line in process.stderr:
        entry = json.loads(line)
        if entry.get("message") == "ready":
            port = int(entry["address"].rsplit(":", 1)[1])
            break
    threading.Thread(target=process.stderr.read, daemon=True).start()
    try:
        yield port
    finally:
        process.terminate()
        process.wait()


def case(name, check):
    global failures
    try:
        right, seen = check()
    except Exception as error:  # a client's exception is a finding
        right, seen = False, f"{type(error).__name__}: {error}"
    failures += not right
    print(f"{'ok   ' if right else 'WRONG'} {name}: {seen}", flush=True)


def early_refusals(port):
    for path, content_type, status in [
        ("/", "application/json", 415),
        ("/?iou_threshold=7", "image/jpeg", 422),
        ("/nowhere", "image/jpeg", 404),
        ("/livez", "image/jpeg", 405),
        ("/", "image/jpeg", 413),
    ]:
        def python():
            seen = []
            for _ in range(5):
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
                try:
                    connection.request("POST", path, bytes(LARGE), {"content-type": content_type})
                    answer = connection.getresponse()
                    seen.append(f"{answer.status} {answer.getheader('connection', 'keep-alive')}")
                except OSError as error:
                    seen.append(type(error).__name__)
                connection.close()
            return all(one == f"{status} close" for one in seen), ", ".join(sorted(set(seen)))

        case(f"http.client, {LARGE} bytes, five times, {status}", python)

        def node():
            script = f"""
                const body = new Uint8Array({LARGE});
                fetch('http://127.0.0.1:{port}{path}', {{method: 'POST', body, headers: {{'content-type': '{content_type}'}}}})
                    .then(async (answer) => {{ await answer.text(); console.log(answer.status); }})
                    .catch((error) => console.log(error.cause?.code ?? error.message));
            """
            seen = subprocess.run(["node", "-e", script], capture_output=True, text=True, timeout=60).stdout.strip()
            return seen == str(status), seen

        case(f"Node's fetch, {LARGE} bytes, {status}", node if shutil.which("node") else missing("node"))


def missing(tool):
    return lambda: (False, f"{tool} is not installed")


def curl(port, *arguments):
    command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code} %{time_total}", "--max-time", "20", *arguments]
    code, seconds = subprocess.run(
        [*command[:-len(arguments)], *arguments], input=bytes(LARGE), capture_output=True, timeout=60
    ).stdout.decode().split()
    return code, float(seconds)


def curl_cases(port):
    url = f"http://127.0.0.1:{port}/"

    def refused():
        code, seconds = curl(port, "-H", "content-type: image/jpeg", "-H", "expect:", "--data-binary", "@-", url)
        return code == "413", f"{code} after {seconds:.2f} s"

    case("curl, too large", refused)

    def expects():
        code, seconds = curl(port, "-H", "content-type: image/jpeg", "-H", "expect: 100-continue",
                             "--expect100-timeout", "10", "--data-binary", "@-", url)
        return code == "413" and seconds < 0.5, f"{code} after {seconds:.2f} s"

    case("curl, too large, expects 100-continue", expects)


def half_closed(port):
    def check():
        seen = []
        for _ in range(7):
            with socket.create_connection(("127.0.0.1", port), timeout=20) as stream:
                head = f"POST / HTTP/1.1\r\nhost: t\r\ncontent-type: image/jpeg\r\ncontent-length: {len(sample)}\r\n\r\n"
                stream.sendall(head.encode() + sample)
                stream.shutdown(socket.SHUT_WR)
                answer = http.client.HTTPResponse(stream)
                try:
                    answer.begin()
                    seen.append(str(answer.status))
                except (OSError, http.client.HTTPException) as error:
                    seen.append(type(error).__name__)
        return seen == ["200"] * 7, ", ".join(sorted(set(seen)))

    case("half closed after the request, seven times", check)


def probes(name, opening, variables=None, count=HOLDERS):
    with function(**(variables or {})) as port:
        held = []
        for _ in range(count):
            stream = socket.socket()
            stream.setblocking(False)
            try:
                stream.connect(("127.0.0.1", port))
            except BlockingIOError:
                pass
            held.append(stream)
            if len(held) % 200 == 0:
                time.sleep(0.02)
        time.sleep(0.5)
        for stream in held:
            with contextlib.suppress(OSError):
                stream.send(opening)
        time.sleep(0.5)

        def check():
            worst = 0.0
            for _ in range(5):
                for path in ["/livez", "/readyz", "/metrics"]:
                    start = time.monotonic()
                    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                    connection.request("GET", path)
                    status = connection.getresponse().status
                    connection.close()
                    if status != 200:
                        return False, f"{path}: {status}"
                    worst = max(worst, time.monotonic() - start)
            return worst < PROBE_SECONDS, f"slowest answer {worst * 1e3:.0f} ms"

        case(name, check)
        for stream in held:
            stream.close()


def main():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, HOLDERS * 2)), hard))
    with function(MAX_IMAGE_BYTES="1000000") as port:
        early_refusals(port)
        if shutil.which("curl"):
            curl_cases(port)
        else:
            case("curl", missing("curl"))
    with function() as port:
        half_closed(port)
    asked = b"GET /samples/open.jpg HTTP/1.1\r\nhost: t\r\n\r\n"
    body = b"POST / HTTP/1.1\r\nhost: t\r\ncontent-type: image/jpeg\r\ncontent-length: 100000\r\n\r\n\xff\xd8"
    probes(f"probes beside {HOLDERS} half-sent heads", b"GET / HTTP/1.1\r\nho")
    probes(f"probes beside {HOLDERS} idle connections", b"")
    probes(f"probes beside {HOLDERS} half-sent bodies", body)
    probes(f"probes beside {HOLDERS} clients that do not read", asked * 4)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
