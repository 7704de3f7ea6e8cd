"""make observe starts everything, shows the function, and cleans up."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import stack
from conftest import REPOSITORY, SAMPLES


def test_the_local_stack_shows_a_request_and_ends_when_asked():
    ports = [str(stack.free_port()) for _ in range(3)]
    command = [
        sys.executable, str(Path(__file__).with_name("observe.py")),
        "--function", os.environ.get("EYE_STATE", str(REPOSITORY / "target" / "release" / "eye-state")),
        "--prometheus", os.environ["PROMETHEUS"],
        "--port", ports[0], "--prometheus-port", ports[1], "--grafana-port", ports[2],
    ]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        printed = ""
        for line in running.stdout:
            printed += line
            if "Ctrl-C" in line:
                break
        assert re.search(rf"function +http://127.0.0.1:{ports[0]}/", printed) and "grafana" in printed
        assert stack.classify(f"127.0.0.1:{ports[0]}", (SAMPLES / "open.jpg").read_bytes(), "image/jpeg") == 200
        prometheus = stack.Prometheus(f"127.0.0.1:{ports[1]}")
        for _ in range(stack.PATIENCE_S):
            if prometheus.query('sum(eye_state_results_total{variant="local"}) > 0', time.time()):
                break
            time.sleep(1)
        else:
            pytest.fail("Prometheus has not seen the request")
    finally:
        running.send_signal(signal.SIGTERM)
        assert running.wait(stack.PATIENCE_S) == 0
    with pytest.raises(OSError):
        stack.get(f"http://127.0.0.1:{ports[0]}/livez")
