"""`python -m vael`."""

from vael.cli import main

main()
