"""A command for the Makefile: prints the Debian packages that the servers of the tests need and that are missing."""

from __future__ import annotations

import sys

from tests.servers.certificates import OPENSSL
from tests.servers.mariadb import INSTALL_DB, MARIADBD
from tests.servers.postgres import INITDB, POSTGRES
from tests.servers.programs import NotInstalledError, Program
from tests.servers.redis import REDIS_SERVER


def is_missing(program: Program) -> bool:
    """Whether a program is not on this machine."""
    try:
        return not program.path
    except NotInstalledError:
        return True


def missing_packages() -> list[str]:
    """The packages to install, each once."""
    programs = (REDIS_SERVER, POSTGRES, INITDB, MARIADBD, INSTALL_DB, OPENSSL)
    return list(dict.fromkeys(program.package for program in programs if is_missing(program)))


if __name__ == "__main__":
    sys.stdout.write(" ".join(missing_packages()))
