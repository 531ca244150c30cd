"""A PostgreSQL for one run of the tests: its own folder, its own socket, gone afterwards."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

INITDB = "--username=metapixel --auth=trust --encoding=UTF8 --locale=C --no-sync".split()
# Nothing here outlives the run, so nothing has to reach the disk.
FAST = "-c fsync=off -c synchronous_commit=off -c full_page_writes=off"


def programs() -> Path | None:
    """Return the folder of ``initdb`` and ``pg_ctl``, or None. Debian keeps them off the PATH."""
    folders = [Path(found).parent for found in [shutil.which("initdb")] if found]
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=version, reverse=True)
    if shutil.which("pg_config"):
        command = ["pg_config", "--bindir"]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        folders.append(Path(answer.stdout.strip()))
    return next((folder for folder in folders if (folder / "pg_ctl").exists()), None)


def version(folder: Path) -> float:
    try:
        return float(folder.parent.name)
    except ValueError:
        return 0.0


@contextlib.contextmanager
def running(bin_folder: Path) -> Iterator[str]:
    """Start a cluster and give its address. It listens on no port, only on a socket."""
    folder = Path(tempfile.mkdtemp(prefix="metapixel-pg-"))
    account = unprivileged_account()
    if account:
        os.chown(folder, account.pw_uid, account.pw_gid)
    options = f"-c listen_addresses='' -c unix_socket_directories='{folder}' {FAST}"
    try:
        initdb: list[str | Path] = [bin_folder / "initdb", "--pgdata", folder / "data", *INITDB]
        call(initdb, folder, account)
        pg_ctl: list[str | Path] = [bin_folder / "pg_ctl", "--pgdata", folder / "data", "--wait"]
        call([*pg_ctl, "--log", folder / "log", "-o", options, "start"], folder, account)
        try:
            yield f"postgresql://metapixel@/metapixel?host={folder}"
        finally:
            call([*pg_ctl, "--mode=immediate", "stop"], folder, account)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def unprivileged_account() -> pwd.struct_passwd | None:
    """PostgreSQL refuses to run as root; then it runs as somebody who owns nothing."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise OSError("root needs an account `postgres` or `nobody` to run PostgreSQL.")


def call(command: Sequence[str | Path], folder: Path, account: pwd.struct_passwd | None) -> None:
    # A file, because the server inherits it: a pipe would never end.
    with (folder / "output").open("a+") as output:
        done = subprocess.run(
            command,
            check=False,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            extra_groups=[] if account else None,
            # Ctrl-C is for the tests; the server ends when they have.
            start_new_session=True,
        )
        if done.returncode:
            output.seek(0)
            raise OSError(f"{command[0]} failed:\n{output.read()}")
