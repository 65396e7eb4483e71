"""python -m benchmark is the console script amendbench."""

from benchmark.cli import main

main()
