"""Installs the peers into Benchmarks/.venv, one by one: what cannot be had here is left out, and run.py says so."""

import pathlib
import subprocess
import sys
import venv

here = pathlib.Path(__file__).resolve().parent
folder = here.parent / ".venv"
if not folder.exists():
    venv.create(folder, with_pip=True)
for line in (here / "requirements.txt").read_text().split():
    words = [folder / "bin/pip", "install", "--quiet", "--no-input", line]
    done = subprocess.run(words, capture_output=True, text=True)
    print(f"{line}: {'installed' if done.returncode == 0 else done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
