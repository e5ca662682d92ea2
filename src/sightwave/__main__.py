"""Run the command line as ``python -m sightwave``."""

from sightwave.cli import main

main()
