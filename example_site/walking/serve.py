"""Serve the example shop with Waitress: ``python -m walking.serve PORT``, in ``example_site``.

Ends with whoever started it, however that one ended: its standard input is a pipe, which closes.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

import waitress
from config.wsgi import application

THREADS = 8


def main():
    # In the background of a shell script, Ctrl-C is ignored until somebody asks for it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=end_with_parent, name="end-with-parent", daemon=True).start()
    waitress.serve(application, host="127.0.0.1", port=int(sys.argv[1]), threads=THREADS)


def end_with_parent():
    sys.stdin.buffer.read()
    # Like Ctrl-C: Waitress returns, and what is registered with atexit runs.
    os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    main()
