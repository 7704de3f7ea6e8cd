#!/usr/bin/env python3
"""Makes azure-llm-code-2023.gaps from a public trace: arrival times only, as gaps in milliseconds.

    python3 azure_trace.py AzureLLMInferenceTrace_code.csv > azure-llm-code-2023.gaps

The trace: AzureLLMInferenceTrace_code.csv of https://github.com/Azure/AzurePublicDataset (Azure LLM inference trace
2023), published by Microsoft under CC BY 4.0, described in Patel, Choukse, Zhang, Shah, Goiri, Maleki and Bianchini,
"Splitwise: Efficient generative LLM inference using phase splitting", ISCA 2024. Numbers of tokens are left out and
times are rounded to milliseconds; nothing else is changed.
"""

import csv
import sys
import textwrap
from datetime import datetime

# SHA-256 of the file that the committed table was made from.
SOURCE_SHA256 = "54e9a6d2a4bd06ba1e060304b900abbc74cbea53de96506e60fe5bb4f2277fb6"


def milliseconds(timestamp: str) -> int:
    # Seven decimals; Python reads six.
    moment = datetime.strptime(timestamp[:26], "%Y-%m-%d %H:%M:%S.%f")
    return round((moment - datetime(2023, 1, 1)).total_seconds() * 1000)


def main(path: str) -> None:
    with open(path, newline="") as file:
        times = sorted(milliseconds(row["TIMESTAMP"]) for row in csv.DictReader(file))
    gaps = [0, *(later - earlier for earlier, later in zip(times, times[1:]))]
    print(f"# Gaps between arrivals in milliseconds: {len(gaps)} arrivals in {(times[-1] - times[0]) / 1000:.0f} s.")
    print("# Derived from AzureLLMInferenceTrace_code.csv of Azure/AzurePublicDataset, Microsoft, CC BY 4.0")
    print("# (https://creativecommons.org/licenses/by/4.0/). Made by azure_trace.py, which says what was changed")
    print("# and names the paper to cite.")
    print("\n".join(textwrap.wrap(" ".join(map(str, gaps)), 100)))


if __name__ == "__main__":
    main(sys.argv[1])
