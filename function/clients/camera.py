#!/usr/bin/env python3
"""Watches a camera: sends a frame per second to the function, and raises an alarm when open eyes persist.

    python3 function/clients/camera.py rtsp://user:password@camera/stream      # a network camera
    python3 function/clients/camera.py /dev/video0 --input '-f v4l2'           # a USB camera, on Linux
    python3 function/clients/camera.py --arithmetic                            # false alarms of n of m in a night

Needs ffmpeg (Debian: apt-get install ffmpeg) and Python's standard library. One verdict decides nothing: the alarm
is raised when n of the last m frames show an open eye, and again only after fewer than n of them did. A frame
without an answer counts as one without an open eye, and is reported. Not a medical device.
"""

import argparse
import collections
import http.client
import json
import math
import shlex
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

START, END = b"\xff\xd8", b"\xff\xd9"  # of a JPEG; ffmpeg's have no thumbnail inside
LARGEST_FRAME = 10 * 1024 * 1024  # what the function takes by default
LONGEST_PAUSE = 60  # seconds between attempts to reach a camera that is away


class Watch:
    """Raises an alarm once n of the last m frames were open."""

    def __init__(self, n: int, m: int) -> None:
        self.n, self.frames, self.raised = n, collections.deque(maxlen=m), False

    def see(self, is_open: bool) -> bool:
        """Whether this frame raises the alarm."""
        self.frames.append(is_open)
        enough = sum(self.frames) >= self.n
        begins = enough and not self.raised
        self.raised = enough
        return begins


def false_alarms(p: float, n: int, m: int, frames: int) -> float:
    """How many alarms begin in so many frames of closed eyes, each of which is called open with probability p.

    An alarm begins with an open frame that n - 1 of the m - 1 before it join, where the one that it pushes out of the
    window was not open: C(m - 1, n - 1) p^n (1 - p)^(m - n + 1) a frame. Errors are taken as independent.
    """
    return frames * math.comb(m - 1, n - 1) * p**n * (1 - p) ** (m - n + 1)


def caught(q: float, n: int, m: int, frames: int) -> float:
    """The probability that so many frames of open eyes, each seen with probability q, raise the alarm; frames <= m."""
    return sum(math.comb(frames, k) * q**k * (1 - q) ** (frames - k) for k in range(n, frames + 1))


def print_arithmetic(called_open: float, missed: float, frames: int) -> None:
    print(f"{frames} frames a night; a closed eye is called open in {called_open:.1%} of them, an open one missed in {missed:.1%}")
    print(f"{'n of m':>8}  {'false alarms a night':>20}  {'one in':>12}  {'open for m frames is caught':>28}")
    for n, m in [(1, 1), (2, 3), (3, 5), (4, 6), (5, 8), (8, 10)]:
        nightly = false_alarms(called_open, n, m, frames)
        often = f"{1 / nightly:.3g} nights" if nightly < 1 else ""
        print(f"{n:>3} of {m:<2}  {nightly:>20.3g}  {often:>12}  {caught(1 - missed, n, m, m):>28.6%}")


def frames(source: str, options: str, rate: float) -> Iterator[bytes]:
    """JPEGs, as ffmpeg reads them from the source, until it ends."""
    command = ["ffmpeg", "-loglevel", "error", "-nostdin", *shlex.split(options), "-i", source]
    command += ["-vf", f"fps={rate}", "-f", "image2pipe", "-c:v", "mjpeg", "-q:v", "3", "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        buffer = b""
        try:
            while chunk := process.stdout.read1(1 << 16):
                buffer += chunk
                while (end := buffer.find(END)) >= 0:
                    frame, buffer = buffer[: end + len(END)], buffer[end + len(END):]
                    if frame.startswith(START):
                        yield frame
                if len(buffer) > LARGEST_FRAME:
                    raise OSError(f"a frame of {source} has more than {LARGEST_FRAME} bytes: scale it by --input")
        finally:
            process.kill()


def classify(url: str, frame: bytes, timeout: float) -> dict:
    request = urllib.request.Request(f"{url}/classify", frame, {"content-type": "image/jpeg"})
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        return json.load(answer)


def reason(error: Exception) -> str:
    """The function's own words, if it answered; otherwise what went wrong."""
    try:
        return json.load(error)["detail"] if isinstance(error, urllib.error.HTTPError) else str(error)
    except (OSError, ValueError, KeyError, TypeError, http.client.HTTPException):
        return str(error)


def watch(arguments: argparse.Namespace) -> None:
    state, pause = Watch(arguments.n, arguments.m), 1
    while True:
        for frame in frames(arguments.source, arguments.input, arguments.rate):
            pause = 1
            try:
                # An answer after the next frame is useless.
                verdict = classify(arguments.url, frame, timeout=max(2, 1 / arguments.rate))
            except (OSError, ValueError, http.client.HTTPException) as error:
                print(f"no answer: {reason(error)}", file=sys.stderr, flush=True)
                verdict = {"state": "unknown", "confidence": 0}
            alarm = state.see(verdict["state"] == "open")
            print(f"{time.strftime('%H:%M:%S')} {verdict['state']} {verdict['confidence']}", flush=True)
            if alarm:
                print(f"ALARM: {arguments.n} of the last {len(state.frames)} frames show an open eye", flush=True)
                if arguments.command:
                    subprocess.run(shlex.split(arguments.command), check=False)
        if arguments.once:
            return
        print(f"{arguments.source} ended: trying again in {pause} s", file=sys.stderr, flush=True)
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="?", help="what ffmpeg reads: an address, a device, a file")
    parser.add_argument("--url", default="http://localhost:8080", help="where the function is")
    parser.add_argument("--input", default="", help="options of ffmpeg for the source, such as '-rtsp_transport tcp'")
    parser.add_argument("--rate", type=float, default=1, help="frames a second (1)")
    parser.add_argument("--n", type=int, default=4, help="open frames that raise the alarm (4)")
    parser.add_argument("--m", type=int, default=6, help="of the last so many (6)")
    parser.add_argument("--command", help="what to run at an alarm")
    parser.add_argument("--once", action="store_true", help="end with the source, instead of waiting for it to come back")
    parser.add_argument("--arithmetic", action="store_true", help="print what n of m means for a night, and end")
    parser.add_argument("--called-open", type=float, default=0.011, help="closed eyes called open (model card: 0.011)")
    parser.add_argument("--missed", type=float, default=0.008, help="open eyes missed (model card: 0.008)")
    arguments = parser.parse_args()
    if arguments.arithmetic:
        return print_arithmetic(arguments.called_open, arguments.missed, int(8 * 3600 * arguments.rate))
    if not arguments.source:
        parser.error("which camera?")
    if not 1 <= arguments.n <= arguments.m or arguments.rate <= 0:
        parser.error("n is from 1 to m, and the rate above 0")
    watch(arguments)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        sys.exit(f"camera.py: {error}")
