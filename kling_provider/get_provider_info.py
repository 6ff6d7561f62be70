"""What Airflow reads about this provider. Import nothing here: it is read while Airflow starts."""

from typing import Any

#: Extra fields of the connection form (Airflow 3.2+); also the source of the form of 3.0 and 3.1.
CONN_FIELDS: dict[str, dict[str, Any]] = {
    "gateway": {
        "label": "Gateway",
        "description": (
            "official: Kling's own API, with a key of its console. dmxapi: the reseller DMXAPI, with a token of its "
            "site. custom: another with the same paths; fill in the host."
        ),
        "schema": {
            "type": ["string", "null"],
            "enum": ["official", "dmxapi", "custom"],
            "default": "official",
        },
    },
    "region": {
        "label": "Region",
        "description": (
            "Where the vendor's key was made: singapore (kling.ai) or beijing (klingai.com). A key works in one "
            "region only; DMXAPI has none."
        ),
        "schema": {"type": ["string", "null"], "enum": ["singapore", "beijing"], "default": "singapore"},
    },
    "namespace": {
        "label": "Namespace",
        "description": "Keeps deployments that share an account apart. Never change it while tasks run.",
        "schema": {"type": ["string", "null"]},
    },
    "media_roots": {
        "label": "Media roots",
        "description": (
            "Folders and URIs pictures may be read from, separated by commas, as in /srv/pictures, s3://bucket/in. "
            "Empty: anywhere."
        ),
        "schema": {"type": ["string", "null"]},
    },
    "result_hosts": {
        "label": "Result hosts",
        "description": "Private hosts that results may be fetched from, separated by commas.",
        "schema": {"type": ["string", "null"]},
    },
    "timeout": {
        "label": "Timeout",
        "description": "Seconds to wait for data, or [connect, read]. Default [10, 60].",
        "schema": {"type": ["string", "null"]},
    },
    "path_prefix": {
        "label": "Path prefix",
        "description": "Put before every path, for gateways. Default: the gateway's own.",
        "schema": {"type": ["string", "null"]},
    },
    "query_path": {
        "label": "Query path",
        "description": "Absolute path of the task query with {endpoint} and {task_id}, for gateways.",
        "schema": {"type": ["string", "null"]},
    },
    "external_id": {
        "label": "Look-up by external_task_id",
        "description": "lookup, list or none: what the gateway can do. Default: what is known of it.",
        "schema": {"type": ["string", "null"]},
    },
}

UI_FIELD_BEHAVIOUR: dict[str, Any] = {
    "hidden-fields": ["schema", "port"],
    "relabeling": {
        "host": "Host (empty: the gateway's own)",
        "login": "Access key (only with a secret key)",
        "password": "API key, gateway token or secret key",
    },
    "placeholders": {
        "host": "https://api-singapore.klingai.com",
        "login": "leave empty for an API key or a gateway token",
        "password": "api-key-kling-… or sk-…",
    },
}


def get_provider_info() -> dict[str, Any]:
    """Describe the provider to Airflow."""
    return {
        "package-name": "airflow-provider-kling",
        "name": "Kling AI",
        "description": "Kling AI (可灵) video generation: submit once, wait in the triggerer, store the file.",
        "integrations": [
            {
                "integration-name": "Kling AI",
                "external-doc-url": "https://kling.ai/document-api/",
                "tags": ["service"],
            }
        ],
        "hooks": [{"integration-name": "Kling AI", "python-modules": ["kling_provider.hooks.kling"]}],
        "operators": [
            {
                "integration-name": "Kling AI",
                "python-modules": [
                    f"kling_provider.operators.{name}" for name in ("kling", "adopt", "balance")
                ],
            }
        ],
        "sensors": [{"integration-name": "Kling AI", "python-modules": ["kling_provider.sensors.kling"]}],
        "triggers": [
            {
                "integration-name": "Kling AI",
                "python-modules": [
                    f"kling_provider.triggers.{name}" for name in ("kling", "slots", "finished")
                ],
            }
        ],
        "transfers": [
            {
                "source-integration-name": "Kling AI",
                "target-integration-name": "Object Storage",
                "python-module": "kling_provider.transfers.kling_to_object_storage",
            }
        ],
        "task-decorators": [
            {"class-name": "kling_provider.decorators.kling.kling_task", "name": "kling"},
        ],
        "plugins": [{"name": "kling", "plugin-class": "kling_provider.plugins.kling.KlingPlugin"}],
        "config": {
            "kling": {
                "description": 'The tab "Kling" of task instances and DAG runs (Airflow 3.1+).',
                "options": {
                    "ui_tab": {
                        "description": "Whether Airflow's UI has the tab.",
                        "version_added": None,
                        "type": "boolean",
                        "example": None,
                        "default": "True",
                    },
                    "preview_roots": {
                        "description": (
                            "Folders whose videos, pictures and sounds the tab may show: paths or URIs of object "
                            "storage, separated by commas. A URI may name the Airflow connection to read with. "
                            "Empty: stored files are not shown, only Kling's own addresses."
                        ),
                        "version_added": None,
                        "type": "string",
                        "example": "/srv/videos, s3://aws_default@bucket/videos",
                        "default": "",
                    },
                },
            }
        },
        "extra-links": [
            f"kling_provider.links.kling.{name}" for name in ("KlingVideoLink", "KlingConsoleLink")
        ],
        "connection-types": [
            {
                "connection-type": "kling",
                "hook-class-name": "kling_provider.hooks.kling.KlingHook",
                "hook-name": "Kling AI",
                "ui-field-behaviour": UI_FIELD_BEHAVIOUR,
                "conn-fields": CONN_FIELDS,
            }
        ],
    }
