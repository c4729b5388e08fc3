"""Runs the installed command as forks of one process that has imported what diffkit needs of others.

Importing torch and the rest takes longer than most commands that are tested. None of diffkit's own modules is here
before a command asks for it, so that each fork starts as the command does. A request is a line of JSON: the command's
path and words, the working folder, the environment, the files to write to; the answer is the exit status.
"""

import json
import os
import runpy
import signal
import sys

import hydra  # noqa: F401
import omegaconf  # noqa: F401
import rich.progress  # noqa: F401
import safetensors.torch  # noqa: F401
import torch._dynamo  # noqa: F401  # which the first optimizer imports


def start(request):
    """Become what was asked for, but for its imports."""
    signal.alarm(300)
    files = [os.open(os.devnull, os.O_RDONLY)]
    files += [os.open(request[name], os.O_WRONLY) for name in ("stdout", "stderr")]
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv = request["words"]
    sys.path[:1] = [os.path.dirname(sys.argv[0]), *filter(None, os.environ["PYTHONPATH"].split(os.pathsep))]
    runpy.run_path(sys.argv[0], run_name="__main__")


for line in sys.stdin:
    child = os.fork()
    if child == 0:
        start(json.loads(line))
        break
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
