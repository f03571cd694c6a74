"""Prints the gcloud commands that gcloud does not accept, and why.

Reads a command from each line. Argument: the root of the SDK. The check is that of "gcloud meta
lint-gcloud-commands", which builds the tree of all commands twice for each command. This program
builds it once, which takes a sixth of the time.
"""

import shlex
import sys

root = sys.argv[1]
sys.path[:0] = [root + '/lib', root + '/lib/third_party']

import argparse  # noqa: E402  the SDK brings its own

from googlecloudsdk import gcloud_main  # noqa: E402
from googlecloudsdk.calliope import exceptions  # noqa: E402
from googlecloudsdk.core import yaml  # noqa: E402
from googlecloudsdk.core.util import files  # noqa: E402

tree = gcloud_main.CreateCLI([])._TopElement()


def problem(command):
    """Returns what is wrong with a command, or None. That a file does not exist is no problem."""
    words = shlex.split(command)[1:]
    flags = [word for word in words if word.startswith('--')]
    names = [word for word in words if not word.startswith('--')]
    node = tree
    while node.is_group:
        if not names:
            return 'the name of a command is missing'
        name = names.pop(0)
        node = node.LoadSubElement(name)
        if not node:
            return 'there is no command or group ' + name
    try:
        node._parser.parse_args(names + flags, raise_error=True)
    except (files.MissingFileError, exceptions.BadFileException, yaml.FileLoadError):
        return None
    except argparse.ArgumentError as e:
        return None if 'No such file or directory' in str(e) else str(e)
    return None


for line in sys.stdin:
    wrong = problem(line)
    if wrong:
        print(line.strip() + '\n  ' + wrong)
