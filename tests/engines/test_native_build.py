"""Building llama.cpp's programs for this CPU: with real cmake and a real compiler, over sources that compile in a second."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from yangfan.engines import _native, _native_build, echo, llama_cpp
from yangfan.engines.base import Engine, EngineSpec
from yangfan.errors import ConfigurationError

ORIGIN = _native_build.Origin("tiny==1.0", "1.0", "0" * 64)
PROJECT = """
cmake_minimum_required(VERSION 3.18)
project(tiny CXX)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
add_executable(llama-server main.cpp)
add_executable(llama-quantize main.cpp)
"""
needs_compiler = pytest.mark.skipif(
    not (shutil.which("cmake") and shutil.which("c++")), reason="needs cmake and a C++ compiler"
)
Unpack = Callable[[Path], Awaitable[None]]


def sources(project: str = PROJECT, program: str = "int main() { return 0; }\n") -> Unpack:
    async def unpack(folder: Path) -> None:
        (folder / "CMakeLists.txt").write_text(project)
        (folder / "main.cpp").write_text(program)

    return unpack


async def build(
    builds: Path, unpack: Unpack, *, force: bool = False, steps: list[str] | None = None
) -> _native.Native:
    def report(stage: str, done: int, total: int) -> None:
        if steps is not None:
            steps.append(f"{stage} {done}/{total}")

    return await _native_build.build(unpack, builds, ORIGIN, jobs=1, force=force, report=report)


def left_in(builds: Path) -> list[str]:
    return sorted(path.name for path in builds.iterdir() if path.name != ".lock")


@needs_compiler
async def test_a_build_is_published_whole_with_its_manifest_and_not_made_twice(
    tmp_path: Path,
) -> None:
    steps: list[str] = []
    built = await build(tmp_path, sources(), steps=steps)
    assert left_in(tmp_path) == [_native.folder_name("1.0")]
    assert built.server.is_file()
    assert built.quantize.is_file()
    manifest = msgspec.json.decode(
        (built.folder / "manifest.json").read_bytes(), type=_native.Manifest
    )
    assert (manifest.source, manifest.sha256) == ("tiny==1.0", "0" * 64)
    assert manifest.cpu_flags == _native.cpu_flags()
    assert "-DGGML_NATIVE=ON" in manifest.cmake_flags
    assert "unknown" not in manifest.compiler
    assert steps[0] == "configuring 0/1"
    assert any(step.startswith("working ") for step in steps)
    assert _native.find(tmp_path, "1.0").native == built
    again = await build(tmp_path, sources("nonsense"))
    assert again == built


@needs_compiler
async def test_a_build_that_fails_says_why_and_leaves_the_old_one(tmp_path: Path) -> None:
    built = await build(tmp_path, sources())
    with pytest.raises(ConfigurationError, match="nonsense") as failed:
        await build(tmp_path, sources(program="nonsense\n"), force=True)
    assert "ended with status" in failed.value.message
    assert left_in(tmp_path) == [built.folder.name]
    assert built.server.is_file()
    await build(tmp_path, sources(), force=True)
    assert left_in(tmp_path) == [built.folder.name]


@needs_compiler
async def test_a_build_that_is_stopped_leaves_nothing(tmp_path: Path) -> None:
    begun = asyncio.Event()

    async def unpack(folder: Path) -> None:
        await sources()(folder)
        begun.set()
        await asyncio.Event().wait()

    building = asyncio.ensure_future(build(tmp_path, unpack))
    await begun.wait()
    with pytest.raises(ConfigurationError, match="another build runs"):
        await build(tmp_path, sources())
    building.cancel()
    with pytest.raises(asyncio.CancelledError):
        await building
    assert left_in(tmp_path) == []


async def test_missing_tools_are_named_with_the_packages_that_bring_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    with pytest.raises(ConfigurationError, match="cmake") as refused:
        await build(tmp_path, sources())
    for words in ("C++ compiler", "apt install cmake ninja-build g++", "pip install cmake ninja"):
        assert words in refused.value.message


def make_build(builds: Path, **facts: object) -> Path:
    """A build that some other machine made."""
    manifest: dict[str, object] = {
        "source": "tiny==1.0",
        "version": "1.0",
        "sha256": "0" * 64,
        "machine": "x86_64",
        "cpu_flags": [],
        "cmake_flags": [],
        "compiler": "GNU 12",
        **facts,
    }
    folder = builds / f"{llama_cpp.VERSION}-0123456789ab"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin/llama-server").touch()
    (folder / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    return folder


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"cpu_flags": ["avx9000"]}, "this one lacks avx9000"),
        ({"machine": "pdp11"}, "is for pdp11"),
        ({"cpu_flags": "wrong"}, "cannot be read"),
    ],
)
def test_a_build_for_another_machine_is_left_alone(
    tmp_path: Path, facts: dict[str, object], reason: str
) -> None:
    make_build(tmp_path, **facts)
    built, said = llama_cpp.native(tmp_path)
    assert not built
    assert reason in said
    spec = EngineSpec("tested", "m.gguf", options={"program": "native", "builds": str(tmp_path)})
    with pytest.raises(ConfigurationError, match="yangfan engines build llama_cpp"):
        llama_cpp.create(spec, tmp_path)


@pytest.mark.parametrize(("ratio", "taken"), [(None, True), (1.4, True), (0.8, False)])
def test_the_faster_program_is_taken_unless_one_is_named(
    tmp_path: Path, ratio: float | None, taken: bool
) -> None:
    folder = make_build(tmp_path)
    found = _native.find(tmp_path, llama_cpp.VERSION).native
    assert found is not None
    if ratio is not None:
        _native.note(found, _native.Measured(ratio=ratio, model="small.gguf"))
        assert f"{ratio:.2f} times as fast as the wheel" in llama_cpp.native(tmp_path)[1]

    def program(wanted: str) -> str | None:
        options = {"program": wanted, "builds": str(tmp_path)}
        engine = llama_cpp.create(EngineSpec("tested", "m.gguf", options=options), tmp_path)
        return vars(engine)["_config"]["program"]

    server = str(folder / "bin/llama-server")
    assert program("auto") == (server if taken else None)
    assert (program("native"), program("wheel")) == (server, None)


async def test_what_a_build_and_the_wheel_do_is_measured_in_turns(tmp_path: Path) -> None:
    sides: list[Engine] = []
    for delay_seconds in (0.01, 0.001):
        folder = tmp_path / str(delay_seconds)
        folder.mkdir()
        spec = EngineSpec("echo", slots=2, options={"delay_seconds": delay_seconds})
        sides.append(echo.create(spec, folder))
    try:
        for engine in sides:
            await engine.start()
        slow, quick = await _native.rates(sides)
    finally:
        for engine in sides:
            await engine.stop()
    assert quick > 2 * slow > 0


async def test_without_a_build_there_is_nothing_to_compare(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="yangfan engines build llama_cpp"):
        await llama_cpp.compare(tmp_path / "m.gguf", tmp_path, tmp_path)


def test_only_what_is_compiled_is_unpacked() -> None:
    assert all(map(llama_cpp.is_source, ("CMakeLists.txt", "ggml/src/ggml.c", "tools/ui/a.cpp")))
    assert not any(map(llama_cpp.is_source, (".git", ".github/x.yml", "tests/a.cpp", "docs/b.md")))
