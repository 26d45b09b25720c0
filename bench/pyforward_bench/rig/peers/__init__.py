"""Other forwarders, each begun so that the rig can measure it as it measures this one.

:mod:`.table` lists them. Two are made here, of Python and of aiortc, and are processes of their
own; :mod:`.front` gives what has no WHIP and WHEP of its own the two endpoints. Nothing is imported
here, so that they begin with no more than they need.
"""
