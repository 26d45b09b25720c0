"""ICE in the control plane: credentials, candidates, trickle. Checks are answered in Rust."""

from aioice import Candidate

from pyforward.ice.candidates import host_candidates, parse_candidate, usable_candidates
from pyforward.ice.credentials import new_credentials
from pyforward.ice.fragment import Fragment, answer_fragment, parse_fragment

__all__ = [
    "Candidate",
    "Fragment",
    "answer_fragment",
    "host_candidates",
    "new_credentials",
    "parse_candidate",
    "parse_fragment",
    "usable_candidates",
]
