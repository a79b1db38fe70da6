"""`python -m morphobench`."""

from morphobench.cli import main

main()
