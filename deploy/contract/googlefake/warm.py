# A gcloud that was loaded once. To load it takes a new Python most of a second of a processor, each time; a copy of this process, a tenth of that.
#
# The gcloud on the PATH runs this in place of its own lib/gcloud.py, whose path comes first among the arguments; then comes a folder. A command gcloud
# is made there, which hands its arguments, environment, folder and files over to a copy of this process. When the input ends, all of that goes.
import atexit
import importlib
import json
import os
import select
import shutil
import signal
import socket
import sys

CLIENT = """#!{python} -ISE
import json, os, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
call = json.dumps([sys.argv[1:], dict(os.environ), os.getcwd(), os.umask(0)]).encode()
socket.send_fds(server, [b"%08d" % len(call)], [0, 1, 2])
server.sendall(call)
status = server.recv(3)
sys.exit(int(status) if status else "gcloud ended without a status")
"""


def become(caller):
    """Takes the arguments, environment, folder and files of who calls."""
    size, files, _, _ = socket.recv_fds(caller, 8, 3)
    with caller.makefile("rb") as call:
        args, env, folder, umask = json.loads(call.read(int(size)))
    for fd, file in enumerate(files):
        os.dup2(file, fd)
        os.close(file)
    os.environ.update(env)
    os.chdir(folder)
    os.umask(umask)
    sys.argv = [gcloud.__file__, *args]


def answer(caller):
    """Runs gcloud, and says how it ended after all that it does at its end."""
    known, status = set(sys.modules), 1

    def end():
        sys.stdout.flush()
        sys.stderr.flush()
        teach.send(json.dumps([name for name in sys.modules if name not in known]).encode())
        caller.sendall(b"%d" % status)
        os._exit(0)  # to take all apart that was loaded would take longer than most commands

    atexit.register(end)  # the first to be registered is the last to be called
    try:
        gcloud.main()
    except SystemExit as e:
        status = e.code if isinstance(e.code, int) else int(e.code is not None)
        raise


def learn():
    """Loads what a call had to load: the next ones find it there."""
    for name in json.loads(taught.recv(1 << 20)):
        try:
            importlib.import_module(name)
        except ImportError:
            pass  # commands themselves are not loaded by name


lib, folder = os.path.dirname(sys.argv[1]), sys.argv[2]
del os.environ["CLOUDSDK_PYTHON_ARGS"]  # it led here
sys.path[0] = lib
import gcloud

sys.path = gcloud.reorder_sys_path(sys.path)
gcloud._fix_google_module()
gcloud._import_gcloud_main()

taught, teach = socket.socketpair(type=socket.SOCK_DGRAM)
listener = socket.socket(socket.AF_UNIX)
listener.bind(os.path.join(folder, "socket"))
listener.listen(64)
with open(os.path.join(folder, "gcloud"), "w") as file:
    file.write(CLIENT.format(python=sys.executable, address=listener.getsockname()))
os.chmod(file.name, 0o700)
print("ready", flush=True)
copies = 0
while True:
    ready, _, _ = select.select([taught, sys.stdin, listener], [], [])
    while copies and os.waitpid(-1, os.WNOHANG)[0]:
        copies -= 1
    if sys.stdin in ready:
        shutil.rmtree(folder, ignore_errors=True)
        os.killpg(0, signal.SIGKILL)
    if taught in ready:
        learn()
    elif listener in ready:
        caller, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            become(caller)
            answer(caller)
        caller.close()
        copies += 1
