"""The program as `python -m titans_lab`."""

from titans_lab.cli import main

main()
