"""Freed memory stays with the process, where the C library is one whose thresholds are known."""

import os
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, torch
from vael.memory import keep_freed_memory
torch.set_num_threads(1)
if {keep}:
    keep_freed_memory()
def use():
    return [torch.ones(2**20) for _ in range(3)]
for _ in range(5):
    use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(keep: bool) -> int:
    """Page faults of 20 rounds of three tensors of 4 MiB, which together are 3072 pages."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    program = [sys.executable, "-c", PROGRAM.format(keep=keep)]
    done = subprocess.run(program, capture_output=True, text=True, check=True, env=plain)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="speaks of glibc's allocator")
def test_blocks_that_were_freed_are_used_again_without_new_pages():
    if faults(keep=False) < 20_000:
        pytest.skip("here the allocator keeps them by itself")
    assert faults(keep=True) < 1000  # one round's pages would be 3072
