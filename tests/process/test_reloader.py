"""One reload from its cause to its end: what is tried, what is told, and what is not tried again."""

import asyncio
import logging
from pathlib import Path

import pytest

from proxy.core import clock, tasks
from proxy.process.reloader import REFUSED, Reloader, at_once
from proxy.settings import Loaded, Problem, SettingsError, load
from proxy.settings.in_force import InForce


class Bench:
    """A reloader over a file, and a gateway that obeys, or does not."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "hapax.yaml"
        self.write()
        self.in_force = InForce(self.read(), clock.wall())
        self.applied: list[Loaded] = []
        self.obstacle = ""
        self.reloader = Reloader(self.in_force, self.read, self.apply, at_once)

    def write(self, **server: object) -> None:
        self.file.write_text(f"providers: {{simulator: {{}}}}\nserver: {server or {}}\n")

    def read(self) -> Loaded:
        return load(self.file, environ={})

    async def apply(self, loaded: Loaded) -> None:
        await asyncio.sleep(0)
        if self.obstacle:
            raise SettingsError([Problem("logging.dir", self.obstacle)])
        self.applied.append(loaded)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def test_what_changed_is_told_with_what_waits(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "hapax")
    bench.write(max_requests=7, port=1)
    done = await bench.reloader.reload("admin")
    assert (done.outcome, done.by, done.changed) == ("applied", "admin", ("server.max_requests",))
    assert (done.needs_restart, done.files) == (("server.port",), (str(bench.file),))
    assert [loaded.settings.server.max_requests for loaded in bench.applied] == [7]
    assert bench.in_force.loaded is bench.applied[0]
    assert (bench.in_force.last, bench.in_force.needs_restart) == (done, ("server.port",))
    [line] = [record for record in caplog.records if record.name == "hapax.audit"]
    assert line.fields["changed"] == ["server.max_requests"]  # type: ignore[attr-defined]
    # What waits is named as long as it differs.
    again = await bench.reloader.reload("signal")
    assert (again.changed, again.files, again.needs_restart) == ((), (), ("server.port",))
    assert bench.in_force.counts == {"applied": 2, "refused": 0}


async def test_a_watch_reloads_what_has_really_changed_and_once(bench: Bench) -> None:
    assert await bench.reloader.changed() is None
    bench.file.touch()
    assert await bench.reloader.changed() is None
    bench.write(max_requests=7)
    done = await bench.reloader.changed()
    assert done is not None
    assert (done.by, done.outcome) == ("watch", "applied")
    assert await bench.reloader.changed() is None
    assert len(bench.applied) == 1


async def test_a_bad_file_is_refused_and_logged_once_until_it_is_another(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    before = bench.in_force.loaded
    for content in ("server: {port: -1}", "server: {port"):
        bench.file.write_text(content)
        for _ in range(3):
            await bench.reloader.changed()
    assert caplog.messages == [REFUSED] * 2
    assert bench.in_force.loaded is before
    assert bench.in_force.last is not None
    assert bench.in_force.last.problems[0].startswith("line 1, column ")
    # An operator who asks is answered each time.
    assert (await bench.reloader.reload("signal")).outcome == "refused"
    bench.write(max_requests=7)
    done = await bench.reloader.changed()
    assert done is not None
    assert done.outcome == "applied"
    assert bench.in_force.counts == {"applied": 1, "refused": 3}
    assert bench.applied[0].settings.server.max_requests == 7


async def test_what_cannot_be_put_in_force_changes_nothing(bench: Bench) -> None:
    before = bench.in_force.loaded
    bench.obstacle = "Permission denied"
    bench.write(max_requests=7)
    done = await bench.reloader.reload("signal")
    assert (done.outcome, done.problems) == ("refused", ("logging.dir: Permission denied",))
    assert bench.in_force.loaded is before
    bench.obstacle = ""
    assert (await bench.reloader.reload("signal")).outcome == "applied"


async def test_a_secret_that_was_missing_is_waited_for(bench: Bench, tmp_path: Path) -> None:
    secret = tmp_path / "admin"
    bench.file.write_text(f'providers: {{simulator: {{}}}}\nauth: {{admin_key: "${{file:{secret}}}"}}\n')
    done = await bench.reloader.changed()
    assert done is not None
    [problem] = done.problems
    assert problem.startswith(f"auth.admin_key: refers to the file {secret}, which cannot be read: No such file")
    assert bench.in_force.files == [str(bench.file), str(secret)]
    secret.write_text("hpx_admin_3f9a81c7d2e5aa\n")
    done = await bench.reloader.changed()
    assert done is not None
    assert (done.outcome, done.changed) == ("applied", ("auth.admin_key",))
    secret.write_text("hpx_admin_77bb01c2d3e4f5\n")
    done = await bench.reloader.changed()
    assert done is not None
    assert (done.changed, done.files) == (("auth.admin_key",), (str(secret),))


async def test_a_file_that_only_a_refused_configuration_named_is_forgotten_with_it(
    bench: Bench, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bench.file.write_text(f'providers: {{simulator: {{}}}}\nauth: {{admin_key: "${{file:{tmp_path}/admin}}"}}\n')
    await bench.reloader.changed()
    bench.file.write_text("server: {port: -1}\n")
    for _ in range(3):
        await bench.reloader.changed()
    assert caplog.messages == [REFUSED] * 2
    assert bench.in_force.files == [str(bench.file)]


async def test_a_fault_of_ours_ends_no_gateway(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    async def apply(loaded: Loaded) -> None:
        raise RuntimeError("secret")

    reloader = Reloader(bench.in_force, bench.read, apply, at_once)
    done = await reloader.reload("signal")
    assert (done.outcome, done.problems) == ("refused", ("an internal error, see the log: RuntimeError",))
    assert caplog.messages == ["a reload failed: RuntimeError", REFUSED]


async def test_a_file_that_is_gone_changes_nothing_and_is_waited_for(bench: Bench) -> None:
    bench.file.unlink()
    done = await bench.reloader.changed()
    assert done is not None
    assert done.outcome == "refused"
    bench.write(max_requests=7)
    done = await bench.reloader.changed()
    assert done is not None
    assert done.outcome == "applied"


async def test_two_that_ask_at_once_are_served_one_after_the_other(bench: Bench) -> None:
    bench.write(max_requests=7)
    asking = [tasks.start(bench.reloader.reload("admin"), "reload") for _ in range(3)]
    done = await asyncio.gather(*asking)
    assert [each.changed for each in done] == [("server.max_requests",), (), ()]
