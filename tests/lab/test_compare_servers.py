"""A comparison of caches on servers: timed like the others, nothing left there, none silent."""

from __future__ import annotations

from pathlib import Path

from lab.compare import CompareJob, start_comparison
from lab.comparison import Compared, CompareRequest, Run
from lab.laboratory import Laboratory
from lab.settings import StrategySettings
from tests.lab.building import SAGAN, quick_settings
from tests.servers.available import available
from tests.servers.redis import RedisServer
from tests.servers.shared import shared_mariadb, shared_mongodb, shared_postgres, shared_redis

SERVERS = {"redis": shared_redis, "postgresql": shared_postgres, "mysql": shared_mariadb, "mongodb": shared_mongodb}
PATIENCE_S = 120.0
REPEATS = 400


def compared(folder: Path, urls: dict[str, str]) -> tuple[Laboratory, Run]:
    """Compare memory and these servers."""
    strategies = [StrategySettings(name=name, url=url) for name, url in {"memory": "memory://", **urls}.items()]
    laboratory = Laboratory(quick_settings(folder, strategies=strategies))
    request = CompareRequest(
        prompt=SAGAN, strategies=("memory", *urls), model_id="simulated", scope="shared", repeats=REPEATS
    )
    job: CompareJob = start_comparison(laboratory, request)
    assert job.wait(PATIENCE_S)
    assert job.result is not None, job.error
    return laboratory, job.result


def of(run: Run, name: str) -> Compared:
    """One strategy of a run."""
    return next(each for each in run.compared if each.strategy == name)


def test_servers_are_timed_like_the_others_and_nothing_is_left_there(tmp_path: Path) -> None:
    urls = {name: available(shared).url(prefix="compared") for name, shared in SERVERS.items()}
    laboratory, run = compared(tmp_path, urls)
    assert run.failed == ()
    for name in urls:
        found = of(run, name)
        assert len(found.lookups.rounds) == REPEATS // 20
        assert found.lookups.summary is not None
        assert found.lookups.summary.n == REPEATS
        assert found.stores.summary is not None
        assert (found.survives_restart, found.shared_between_machines) == (True, True)
        assert found.entry_bytes
        assert name in run.ratios
        cache = laboratory.strategies.get(name, "x").cache
        assert not [each for each in cache.namespaces() if each.startswith("compare-")]  # type: ignore[union-attr]
    assert of(run, "memory").shared_between_machines is False


def test_a_server_that_is_down_is_listed_with_its_reason_and_without_its_password(tmp_path: Path) -> None:
    with available(RedisServer(password=True).start) as server:
        url = server.url()
        server.kill()
        _laboratory, run = compared(tmp_path, {"redis": url})
    (failed,) = run.failed
    assert failed.strategy == "redis"
    assert "can't be connected to" in str(failed.problem)
    password = url.partition("://:")[2].partition("@")[0]
    assert password
    assert password not in repr(run)
    assert of(run, "memory").lookups.summary is not None
