"""Memory that is used again and again stays with the process."""

import torch

HELD = 30 * 2**20  # bytes; glibc follows blocks of at most 32 MiB


def keep_freed_memory() -> None:
    """Have the allocator keep freed blocks of a few MiB instead of handing them back to the system at once.

    glibc maps a block above a threshold anew at each request, and each page of it costs a fault when it is first
    touched: for tensors of 1 MiB that took longer than the kernel that fills them. Both its thresholds grow to the
    largest mapped block that was ever freed (up to 32 MiB), so one is freed here, untouched. At most twice that much
    then stays with the process. Nothing happens under other allocators.
    """
    torch.empty(HELD, dtype=torch.uint8)
