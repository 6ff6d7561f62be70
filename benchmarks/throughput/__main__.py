"""Prints the rows as they come, each alternative with how many times ours it is."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.throughput", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less of each")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="kling-bench-") as home:
        os.environ |= {"AIRFLOW_HOME": home, "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR"}
        from benchmarks.throughput import rows

        logging.disable(logging.WARNING)
        for row in rows(quick=options.quick):
            print(f"{row['name']:42} {'ours':28} {row['ours']:10.3g} {row['unit']}")
            for who, figure in row["alternatives"].items():
                print(f"{'':42} {who:28} {figure:10.3g} ({row['ratio'][who]:.2f}x)", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
