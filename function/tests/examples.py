#!/usr/bin/env python3
"""Tests the examples of function/clients, each with its own tool: curl, Python, Node, ffmpeg.

    python3 function/tests/examples.py target/release/eye-state function/samples

Starts the binary. The camera is a video made of the samples, as a file, as a live stream over the network, and as
H.264 over RTSP (ffmpeg on either side). Prints a line for each case and exits with 1 if one went wrong.
"""

import email.utils
import http.server
import importlib.util
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CLIENTS = ROOT / "function/clients"
STREAM_PORT = 18_554
RTSP_PORT = 18_556
binary, samples = sys.argv[1], Path(sys.argv[2])
failures = 0


def case(name, check):
    global failures
    try:
        seen = check()
    except Exception as error:  # a client's failure is a finding
        failures += 1
        seen = f"WRONG {type(error).__name__}: {error}"
    print(f"{name}: {seen}", flush=True)


def run(*command, expect=0):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=120)
    if done.returncode != expect:
        raise AssertionError(f"ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def right(condition, seen):
    if not condition:
        raise AssertionError(seen)
    return seen


ONE_PICTURE = [[CLIENTS / "classify.sh"], [sys.executable, CLIENTS / "classify.py"], ["node", CLIENTS / "classify.mjs"]]


def one_picture(url):
    for client in ONE_PICTURE:
        name = Path(client[-1]).name
        for state, picture in [("open", "open.jpg"), ("closed", "closed.jpg"), ("no_eyes", "covered.jpg")]:
            case(f"{name} {picture}", lambda: right((answer := run(*client, samples / picture, url)).split()[0] == state, answer.strip().splitlines()[0]))
        case(f"{name}, no picture", lambda: right("not an image" in (answer := run(*client, __file__, url, expect=1)), answer.strip()))
        case(f"{name}, nobody there", lambda: run(*client, samples / "open.jpg", "http://127.0.0.1:9", expect=1).strip().splitlines()[-1])


class Gateway(http.server.BaseHTTPRequestHandler):
    """Refuses the first request in a gateway's words, and every one with `always`; then answers."""

    always, refused, retry_after, requests = False, False, "1", 0

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        Gateway.requests += 1
        refuse = Gateway.always or not Gateway.refused
        Gateway.refused = True
        body = b"no healthy upstream" if refuse else b'{"state":"closed","confidence":0.9,"eyes":[]}'
        self.send_response(503 if refuse else 200)
        self.send_header("retry-after", Gateway.retry_after)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def behind_a_gateway():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Gateway)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    for client in ONE_PICTURE:
        name = Path(client[-1]).name
        Gateway.always = Gateway.refused = False
        case(f"{name}, refused once", lambda: right((answer := run(*client, samples / "closed.jpg", url)).split()[0] == "closed", answer.strip()))
    Gateway.always, Gateway.retry_after = True, "86400"
    for client in ONE_PICTURE:
        name = Path(client[-1]).name
        case(f"{name}, told to come back tomorrow", lambda: right("503" in (answer := run(*client, samples / "closed.jpg", url, expect=1)) or "no healthy upstream" in answer, answer.strip()))
    # Not by curl: 7.88 waits for ever after a date that has passed.
    by_date = [client for client in ONE_PICTURE if Path(client[-1]).suffix != ".sh"]
    Gateway.retry_after = email.utils.formatdate(time.time() + 86_400, usegmt=True)
    for client in by_date:
        Gateway.requests = 0
        case(f"{Path(client[-1]).name}, told tomorrow's date", lambda: right(run(*client, samples / "closed.jpg", url, expect=1) and Gateway.requests == 1, f"{Gateway.requests} requests"))
    Gateway.always, Gateway.retry_after = False, email.utils.formatdate(time.time() - 60, usegmt=True)
    for client in by_date:
        Gateway.refused = False
        case(f"{Path(client[-1]).name}, told a date that has passed", lambda: right((answer := run(*client, samples / "closed.jpg", url)).split()[0] == "closed", answer.strip()))
    Gateway.always, Gateway.retry_after = True, "soon"
    for client in ONE_PICTURE:
        name = Path(client[-1]).name
        case(f"{name}, a gateway's words", lambda: right("503" in (answer := run(*client, samples / "closed.jpg", url, expect=1)) or "no healthy upstream" in answer, answer.strip()))
    with tempfile.TemporaryDirectory() as folder:
        watch = [sys.executable, CLIENTS / "camera.py", "--url", url, "--once", video(folder)]
        case("camera.py, a gateway's words", lambda: right((answer := run(*watch)).count("no answer: HTTP Error 503") == len(NIGHT), answer.splitlines()[0]))
    server.shutdown()


# Closed, then a single misread frame's worth of open, closed, then open to stay, then closed.
NIGHT = ["closed"] * 6 + ["open"] + ["closed"] * 6 + ["open"] * 8 + ["closed"] * 8
FIRST_OPEN = 13


def video(folder):
    for at, state in enumerate(NIGHT):
        shutil.copy(samples / f"{state}.jpg", Path(folder) / f"{at:03}.jpg")
    path = Path(folder) / "night.mp4"
    run("ffmpeg", "-loglevel", "error", "-framerate", "1", "-i", f"{folder}/%03d.jpg", "-c:v", "mjpeg", "-q:v", "2", path)
    return path


def check_camera(output):
    lines = [line.split(maxsplit=1) for line in output.splitlines()]
    states = [rest.split()[0] for time, rest in lines if time != "ALARM:"]
    right(states == NIGHT, states)
    alarms = [sum(time != "ALARM:" for time, _ in lines[:at]) for at, (time, _) in enumerate(lines) if time == "ALARM:"]
    # Four of six: with the fourth of the open frames, and once.
    return right(alarms == [FIRST_OPEN + 4], f"{len(states)} frames, an alarm after frame {alarms}")


def check_alarm(output):
    """Of a live stream the first and last frames may be lost, and one may come twice."""
    states = [line.split()[1] for line in output.splitlines() if not line.startswith("ALARM")]
    runs = [state for state, before in zip(states, [None, *states]) if state != before]
    right(runs == ["closed", "open", "closed", "open", "closed"] and output.count("ALARM") == 1, output)
    return f"{len(states)} frames, one alarm"


def camera(url):
    with tempfile.TemporaryDirectory() as folder:
        path = video(folder)
        watch = [sys.executable, CLIENTS / "camera.py", "--url", url, "--once"]
        case("camera.py, a file", lambda: check_camera(run(*watch, path)))

        def live():
            address = f"tcp://127.0.0.1:{STREAM_PORT}"
            # Ten times as fast as a camera, so that the test is short.
            sender = subprocess.Popen(
                ["ffmpeg", "-loglevel", "error", "-re", "-framerate", "10", "-i", f"{folder}/%03d.jpg", "-c:v", "mjpeg", "-q:v", "2", "-f", "nut", f"{address}?listen=1"]
            )
            try:
                # Refused until ffmpeg listens.
                for _ in range(50):
                    seen = run(*watch, address, "--rate", "10", "--input", "-f nut")
                    if "Connection refused" not in seen:
                        break
                    time.sleep(0.2)
                return check_alarm(seen)
            finally:
                sender.kill()
                sender.wait()

        case("camera.py, a live stream", live)

        def rtsp():
            address = f"rtsp://127.0.0.1:{RTSP_PORT}/bed"
            seen = subprocess.Popen(
                [str(word) for word in [*watch, address, "--rate", "10", "--input", "-rtsp_flags listen"]],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip
            try:
                camera = ["ffmpeg", "-loglevel", "error", "-re", "-framerate", "10", "-i", f"{folder}/%03d.jpg", "-vf", "format=yuv420p"]
                camera += ["-c:v", "libx264", "-preset", "ultrafast", "-g", "10", "-f", "rtsp", "-rtsp_transport", "tcp", address]
                # Refused until ffmpeg listens.
                for _ in range(50):
                    if subprocess.run(camera, capture_output=True, timeout=60, check=False).returncode == 0:
                        break
                    time.sleep(0.2)
                return check_alarm(seen.communicate(timeout=60)[0])
            finally:
                seen.kill()
                seen.wait()

        case("camera.py, H.264 over RTSP", rtsp)
        case("camera.py, no such camera", lambda: right("No such file" in (answer := run(*watch, f"{folder}/none.mp4")), answer.strip()))
        away = [sys.executable, CLIENTS / "camera.py", "--url", "http://127.0.0.1:9", "--once", path]
        case("camera.py, the function is away", lambda: right((answer := run(*away)).count("no answer") == len(NIGHT), answer.splitlines()[0]))


def arithmetic():
    """The formula against a simulation of the very class that watches."""
    spec = importlib.util.spec_from_file_location("camera", CLIENTS / "camera.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    chance, count = random.Random(1), 400_000
    for n, m in [(1, 1), (2, 3), (3, 5), (4, 6)]:
        watch = module.Watch(n, m)
        begun = sum(watch.see(chance.random() < 0.2) for _ in range(count))
        expected = module.false_alarms(0.2, n, m, count)
        case(f"camera.py, false alarms of {n} of {m}", lambda: right(abs(begun / expected - 1) < 0.05, f"{begun} simulated, {expected:.0f} by the formula"))


def main():
    environment = {"PATH": os.environ["PATH"], "HOST": "127.0.0.1", "PORT": "0", "RUST_LOG": "info"}
    process = subprocess.Popen([binary], env=environment, stderr=subprocess.PIPE, text=True)
    try:
        for line in process.stderr:
            entry = json.loads(line)
            if entry.get("message") == "ready":
                break
        threading.Thread(target=process.stderr.read, daemon=True).start()
        url = "http://127.0.0.1:" + entry["address"].rsplit(":", 1)[1]
        one_picture(url)
        camera(url)
        behind_a_gateway()
    finally:
        process.terminate()
        process.wait()
    arithmetic()
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
