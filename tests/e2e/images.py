"""A container file carried out without a container engine: as root, with Debian's packages.

Base images are made of what the named ones are made of: Debian's packages by mmdebstrap, and in an
image of Rust this machine's toolchain, mounted. Each line runs in a chroot with mounts and process
ids of its own; the network, and how registries are reached, are this machine's.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

RUST = "/usr/local/rust"
TARGET = "/var/cache/cargo"
"""Where a stage sees the toolchain, and what is kept of cargo from one test run to the next."""

_PATH = f"{RUST}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"
_REGISTRIES = re.compile(r"^(PIP_(?!FIND_LINKS).*|CARGO_HTTP.*|SSL_.*|.*_proxy)$")
_WITHOUT_A_FILE = ("EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD")


@dataclass
class Stage:
    """An image, or what there is of it so far."""

    root: Path
    mounts: Mapping[str, str]
    """Folders of this machine, by the place where the stage sees them."""
    workdir: str = "/"
    user: str = "root"
    told: dict[str, str] = field(default_factory=dict)
    """The last instruction of each kind that changes no file."""
    variables: dict[str, str] = field(default_factory=dict)
    """What ENV sets."""

    @property
    def starts(self) -> list[str]:
        """The words of what a container of it runs."""
        return [*json.loads(self.told["ENTRYPOINT"]), *json.loads(self.told["CMD"])]

    @property
    def health(self) -> list[str]:
        """The words of its check."""
        words: list[str] = json.loads(self.told["HEALTHCHECK"].partition("CMD ")[2])
        return words

    def command(self, words: Sequence[str]) -> list[str]:
        """This in a container of it, as its user and in its folder."""
        mounted = [("proc", "-t proc"), *((path, "--bind") for path in self.mounts)]
        sources = {"proc": "proc"} | dict(self.mounts)
        lines = [
            f"mount {how} {shlex.quote(sources[path])} {shlex.quote(f'{self.root}/{path}')}"
            for path, how in mounted
        ]
        inside = f"cd {shlex.quote(self.workdir)} && exec {shlex.join(words)}"
        chroot = ["chroot", f"--userspec={self.user}", str(self.root), "/bin/sh", "-c", inside]
        script = " && ".join([*lines, f"exec {shlex.join(chroot)}"])
        return ["unshare", "--mount", "--pid", "--fork", "--kill-child", "/bin/sh", "-c", script]

    def environment(self) -> dict[str, str]:
        """What such a command knows of this machine."""
        kept = {k: v for k, v in os.environ.items() if _REGISTRIES.match(k)}
        ours = {"PATH": _PATH, "HOME": "/root", "DEBIAN_FRONTEND": "noninteractive"}
        return kept | ours | self.variables


def lacks() -> str:
    """The tool that this machine has not, or that only root may use; otherwise nothing."""
    if os.geteuid() != 0:
        return "root's rights to make a chroot"
    for tool in ("mmdebstrap", "unshare", "cargo"):
        if shutil.which(tool) is None:
            return tool
    return ""


def built(
    file: Path, context: Path, place: Path, cargo: Path, environment: Mapping[str, str]
) -> Stage:
    """The last stage of the container file. ``context`` is what COPY copies, ``place`` is for the
    files of all stages, ``cargo`` is kept; lines run with this environment too."""
    stages: list[Stage] = []
    names: dict[str, Stage] = {}
    for name, rest in instructions(file):
        if name == "FROM":
            image, _, alias = rest.partition(" AS ")
            stages.append(_based_on(image, place / str(len(stages)), cargo))
            names[alias] = stages[-1]
            continue
        stage = stages[-1]
        match name:
            case "RUN":
                _run(stage, rest, environment)
            case "WORKDIR":
                stage.workdir = rest
                (stage.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
            case "COPY":
                _copy(stage, rest.split(), names, context)
            case "ENV":
                variable, _, value = rest.partition("=")
                stage.variables[variable] = value
            case "USER":
                stage.user = rest
            case _:
                assert name in _WITHOUT_A_FILE, f"{name} is not carried out here"
                stage.told[name] = rest
    return stages[-1]


def instructions(file: Path) -> list[tuple[str, str]]:
    """Those of a container file, with continued lines as one."""
    text = file.read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in lines)]


# Private -----------------------------------------------------------------------------------------


def _based_on(image: str, root: Path, cargo: Path) -> Stage:
    found = re.fullmatch(r"docker\.io/library/(debian|rust):(?:1-slim-)?(\w+?)(?:-slim)?", image)
    assert found, f"nobody knows here what {image} is made of"
    kind, suite = found.groups()
    rust = kind == "rust"
    include = ["--include=ca-certificates"] if rust else []
    root.parent.mkdir(exist_ok=True)
    _checked(["mmdebstrap", "--quiet", "--variant=minbase", *include, suite, str(root)])
    for name in ("etc/resolv.conf", "etc/hosts", *([_CERTIFICATES] if rust else [])):
        shutil.copyfile(f"/{name}", root / name)
    # As engines give it to every container; there it is a file system of its own.
    shared = root / "dev" / "shm"
    shared.mkdir(parents=True, exist_ok=True)
    shared.chmod(0o1777)
    if not rust:
        return Stage(root, {})
    sysroot = _checked(["rustc", "--print", "sysroot"]).strip()
    cargo.mkdir(parents=True, exist_ok=True)
    for path in (RUST, TARGET):
        (root / path.lstrip("/")).mkdir(parents=True)
    return Stage(root, {RUST: sysroot, TARGET: str(cargo)})


def _run(stage: Stage, line: str, environment: Mapping[str, str]) -> None:
    # As the engines do: by /bin/sh -c, whatever the line holds.
    words = stage.command(["/bin/sh", "-c", line])
    _checked(words, stage.environment() | dict(environment))


def _copy(stage: Stage, words: list[str], names: Mapping[str, Stage], context: Path) -> None:
    source = context
    if words[0].startswith("--from="):
        source = names[words.pop(0).removeprefix("--from=")].root
    what, target = words
    place = stage.root / os.path.normpath(f"{stage.workdir}/{target}").lstrip("/")
    shutil.copytree(source / what.lstrip("/"), place, symlinks=True, dirs_exist_ok=True)


def _checked(words: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    answer = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, f"{shlex.join(words)}: {answer.stderr[-3000:]}"
    return answer.stdout
