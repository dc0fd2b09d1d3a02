"""Makes the virtual environment with what is pinned: `python3 local/prepare.py`, and `--dev` for
what tests need as well. Once is enough; what was interrupted is begun anew.

Run by whatever Python the machine has, so it needs no package; an old one gets as far as the
message.
"""

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
RUN, DEV = ROOT / "requirements.txt", ROOT / "requirements-dev.txt"
OLDEST = (3, 11)
# For each set that is installed whole its file's name, and a hash of its pins and the interpreter.
STAMP = VENV / "installed"
# There while pip is at work: one that was killed leaves packages that pip itself takes for whole.
UNFINISHED = VENV / "unfinished"


def main() -> None:
    if sys.version_info < OLDEST:
        sys.exit(
            f"Talkdrop needs Python 3.11 or newer, and this is {sys.version.split()[0]} "
            f"({sys.executable}).\n"
            "Install one and name it: make run PYTHON=python3.12"
        )
    locks = [RUN, DEV] if "--dev" in sys.argv[1:] else [RUN]
    command = VENV / "bin" / "talkdrop"
    missing = [lock for lock in locks if _installed().get(lock.name) != _mark(lock)]
    if not missing and command.exists():
        return
    began = time.monotonic()
    try:
        make_environment()
        for lock in missing:
            install(lock)
        install_command()
        if RUN in missing:
            fetch_the_bundle()
    except KeyboardInterrupt:
        sys.exit("\n  interrupted: the same command begins anew")
    print(f"  set up in {time.monotonic() - began:.0f} s", flush=True)


def _mark(lock: Path) -> str:
    return hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()


def _installed() -> dict[str, str]:
    lines = STAMP.read_text().splitlines() if PYTHON.exists() and STAMP.exists() else []
    # An older checkout wrote one hash without a name: it counts as nothing installed.
    return dict(line.split() for line in lines if len(line.split()) == 2)


def make_environment() -> None:
    if not UNFINISHED.exists() and _answers(PYTHON):
        return
    try:
        import ensurepip  # noqa: F401
        import venv
    except ImportError:
        short = f"{sys.version_info.major}.{sys.version_info.minor}"
        sys.exit(
            f"This Python ({sys.executable}) cannot make virtual environments: its venv module is "
            "not whole.\n"
            f"On Debian and Ubuntu: sudo apt install python{short}-venv; or name another Python: "
            "make run PYTHON=…"
        )
    print(f"  making {VENV.name} with Python {sys.version.split()[0]}", flush=True)
    venv.create(VENV, clear=True, with_pip=True, symlinks=os.name != "nt")


def _answers(python: Path) -> bool:
    """Whether this is an environment of the Python we run under, and has its pip."""
    if not python.exists():
        return False
    code = "import pip, sys; print(sys.version)"
    done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.strip() == sys.version


def install(lock: Path) -> None:
    """pip with hashes, its many lines drawn together into a few. The list is whole, so pip looks
    for no dependencies; and Python compiles what is imported, a small part of what is installed:
    together they take half of pip's processor time."""
    total = sum("==" in line for line in lock.read_text().splitlines())
    print(f"  installing the {total} packages of {lock.name}, once", flush=True)
    UNFINISHED.touch()
    command = [
        *(str(PYTHON), "-m", "pip", "install", "--require-hashes", "--no-deps"),
        *("--no-compile", "--disable-pip-version-check", "-r", str(lock)),
    ]
    pip = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT
    )
    lines: list[str] = []
    collected = shown = 0
    for line in pip.stdout or ():
        lines.append(line)
        collected += line.startswith("Collecting")
        if collected >= shown + 25:
            shown = collected
            print(f"  … {collected} of {total} fetched", flush=True)
        if line.startswith("Installing collected"):
            print("  … unpacking", flush=True)
    if pip.wait():
        sys.exit(
            "".join(lines[-25:])
            + "\nThe pinned packages could not be installed; the lines above are pip's own.\n"
            "If it could not reach its index, see `pip config list`; if a hash differs, the index "
            "serves another file."
        )
    UNFINISHED.unlink()
    marks = {**_installed(), lock.name: _mark(lock)}
    STAMP.write_text("\n".join(f"{name} {mark}" for name, mark in marks.items()))


def install_command() -> None:
    """The command `talkdrop`, which runs the sources here; nothing is downloaded for it."""
    command = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [*command, "--no-deps", "--no-build-isolation", "--editable", str(ROOT)], check=True
    )


def fetch_the_bundle() -> None:
    """The wheels of the Lambdas' bundle, and the stack synthesised: what comes after needs no
    network."""
    print("  synthesising the stack", flush=True)
    command = [str(PYTHON), "-m", "local.aws.synthesis"]
    if subprocess.run(command, cwd=ROOT, check=False).returncode:
        print("  … which did not work; the first run tries again", flush=True)


if __name__ == "__main__":
    main()
