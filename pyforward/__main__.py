"""``python -m pyforward`` is ``pyforward``.

Nothing is imported before :func:`main`: that takes a second, in which Ctrl-C is to end the process
and not to print where it was.
"""

from __future__ import annotations

import signal


def main() -> None:
    """The command ``pyforward``; ends the process."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from pyforward import cli

    cli.main()


if __name__ == "__main__":
    main()
