"""`python -m tools.package`: the files that `func azure functionapp publish` would send, as a folder or a zip.

The zip with `--with-dependencies` is what the app runs from when `packageUri` is set (docs/deploy.md): its packages are
where a remote build puts them, wheels for the Linux of Azure Functions whatever machine this is.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
DEPENDENCIES = ".python_packages/lib/site-packages"
# Left out by Core Tools whatever .funcignore says.
_NEVER = {".funcignore", ".gitignore", "local.settings.json", "project.lock.json"}
_NEVER_FOLDERS = {".git", ".vscode"}
_PLATFORM = ("--platform", "manylinux_2_28_x86_64", "--platform", "manylinux2014_x86_64", "--python-version", "3.13")


def ignored_by_core_tools(lines: str) -> re.Pattern[str]:
    """Returns what `.funcignore` excludes as Core Tools read it: each line the beginning of a path, up to a word's end.

    Lines that start with `!` are not supported here; ours has none.
    """
    patterns = [line.strip().removeprefix("/") for line in lines.splitlines()]
    parts = [_expression(pattern) for pattern in patterns if pattern and not pattern.startswith("#")]
    return re.compile(rf"(({')|('.join(parts)}))\b", re.ASCII) if parts else re.compile(r"$^")


def files_to_publish(checkout: Path) -> Iterator[str]:
    """Yields the paths of the package, relative, with `/`, in order."""
    ignored = ignored_by_core_tools((checkout / ".funcignore").read_text(encoding="utf-8"))
    for folder, folders, files in os.walk(checkout):
        relative = Path(folder).relative_to(checkout)
        folders[:] = sorted(
            name
            for name in folders
            if name not in _NEVER_FOLDERS and not ignored.match((relative / name).as_posix() + "/x")
        )
        for name in sorted(files):
            path = (relative / name).as_posix()
            if name not in _NEVER and not ignored.match(path):
                yield path


def build(checkout: Path, target: Path) -> list[str]:
    """Copies the package's files into `target`; returns their paths."""
    paths = list(files_to_publish(checkout))
    for path in paths:
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(checkout / path, target / path)
    return paths


def add_dependencies(package: Path) -> None:
    """Installs requirements.txt into the package. Raises CalledProcessError when pip fails."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:", *_PLATFORM]
    subprocess.run(  # noqa: S603 -- our own arguments
        [*command, "--target", str(package / DEPENDENCIES), "-r", str(package / "requirements.txt")], check=True
    )


def _expression(pattern: str) -> str:
    escaped = re.sub(r"[-\[\]/{}()+?.\\^$|]", r"\\\g<0>", pattern)
    return escaped.replace("**", "(.+)").replace("*", "([^/]+)")


def main() -> int:
    """Writes the zip; returns 0, or 1 when the dependencies cannot be had."""
    parser = argparse.ArgumentParser(prog="python -m tools.package", description=main.__doc__)
    parser.add_argument("zip", type=Path, metavar="FILE.zip")
    parser.add_argument("--with-dependencies", action="store_true", help="to run from without a remote build")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder)
        build(CHECKOUT, package)
        if options.with_dependencies:
            try:
                add_dependencies(package)
            except subprocess.CalledProcessError:
                sys.stderr.write("package: requirements.txt could not be installed; nothing is written\n")
                return 1
        with zipfile.ZipFile(options.zip, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(path for path in package.rglob("*") if path.is_file()):
                archive.write(file, file.relative_to(package).as_posix())
    sys.stdout.write(f"{options.zip}: {options.zip.stat().st_size:,} bytes\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
