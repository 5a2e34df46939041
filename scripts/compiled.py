"""
The hot path as C: with HAPAX_COMPILED=1 set, the wheel is built with the modules below compiled by mypyc.

They are the same files with the same behaviour; without a C compiler, or where the variable is not set, they run as
they are. What mypyc asks of a module beyond `mypy --strict`: a class inherits from no library's class and from no
`Generic` dataclass, a name is bound by one type of exception in a function, no two tuples are told apart by `is`, no
slice of bytes ends before it begins, and a value really has the type that is written down, which is checked wherever it
comes from code that is not compiled. `limits/redis` and its link stay Python: compiled, their coroutines left the last
error they had caught as the context of later ones.
"""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = "proxy"
HOT = {
    "accounts/": "ledger prices principals rows tables",
    "admin/": "series trails",
    "admission/": "admission allowance charges held keyless",
    "api/": "openai shared",
    "cache/": "question_key recording single_flight",
    "core/": "clock dialect error_events errors exchange finishes headers lenient peek places"
    " progress_events said sse stream_facts traceparent usage",
    "http/": "address buffered guard head_lines inbound meant request",
    "limits/": "bucket holding holding_kinds holdings learned limit memory period policy queue redis_message"
    " redis_script",
    "middleware/": "authenticator cors front origin records route table trace under_way",
    "observe/": "access content ending lines metrics redaction rows spans tally traces",
    "providers/": "balance breaker budget choice health keys latency pool provider target",
    "relay/": "absence answer_id arrival attempt attempts blame candidates client clocks commit counts cut endpoints"
    " entrant event_stream first_bytes ids kept learner lesson made no_answer owners plan progress question"
    " relay resume runner shapes step summary timer usage_option verdict watch whole_answer",
    "upstream/": "connection connections decoding endpoint http_call lengths reading wire",
}
"""What every request passes through, and what that inherits from; whatever else there is costs no request anything."""
MODULES = [room + name for room, names in HOT.items() for name in names.split()]


class Compiled(BuildHookInterface[Any]):
    """Adds what it has compiled to a wheel, which then is one for this Python and machine alone."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        core = self.metadata.core
        # mypy reads what the modules import.
        types = ["types-PyYAML", "types-cachetools", *core.dependencies, *core.optional_dependencies["otlp"]]
        return ["mypy[mypyc]>=2", *types] if _asked() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if not _asked() or version == "editable":
            return
        self._scratch = tempfile.TemporaryDirectory(prefix="hapax-compiled-")
        scratch = Path(self._scratch.name)
        shutil.copytree(Path(self.root, PACKAGE), scratch / PACKAGE)
        build_data["force_include"].update(_compile(scratch))
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if not build_data["pure_python"]:
            self._scratch.cleanup()


def _asked() -> bool:
    return os.environ.get("HAPAX_COMPILED") == "1"


def _compile(scratch: Path) -> dict[str, str]:
    """The libraries made of the package in *scratch*, each with its place in the wheel."""
    from mypyc.build import mypycify
    from setuptools import Distribution

    before = Path.cwd()
    # Where mypy looks for modules, and where the C goes.
    os.chdir(scratch)
    try:
        sources = [f"{PACKAGE}/{module}.py" for module in MODULES]
        extensions = mypycify(sources, group_name="hapax", opt_level="3", debug_level="0", multi_file=True)
        for extension in extensions:
            # What only this library calls is called directly and may be inlined, in other files as well; calls out of
            # it do without a jump.
            extension.extra_compile_args.extend(["-fvisibility=hidden", "-flto", "-fno-plt"])
            extension.extra_link_args.extend(["-flto=auto", "-O3"])
        build = Distribution({"name": "hapax", "ext_modules": extensions}).get_command_obj("build_ext")
        build.build_lib, build.build_temp = "built", "objects"
        build.ensure_finalized()
        build.run()
    finally:
        os.chdir(before)
    built = scratch / "built"
    return {str(file): str(file.relative_to(built)) for file in built.rglob("*") if file.is_file()}
