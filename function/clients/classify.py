#!/usr/bin/env python3
"""One picture to the function, from Python's standard library.

    python3 function/clients/classify.py function/samples/open.jpg [http://localhost:8080]
"""

import email.utils
import json
import sys
import time
import urllib.error
import urllib.request

ATTEMPTS = 3
LONGEST_WAIT = 60  # seconds: who is told to come back in an hour gets the reason instead


def reason(error: urllib.error.HTTPError) -> str:
    """The function's own words, or the status where something in between answered."""
    try:
        return json.load(error)["detail"]
    except (ValueError, KeyError, TypeError):
        return f"{error.code} {error.reason}"


def seconds_of(retry_after: str) -> float:
    """Seconds until another attempt: a number, or the date that a gateway may send (RFC 9110, section 10.2.3)."""
    if retry_after.isdecimal():
        return int(retry_after)
    try:
        return max(email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time(), 0)
    except ValueError:
        return 1


def classify(url: str, image: bytes, timeout: float = 30) -> dict:
    """The answer as a dictionary. Raises ValueError with the function's own words where the picture is refused."""
    request = urllib.request.Request(f"{url}/classify", image, {"content-type": "application/octet-stream"})
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            # 429 and 503 state when another attempt may succeed; other refusals are permanent.
            wait = seconds_of(error.headers.get("retry-after", ""))
            if error.code in (429, 503) and attempt < ATTEMPTS and wait <= LONGEST_WAIT:
                time.sleep(wait)
                continue
            raise ValueError(reason(error)) from error
    raise AssertionError("the last attempt returns or raises")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    url = sys.argv[2] if len(sys.argv) == 3 else "http://localhost:8080"
    with open(sys.argv[1], "rb") as file:
        image = file.read()
    try:
        answer = classify(url, image)
    except (ValueError, OSError) as error:
        sys.exit(f"{sys.argv[1]}: {error}")
    print(answer["state"], answer["confidence"])
    for eye in answer["eyes"]:
        print(" ", eye["state"], eye["confidence"], eye["box"])
