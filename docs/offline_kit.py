"""Pack one folder for machines without a network: the project, its packages, the data, checksums, what to do.

python docs/offline_kit.py                              for Linux, macOS and Windows, Python 3.11
python docs/offline_kit.py --platform linux --python 3.11 3.12
python docs/offline_kit.py --check offline-kit          compare every file with its checksum

The packages have the versions of the environment that packs: what was tested here is what travels. The folder and the
.tar of it hold the same. --check needs no package and no environment.
"""

import argparse
import hashlib
import io
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.parser import HeaderParser
from importlib import metadata
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
SUMS, CONTENTS = "SHA256SUMS", "CONTENTS.txt"
EXTRAS = ("test", "tensorboard")  # as `make setup` installs them on a machine without GPU
PLATFORMS = {
    # name: (what it is called, tags that its pip accepts, its environment markers)
    "linux": (
        "Linux x86_64",
        [*(f"manylinux_2_{minor}_x86_64" for minor in range(28, 16, -1)), "manylinux2014_x86_64"],
        {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix", "platform_machine": "x86_64"},
    ),
    "macos": (
        "macOS arm64",
        ["macosx_12_0_arm64"],
        {"sys_platform": "darwin", "platform_system": "Darwin", "os_name": "posix", "platform_machine": "arm64"},
    ),
    "windows": (
        "Windows x86_64",
        ["win_amd64"],
        {"sys_platform": "win32", "platform_system": "Windows", "os_name": "nt", "platform_machine": "AMD64"},
    ),
}


class KitError(Exception):
    """What stops the packing, as one line."""


def parse(args: list[str] | None) -> argparse.Namespace:
    """The command line."""
    text = __doc__.split("\n", maxsplit=1)
    parser = argparse.ArgumentParser("offline_kit.py", description=text[0], epilog=text[1], allow_abbrev=False,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--out", metavar="FOLDER", type=Path, default=Path("offline-kit"), help="[offline-kit]")
    parser.add_argument("--platform", nargs="+", choices=PLATFORMS, default=list(PLATFORMS), help="[all three]")
    parser.add_argument("--python", nargs="+", choices=("3.11", "3.12", "3.13"), default=["3.11"], help="[3.11]")
    parser.add_argument("--no-data", action="store_true", help="leave CIFAR-10 out; shapes10 is built in")
    parser.add_argument("--no-tar", action="store_true", help="the folder alone")
    parser.add_argument("--check", metavar="FOLDER", type=Path, help="compare a kit's files with their checksums")
    return parser.parse_args(args)


# Packages.


def requirements(text: str) -> list[str]:
    """What an installation with EXTRAS asks for: to run, to test, to build. text: that of pyproject.toml."""
    project = tomllib.loads(text)
    optional = project["project"]["optional-dependencies"]
    return [*project["project"]["dependencies"], *(r for extra in EXTRAS for r in optional[extra]),
            *project["build-system"]["requires"]]  # fmt: skip


def locked_versions() -> dict[str, str]:
    """{package: version} of this environment."""
    from packaging.utils import canonicalize_name

    return {canonicalize_name(found.metadata["Name"]): found.version for found in metadata.distributions()}


def pip_download(wanted: list[str], platform: str, python: str, folder: Path) -> None:
    """Download these wheels, and not what they depend on. Raises KitError with pip's own reason."""
    tags = [part for tag in PLATFORMS[platform][1] for part in ("--platform", tag)]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
         "--only-binary=:all:", "--implementation", "cp", "--python-version", python, *tags, "--dest", str(folder),
         *wanted], capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        raise KitError((lines or ["pip says nothing"])[-1].removeprefix("ERROR: "))


def collect(wanted: list[str], platform: str, python: str, folder: Path, locked: dict[str, str], download) -> list[str]:
    """Download what is wanted and all that it depends on, for one platform and Python. Returns the files' names.

    pip evaluates the conditions of dependencies ("; sys_platform == 'win32'") for the machine it runs on, so they are
    followed here, in the wheels themselves. download(wanted, platform, python, folder). Raises KitError.
    """
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name, parse_wheel_filename

    environment = {**PLATFORMS[platform][2], "python_version": python, "python_full_version": f"{python}.0",
                   "implementation_name": "cpython", "platform_python_implementation": "CPython"}  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    fresh = folder / f"{platform}-{python}"
    todo, files, known = [r for r in map(Requirement, wanted) if applies(r, environment)], {}, set()
    while todo:
        new = {canonicalize_name(r.name): r for r in todo if canonicalize_name(r.name) not in files}
        if new:
            download([pinned(r, locked.get(name)) for name, r in sorted(new.items())], platform, python, fresh)
            for path in sorted(fresh.glob("*.whl")):
                files[parse_wheel_filename(path.name)[0]] = path.replace(folder / path.name).name
            fresh.rmdir()
        if absent := sorted(set(new) - set(files)):
            raise KitError(f"no wheel of {', '.join(absent)}")
        asked = {(canonicalize_name(r.name), extra) for r in todo for extra in ("", *r.extras)} - known
        known |= asked
        todo = [r for name, extra in sorted(asked) for r in needs(folder / files[name])
                if applies(r, {**environment, "extra": extra})]  # fmt: skip
    return sorted(files.values())


def pinned(requirement, version: str | None) -> str:
    """The requirement with the version of this environment, where it has one that fits."""
    fits = version is not None and requirement.specifier.contains(version, prereleases=True)
    return f"{requirement.name}=={version}" if fits else f"{requirement.name}{requirement.specifier}"


def applies(requirement, environment: dict[str, str]) -> bool:
    """Whether the requirement's condition holds on a machine of this kind."""
    return requirement.marker is None or requirement.marker.evaluate({"extra": "", **environment})


def needs(wheel: Path) -> list:
    """What a wheel says that it depends on."""
    from packaging.requirements import Requirement

    with zipfile.ZipFile(wheel) as opened:
        (name,) = [n for n in opened.namelist() if n.endswith(".dist-info/METADATA") and n.count("/") == 1]
        found = HeaderParser().parsestr(opened.read(name).decode("utf-8", errors="replace"))
    return [Requirement(text) for text in found.get_all("Requires-Dist", [])]


# The folder.


def git(*args: str, project: Path = PROJECT) -> bytes:
    """What git prints. Raises KitError."""
    try:
        return subprocess.run(["git", "-C", str(project), *args], capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", b"").decode(errors="replace").strip() or str(error)
        raise KitError(f"git {args[0]}: {reason.splitlines()[0]}; the kit is packed from a git checkout") from None


def unpack_project(folder: Path, project: Path = PROJECT) -> str:
    """The committed files into `folder`; returns the commit."""
    with tarfile.open(fileobj=io.BytesIO(git("archive", "HEAD", project=project))) as archive:
        archive.extractall(folder, filter="data")
    return git("rev-parse", "--short", "HEAD", project=project).decode().strip()


def sums(folder: Path) -> dict[str, str]:
    """{path inside the folder: SHA-256} of every file but the list itself."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path != folder / SUMS:
            with path.open("rb") as file:
                found[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def packed(folder: Path) -> int | None:
    """How many files the list of checksums has, as CONTENTS.txt says; None where it does not."""
    try:
        found = re.search(r"^files +(\d+)", (folder / CONTENTS).read_text("utf-8"), re.MULTILINE)
    except (OSError, ValueError):
        return None
    return int(found[1]) if found else None


def check(folder: Path) -> list[str]:
    """What differs from the kit's list of checksums, a line each. Raises KitError without a whole list."""
    if not (folder / SUMS).is_file():
        raise KitError(f"{folder}: no {SUMS}; name the folder of a kit")
    try:
        lines = [line.split("  ", 1) for line in (folder / SUMS).read_text("utf-8").splitlines()]
        listed = {name: digest for digest, name in lines}
    except ValueError:
        raise KitError(f"{folder / SUMS}: not a list of checksums any more; copy it again") from None
    found, count = sums(folder), packed(folder)
    if not listed or count not in (None, len(listed)):  # a list that was cut short would find nothing wrong
        of = f" of {count:,}" if count else ""
        raise KitError(f"{folder / SUMS}: it lists {len(listed):,}{of} files; copy it again")
    return [f"{name}: {'missing' if name not in found else 'altered; copy it again'}"
            for name, expected in listed.items() if found.get(name) != expected]  # fmt: skip


def pack(choice: argparse.Namespace, data: Path | None, download=pip_download, project: Path = PROJECT) -> list[str]:
    """Write the kit; returns the lines of CONTENTS.txt. `data`: the folder of CIFAR-10's files, or None."""
    out = choice.out
    for path in (out, Path(f"{out}.tar")):
        if path.exists():
            raise KitError(f"{path} exists; delete it, or name another folder with --out")
    inside = out / "glassbox"
    contents = [f"project  glassbox/, commit {unpack_project(inside, project)}"]
    locked, wanted = locked_versions(), requirements((inside / "pyproject.toml").read_text("utf-8"))
    problem, count = "", 0
    for platform in choice.platform:
        for python in choice.python:
            what = f"wheels   {PLATFORMS[platform][0]}, Python {python}:"
            print(f"{what} ...", flush=True)
            try:
                files = collect(wanted, platform, python, inside / "wheels", locked, download)
            except KitError as error:
                contents.append(f"{what} not complete, {error}")
                problem = str(error)
            else:
                contents.append(f"{what} {len(files)} files")
                count += 1
    if not count:
        raise KitError(f"no platform is complete: {problem}; is there a network here?")
    if data:
        shutil.copytree(data, inside / "data" / "cifar-10-batches-bin")
    contents.append(f"data     {'CIFAR-10, as it was where the kit was packed' if data else 'shapes10 alone'}")
    for name in ("offline.md", "offline.fr.md"):
        (out / name.replace("offline", "README")).write_bytes((inside / "docs" / name).read_bytes())
    contents.append(f"files    {len(sums(out)) + 1}, with this one, each with its checksum in {SUMS}")
    (out / CONTENTS).write_text("\n".join([*contents, ""]), "utf-8")
    (out / SUMS).write_text("".join(f"{digest}  {name}\n" for name, digest in sums(out).items()), "utf-8")
    if not choice.no_tar:
        with tarfile.open(out.with_name(out.name + ".tar"), "w") as archive:
            archive.add(out, out.name)
    return contents


def found_data() -> Path | None:
    """The folder with CIFAR-10's files on this machine."""
    sys.path.insert(0, str(PROJECT))
    from core.data.cifar10 import find_cifar10
    from core.data.data_set import DataError

    try:
        return find_cifar10("")
    except DataError as error:
        raise KitError(str(error)) from None


def main(args: list[str] | None = None) -> int:
    """Pack or check; returns the exit status."""
    choice = parse(args)
    try:
        if choice.check:
            problems = check(choice.check)
            print("\n".join(problems) if problems else "every file is as it was packed")
            return 1 if problems else 0
        contents = pack(choice, None if choice.no_data else found_data())
        size = sum(path.stat().st_size for path in choice.out.rglob("*") if path.is_file())
        print("", *contents, f"written  {choice.out}/ ({size / 1e9:.1f} GB)", sep="\n", end="")
        print("" if choice.no_tar else f" and {choice.out}.tar, the same")
    except (KitError, OSError) as error:
        print(f"offline_kit.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\noffline_kit.py: stopped; delete {choice.out}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
