"""The caches on servers in the browser: the demo plays on all of them, and a server that dies stops nobody."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.e2e.app_page import ask, by_key, expect_no_exception, open_page, wait_for_answer, wait_for_idle
from tests.e2e.conftest import AppServer
from tests.servers.available import available
from tests.servers.redis import RedisServer
from tests.servers.shared import shared_mariadb, shared_mongodb, shared_postgres, shared_redis

StartServer = Callable[..., AppServer]
SERVERS = ("redis", "postgresql", "mysql", "mongodb")


def test_the_guided_demo_plays_on_all_servers_restart_included(app_server: StartServer, page: Page) -> None:
    urls = {
        "REDIS_URL": available(shared_redis).url(prefix="demo"),
        "POSTGRES_URL": available(shared_postgres).url(prefix="demo"),
        "MYSQL_URL": available(shared_mariadb).url(prefix="demo"),
        "MONGODB_URL": available(shared_mongodb).url(prefix="demo"),
    }
    server = app_server(env=urls)
    open_page(page, server.url)

    by_key(page, "guided_demo").get_by_role("button").click()

    finished = by_key(page, "demo_finished")
    expect(finished).to_be_visible(timeout=90_000)
    wait_for_idle(page)
    kinds = 3 + len(SERVERS)
    assert finished.get_by_text("Miss", exact=True).count() == kinds + 1  # each first question, and memory's last
    assert finished.get_by_text("Hit", exact=True).count() == 2 * kinds - 1  # the question again, and after the restart
    expect_no_exception(page)


def test_an_answer_is_kept_by_a_server_over_a_restart_of_the_app(app_server: StartServer, page: Page) -> None:
    server = app_server(env={"POSTGRES_URL": available(shared_postgres).url(prefix="kept")})
    open_page(page, f"{server.url}/?strategy=postgresql")
    ask(page, "Who was Carl Sagan?")
    wait_for_answer(page)
    first = by_key(page, "answer").inner_text()

    server.restart()
    open_page(page, f"{server.url}/?strategy=postgresql")
    ask(page, "Who was Carl Sagan?")
    wait_for_answer(page)

    expect(by_key(page, "outcome_hit")).to_be_visible()
    assert by_key(page, "answer").inner_text() == first


def test_an_answer_still_comes_when_redis_is_killed_and_the_page_says_why_it_was_no_hit(
    app_server: StartServer, page: Page
) -> None:
    with available(RedisServer(password=True).start) as redis:
        server = app_server(env={"REDIS_URL": redis.url()})
        open_page(page, f"{server.url}/?strategy=redis")
        ask(page, "Who was Carl Sagan?")
        wait_for_answer(page)
        by_key(page, "ask_again").get_by_role("button").click()
        wait_for_answer(page)
        expect(by_key(page, "outcome_hit")).to_be_visible()

        redis.kill()
        by_key(page, "ask_again").get_by_role("button").click()
        wait_for_answer(page)

        failed = by_key(page, "outcome_error")
        expect(failed).to_be_visible()
        assert "Carl Sagan" in by_key(page, "answer").inner_text()
        expect(failed).to_contain_text(f"127.0.0.1:{redis.port}")
        assert redis.password is not None
        assert redis.password not in page.content()
        assert redis.password not in server.log

        redis.start()
        by_key(page, "ask_again").get_by_role("button").click()
        wait_for_answer(page)
        by_key(page, "ask_again").get_by_role("button").click()
        wait_for_answer(page)
        expect(by_key(page, "outcome_hit")).to_be_visible()  # without a restart of the app
        expect_no_exception(page)
