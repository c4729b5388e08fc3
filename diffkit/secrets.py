"""What must not leave a machine with a config: passwords, and what the environment keeps."""

import os
import re
from collections.abc import Mapping
from typing import Any

KEY = re.compile(r"(^|_)(token|secret|password|passwd|api_?key|access_?key|credentials?)$", re.IGNORECASE)
"""Names of options whose text is a secret."""
VARIABLE = re.compile(r"token|secret|passw|api_?key|access_?key|private_?key|credential", re.IGNORECASE)
"""Names of variables of the environment whose value is a secret."""
USER = re.compile(r"(?<=://)[^/@\s]+(?=@)")
"""Who logs in, and with which password, in an address."""
SHORTEST = 6
"""Characters of the shortest value of a variable that is taken for a secret."""
HIDDEN = "(hidden)"


def redacted(values: Any) -> Any:
    """Return a config, or any nested values, without secrets: for whoever shows it or sends it away.

    Text is hidden where its key sounds like a secret, where it stands for a login in an address, and where it holds the
    value of a variable of the environment whose name sounds like one.

    >>> redacted({"name": "mlflow", "uri": "https://me:1234@host/"})
    {'name': 'mlflow', 'uri': 'https://(hidden)@host/'}
    """
    return _redacted(values, [v for k, v in os.environ.items() if len(v) >= SHORTEST and VARIABLE.search(k)])


def _redacted(value: Any, secrets: list[str]) -> Any:
    if isinstance(value, Mapping):
        return {
            key: HIDDEN if isinstance(inner, str) and KEY.search(str(key)) else _redacted(inner, secrets)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [_redacted(inner, secrets) for inner in value]
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, HIDDEN)
        return USER.sub(HIDDEN, value)
    return value
