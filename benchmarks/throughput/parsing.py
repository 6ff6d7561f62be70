"""What a DAG file costs where it is parsed: importing the operators, and 100 files of the size of the examples.

The HTTP provider's operators are what a DAG file would use instead: ``HttpOperator``, ``HttpSensor``. Each figure is
CPU time, the least of several fresh processes, taken in turns. Our operators are imported a family at a time; so one
is imported, as a DAG file does, and all of them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from benchmarks.throughput.row import Figures, row

FILES = 100

#: Submit, wait, store: the same three tasks, chained and with the same parameters of the DAG.
_DAG = '''"""One picture becomes a stored video: submit >> wait >> store."""

from __future__ import annotations

from datetime import datetime

from airflow.sdk import DAG, Param

{imports}

with DAG(
    "{dag_id}",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    tags=["kling", "example"],
    doc_md=__doc__,
    default_args={{"retries": 2}},
    params={{
        "picture": Param("https://example.com/lighthouse.jpg", type="string", title="Picture"),
        "prompt": Param("The beam sweeps slowly over the calm sea.", type=["null", "string"], maxLength=2500),
        "model_name": Param(None, type=["null", "string"], examples=["kling-v2-6", "kling-v3"]),
    }},
) as dag:
{tasks}
    submit >> wait >> store
'''

_KLING = {
    "imports": """\
from kling_provider.operators.kling import KlingImageToVideoOperator
from kling_provider.sensors.kling import KlingTaskSensor
from kling_provider.transfers.kling_to_object_storage import KlingToObjectStorageOperator""",
    "tasks": """\
    submit = KlingImageToVideoOperator(
        task_id="submit",
        image="{{ params.picture }}",
        prompt="{{ params.prompt or '' }}",
        model_name="{{ params.model_name or '' }}",
    )
    wait = KlingTaskSensor(task_id="wait", kling_task_id=submit.kling_task)
    store = KlingToObjectStorageOperator(
        task_id="store", task=wait.output, destination="file:///tmp/kling/{{ run_id }}/"
    )
""",
}
_HTTP = {
    "imports": """\
from airflow.providers.http.operators.http import HttpOperator
from airflow.providers.http.sensors.http import HttpSensor""",
    "tasks": """\
    submit = HttpOperator(
        task_id="submit",
        http_conn_id="kling_http",
        endpoint="/v1/videos/image2video",
        headers={"Content-Type": "application/json"},
        data='{"image": "{{ params.picture }}", "prompt": "{{ params.prompt }}", "model_name": "kling-v2-6"}',
        response_filter=lambda response: response.json()["data"]["task_id"],
    )
    wait = HttpSensor(
        task_id="wait",
        http_conn_id="kling_http",
        endpoint="/v1/videos/image2video/{{ ti.xcom_pull('submit') }}",
        response_check=lambda response: response.json()["data"]["task_status"] == "succeed",
        deferrable=True,
    )
    store = HttpOperator(
        task_id="store", http_conn_id="kling_http", method="GET", endpoint="{{ ti.xcom_pull('wait') }}"
    )
""",
}

_IMPORT = """
import sys, time
import airflow.sdk
began = time.process_time()
{line}
print((time.process_time() - began) * 1000)
"""
_PARSE = """
import sys, time
from airflow.dag_processing.dagbag import DagBag
began = time.process_time()
bag = DagBag(sys.argv[1])
took = time.process_time() - began
assert not bag.import_errors, bag.import_errors
assert len(bag.dags) == int(sys.argv[2]), len(bag.dags)
print(took * 1000)
"""


def measure(*, quick: bool = False) -> list[Figures]:
    """Import and parse, in milliseconds of CPU.

    :param quick: fewer rounds.
    """
    rounds = 3 if quick else 7
    with tempfile.TemporaryDirectory(prefix="kling-bench-") as home:
        environment = {
            **os.environ,
            "AIRFLOW_HOME": home,
            "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
            "PYTHONWARNINGS": "ignore",
        }
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # it would measure the compiler
        ours, theirs = Path(home, "kling"), Path(home, "http")
        _write(ours, _KLING)
        _write(theirs, _HTTP)
        imports = _best(
            rounds,
            environment,
            {
                name: (_IMPORT.format(line=line),)
                for name, line in {
                    "ours": "from kling_provider.operators.kling import KlingImageToVideoOperator",
                    "ours, all operators": "from kling_provider.operators.kling import *",
                    "HTTP provider": "from airflow.providers.http.operators.http import HttpOperator",
                }.items()
            },
        )
        parses = _best(
            rounds,
            environment,
            {"ours": (_PARSE, str(ours), str(FILES)), "HTTP provider": (_PARSE, str(theirs), str(FILES))},
        )
    return [
        row("import of an operator", "CPU ms", imports),
        row(f"parse {FILES} DAG files", "CPU ms", parses),
    ]


def _write(folder: Path, parts: Mapping[str, str]) -> None:
    folder.mkdir()
    for number in range(FILES):
        name = f"example_{number}"
        (folder / f"{name}.py").write_text(_DAG.format(dag_id=name, **parts))


def _best(
    rounds: int, environment: Mapping[str, str], scripts: Mapping[str, tuple[str, ...]]
) -> dict[str, float]:
    """The least that each script prints, in turns: what else runs on the machine only adds."""
    best = dict.fromkeys(scripts, float("inf"))
    for attempt in range(rounds + 1):
        for name, (code, *arguments) in scripts.items():
            told = subprocess.run(  # noqa: S603 - ourselves
                [sys.executable, "-c", code, *arguments],
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            if told.returncode:
                raise RuntimeError(f"{name} could not be measured: {told.stderr[-2000:]}")
            if attempt:  # the first one compiles
                best[name] = min(best[name], float(told.stdout.split()[-1]))
    return best
