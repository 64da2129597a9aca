"""A TLS scanner, in an environment of its own that is made once."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build/scanner"


def program() -> Path:
    """Return the scanner, which is installed when it is not there yet."""
    requirements = ROOT / "requirements-scanner.txt"
    stamp, wanted = FOLDER / ".requirements", hashlib.sha256(requirements.read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", FOLDER], check=True)
        install = [FOLDER / "bin/pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]
        subprocess.run([*install, requirements], check=True)
        stamp.write_text(wanted)
    return FOLDER / "bin/sslyze"


def verdict(address: str, domain: str, authority: str) -> str:
    """Return what the scanner says about an address in the light of Mozilla's intermediate profile.

    :arg authority: a file with the certificates that it trusts.
    """
    command = [program(), "--mozilla_config=intermediate", f"--certinfo_ca_file={authority}", f"--sni={domain}"]
    done = subprocess.run([*command, f"{address}:443"], capture_output=True, text=True, check=False, timeout=300)
    return done.stdout.partition("COMPLIANCE AGAINST TLS CONFIGURATION")[2] or done.stdout + done.stderr
