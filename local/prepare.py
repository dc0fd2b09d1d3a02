"""Makes the virtual environment with what requirements.txt pins: `python3 local/prepare.py`. Once
is enough.

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
LOCK = ROOT / "requirements.txt"
OLDEST = (3, 11)


def main() -> None:
    if sys.version_info < OLDEST:
        sys.exit(
            f"Talkdrop needs Python 3.11 or newer, and this is {sys.version.split()[0]} "
            f"({sys.executable}).\n"
            "Install one and name it: make run PYTHON=python3.12"
        )
    wanted = hashlib.sha256(LOCK.read_bytes() + sys.version.encode()).hexdigest()
    stamp = VENV / "installed"
    command = PYTHON.with_name("talkdrop")
    if command.exists() and stamp.exists() and stamp.read_text() == wanted:
        return
    began = time.monotonic()
    make_environment()
    install()
    install_command()
    stamp.write_text(wanted)
    print(f"  set up in {time.monotonic() - began:.0f} s", flush=True)


def make_environment() -> None:
    if PYTHON.exists() and _version(PYTHON) == sys.version:
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


def install() -> None:
    """pip with hashes, its many lines drawn together into a few."""
    total = sum("==" in line for line in LOCK.read_text().splitlines())
    print(f"  installing {total} pinned packages (a minute or two, once)", flush=True)
    command = [
        str(PYTHON),
        "-m",
        "pip",
        "install",
        "--require-hashes",
        "--disable-pip-version-check",
        "-r",
        str(LOCK),
    ]
    pip = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT
    )
    said: list[str] = []
    collected = told = 0
    for line in pip.stdout or ():
        said.append(line)
        collected += line.startswith("Collecting")
        if collected >= told + 25:
            told = collected
            print(f"  … {collected} of {total} fetched", flush=True)
        if line.startswith("Installing collected"):
            print("  … unpacking", flush=True)
    if pip.wait():
        sys.exit(
            "".join(said[-25:])
            + "\nThe pinned packages could not be installed; the lines above are pip's own.\n"
            "If it could not reach its index, see `pip config list`; if a hash differs, the index "
            "serves another file."
        )


def install_command() -> None:
    """The command `talkdrop`, which runs the sources here; nothing is downloaded for it."""
    command = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [*command, "--no-deps", "--no-build-isolation", "--editable", str(ROOT)], check=True
    )


def _version(python: Path) -> str:
    asked = subprocess.run(
        [str(python), "-c", "import sys; print(sys.version)"],
        capture_output=True,
        text=True,
        check=False,
    )
    return asked.stdout.strip()


if __name__ == "__main__":
    main()
