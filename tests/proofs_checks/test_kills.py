"""`exactrl verify` killed with all its processes at random moments and resumed to the same verdicts.

Eight kills in the ordinary suite; EXACTRL_KILLS=20 makes them twenty (about two minutes).
"""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

CLAIMS = ("ecpo.prop2.fixed", "ecpo.sec3.nonzero")
KILLS = int(os.environ.get("EXACTRL_KILLS", "8"))
SEED = 7


def start(out):
    command = [sys.executable, "-m", "exactrl.cli", "verify", *CLAIMS, "--jobs", "2", "--out", str(out)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


def alive(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def kill(process):
    """SIGKILL the whole group, and wait until none of it writes any more; return whether it was still running."""
    running = process.poll() is None
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        running = False
    process.wait()
    deadline = time.monotonic() + 5
    while alive(process.pid) and time.monotonic() < deadline:
        time.sleep(0.005)
    return running


def settled(out):
    verdicts = json.loads((out / "verdicts.json").read_text())
    for claim in verdicts["claims"]:
        for reading in claim["readings"].values():
            assert reading.pop("seconds") >= 0
    return verdicts, {path.name: path.read_bytes() for path in (out / "certificates").iterdir()}


def parts(out):
    """How many readings an unfinished run has saved."""
    return len(list((out / ".parts").glob("[!.]*.json")))


def tree(out):
    return sorted(str(path.relative_to(out)) for path in out.rglob("*"))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs process groups")
def test_kills_are_survived(tmp_path):
    began = time.monotonic()
    assert start(tmp_path / "whole").wait() == 0
    whole = time.monotonic() - began
    expected = settled(tmp_path / "whole")
    rng = random.Random(SEED)
    killed, rounds, saved = 0, 0, 0
    while killed < KILLS:
        out = tmp_path / str(rounds)
        rounds += 1
        while killed < KILLS:  # the same folder is hit again and again, further on each time
            process = start(out)
            if killed % 2:  # after another reading was saved
                before = parts(out)
                while parts(out) <= before and process.poll() is None:
                    time.sleep(0.002)
                time.sleep(rng.uniform(0, 0.2) * whole)
            else:
                time.sleep(rng.uniform(0, 0.9) * whole)
            if not kill(process):
                break
            killed += 1
            saved += parts(out)
            for path in out.rglob("*.json"):
                json.loads(path.read_text())
        assert start(out).wait() == 0
        assert settled(out) == expected
        assert tree(out) == tree(tmp_path / "whole"), "nothing is left behind"
        assert rounds <= KILLS
    print(f"{killed} kills in {rounds} folders, a whole run takes {whole:.1f} s, {saved} saved readings were found")
    assert saved > 0, "some kills came after readings were saved"
