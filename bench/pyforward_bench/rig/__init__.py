"""``pyforward-bench rig``: the rows of a run on one machine, each beside the machine's ceiling.

:mod:`.command` is the command. Nothing is imported here, see ``__main__``.
"""
