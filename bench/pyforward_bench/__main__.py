"""``python -m pyforward_bench`` is ``pyforward-bench``. Nothing is imported before :func:`main`, as
in ``pyforward.__main__``."""

from __future__ import annotations

import signal


def main() -> None:
    """The command ``pyforward-bench``; ends the process."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from pyforward_bench import cli

    cli.main()


if __name__ == "__main__":
    main()
